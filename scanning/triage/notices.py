"""What people are written to about findings: that one is theirs, what is said of it, what became of an acceptance."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.urls import reverse

from accounts.notify.kinds import register
from accounts.notify.services import notify
from scanning.models import Finding
from scanning.triage.models import BulkAction, Comment, Decision

OWNER = register("finding-owner", "A finding was made yours, or somebody commented on one of yours")
ACCEPTANCE = register("acceptance", "An acceptance that you asked for was approved, refused or closed")
NAMED = 20


def may_see(user: Any, finding: Finding) -> bool:
    return Finding.objects.permitted(user, "findings:read").filter(pk=finding.pk).exists()


def assigned(finding: Finding, by: Any) -> None:
    if finding.owner and finding.owner != by:
        notify(finding.owner, OWNER, f"{finding.label} is yours", f"{by} made you the owner of:\n\n{_line(finding)}")


def assigned_many(action: BulkAction) -> None:
    if action.owner and action.owner != action.done_by and action.changed:
        address = settings.BASE_URL + reverse("findings") + "?owner=me"
        text = f"{action.done_by} made you the owner of {action.changed:,} findings.\n\n{address}"
        notify(action.owner, OWNER, f"{action.changed:,} findings are yours", text)


def commented(comment: Comment) -> None:
    """To the owner, who may have lost sight of it since. Without the words: mail goes through many hands."""
    finding = comment.finding
    if finding.owner and finding.owner != comment.author and may_see(finding.owner, finding):
        text = f"{comment.author} has commented on a finding of yours:\n\n{_line(finding)}"
        notify(finding.owner, OWNER, f"A comment on {finding.label}", text)


def answered(decision: Decision) -> None:
    if decision.decided_by and decision.decided_by != decision.answered_by:
        word = "approved" if decision.is_approved else "refused"
        text = f"{decision.answered_by} has {word} the acceptance that you asked for:\n\n{_line(decision.finding)}"
        notify(decision.decided_by, ACCEPTANCE, f"The acceptance of {decision.finding.label} was {word}", text)


def closed(decisions: Iterable[Decision]) -> None:
    """One letter to each who asked."""
    asked: dict[Any, list[Decision]] = defaultdict(list)
    for decision in decisions:
        if decision.decided_by:
            asked[decision.decided_by].append(decision)
    for person, theirs in asked.items():
        lines = [f"{_line(decision.finding)}\n{decision.answer}" for decision in theirs[:NAMED]]
        more = [f"… and {len(theirs) - NAMED:,} more."] if len(theirs) > NAMED else []
        text = "Nobody has answered, and nobody can any more:\n\n" + "\n\n".join([*lines, *more])
        number = "An acceptance" if len(theirs) == 1 else f"{len(theirs):,} acceptances"
        notify(person, ACCEPTANCE, f"{number} that you asked for: closed", text)


def _line(finding: Finding) -> str:
    return f"{finding.label} {finding.title}\n{settings.BASE_URL}{finding.get_absolute_url()}"
