"""Taking a bulk action back: exactly what it changed, and nothing that somebody changed since."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from opssight.kernel.access import check
from opssight.kernel.events import bulk_record, bulk_write
from scanning import events as scan_events
from scanning.models import Finding, Status
from scanning.triage import bulk, events, ownership, services
from scanning.triage.models import UNDO_FOR, BulkAction, BulkChange, Decision, Tag

BATCH = 500
Kind = BulkAction.Kind


@transaction.atomic
def undo(action: BulkAction, *, by: Any) -> BulkAction:
    """NotPossible for anybody else, a second time, and after ten minutes."""
    action = BulkAction.objects.select_for_update().get(pk=action.pk)
    check(by, "findings:triage")
    now = timezone.now()
    if action.done_by_id != by.pk:
        raise services.NotPossible("Only who did it can undo it.")
    if action.undone_at:
        raise services.NotPossible(f"It was undone at {action.undone_at:%H:%M} UTC already.")
    if now >= action.undo_until:
        raise services.NotPossible("It was done more than ten minutes ago, and stays. Decide about the findings anew.")
    changes, last = action.changes.select_related("decision", "closed", "owner").order_by("finding_id"), 0
    while batch := list(changes.filter(finding_id__gt=last)[:BATCH]):
        last, keys = batch[-1].finding_id, [change.finding_id for change in batch]
        may = set(Finding.objects.filter(pk__in=keys).permitted(by, "findings:triage").values_list("pk", flat=True))
        rows = Finding.objects.select_for_update(of=("self",)).filter(pk__in=keys).order_by("pk")
        found = {finding.pk: finding for finding in rows if finding.pk in may}
        ours = []
        for change in batch:
            if change.finding_id in found:
                change.finding = found[change.finding_id]
                ours.append(change)
        action.restored += UNDO[_road(action)](action, ours)
    action.undone_at = now
    action.kept = action.changed - action.restored
    action.save()
    return action


def _road(action: BulkAction) -> str:
    return "ask" if action.kind == Kind.DECIDE and action.status == Status.ACCEPTED else action.kind


def _undecide(action: BulkAction, changes: Sequence[BulkChange]) -> int:
    """Where ours is still the last word: no later decision, and no scan that closed or opened it."""
    keys = [change.finding_id for change in changes]
    newest = dict(
        Decision.objects.filter(finding__in=keys).order_by().values_list("finding").annotate(newest=Max("pk"))
    )  # fmt: skip
    back = []
    for change in changes:
        finding = change.finding
        same = finding.status == action.status and finding.fixed_at == change.became_fixed_at
        if same and newest.get(finding.pk) == change.decision_id:
            back.append(change)
    for change in back:
        finding = change.finding
        finding.status, finding.fixed_at = change.status, change.fixed_at
        if finding.due_at == change.became_due_at:  # a scan that rates it otherwise has set another
            finding.due_at = change.due_at
    with bulk_write():
        told = [(change.finding, {"status": [action.status, change.status]}) for change in back]
        Finding.objects.bulk_update([change.finding for change in back], ["status", "due_at", "fixed_at"])
        bulk_record(scan_events.FINDING_RESTORED, told)
    Decision.objects.filter(pk__in=[change.decision_id for change in back]).update(undone_at=timezone.now())
    _wait_again([change.closed for change in back if change.closed])
    return len(back)


def _wait_again(decisions: Sequence[Decision]) -> None:
    """Acceptances that the action had closed, since it took their findings elsewhere."""
    for decision in decisions:
        decision.is_approved, decision.answered_at = None, None
    with bulk_write():
        bulk_record(events.DECISION_REOPENED, [(decision, {"answer": [decision.answer, ""]}) for decision in decisions])
        for decision in decisions:
            decision.answer = ""
        Decision.objects.bulk_update(decisions, ["is_approved", "answered_at", "answer"])


def _unask(action: BulkAction, changes: Sequence[BulkChange]) -> int:
    """Acceptances that nobody has answered are closed; one that was approved is a second person's word."""
    asked = {change.decision_id: change.finding for change in changes}
    waiting = list(Decision.objects.waiting().filter(bulk=action, finding__in=asked.values()))
    for decision in waiting:
        decision.finding = asked[decision.pk]
    services.close(waiting, f"Taken back by {action.done_by}.", tell=False)
    Decision.objects.filter(pk__in=[decision.pk for decision in waiting]).update(undone_at=timezone.now())
    return len(waiting)


def _unassign(action: BulkAction, changes: Sequence[BulkChange]) -> int:
    back = [change for change in changes if change.finding.owner_id == action.owner_id]
    ownership.give([change.finding for change in back], {change.finding_id: change.owner for change in back})
    return len(back)


def _take_off(action: BulkAction, changes: Sequence[BulkChange]) -> int:
    there = set(Tag.objects.filter(pk__in=[change.tag_id for change in changes]).values_list("pk", flat=True))
    back = [change.finding for change in changes if change.tag_id in there]
    bulk.take_off(action.word, back)
    return len(back)


def _put_on(action: BulkAction, changes: Sequence[BulkChange]) -> int:
    rows = [change.finding for change in changes]
    there: dict[int, set[str]] = {finding.pk: set() for finding in rows}
    for key, word in Tag.objects.filter(finding__in=rows).values_list("finding", "word"):
        there[key].add(word)
    back = [
        finding
        for finding in rows
        if action.word not in there[finding.pk] and len(there[finding.pk]) < ownership.MOST_TAGS
    ]
    bulk.put_on(action.word, back)
    return len(back)


UNDO = {
    Kind.DECIDE: _undecide,
    "ask": _unask,
    Kind.ASSIGN: _unassign,
    Kind.TAG: _take_off,
    Kind.UNTAG: _put_on,
}


def forget() -> None:
    """How findings were is of no use once nothing can be undone any more."""
    over = timezone.now() - UNDO_FOR - timedelta(minutes=5)
    BulkChange.objects.filter(action__done_at__lt=over).delete()
