"""Deciding about findings: which states follow which, what needs a reason, and whose word an acceptance takes."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from opssight.kernel.access import check
from opssight.kernel.actor import Actor, acting
from opssight.kernel.errors import Refusal
from opssight.kernel.events import bulk_record, bulk_write
from scanning.models import Finding, Status
from scanning.sla.services import Hours, due_at, hours_of
from scanning.triage import events, notices
from scanning.triage.models import Decision

WAKER = Actor(kind="system", label="Triage")
LONGEST = timedelta(days=366)
_CLOSED = {Status.FIXED, Status.FALSE_POSITIVE, Status.ACCEPTED, Status.DUPLICATE}
_UNRESOLVED = {Status.OPEN, Status.TRIAGED, Status.IN_PROGRESS}
# From work to any end or other work; from an end only back, so that why it ended and why it goes on are both told.
FOLLOWS: dict[str, set[Status]] = {
    **{status: (_UNRESOLVED | _CLOSED) - {status} for status in _UNRESOLVED},
    **{status: {Status.OPEN} for status in _CLOSED},
}
WITHOUT_REASON = {Status.TRIAGED, Status.IN_PROGRESS}
WAITS_ALREADY = "An acceptance of it waits for approval already."


class NotPossible(Refusal):
    """The finding, or the question about it, is in another state by now."""

    status = 409


class Incomplete(Refusal):
    """Something is missing that this decision needs; `field` names it, "" where it is no one field."""

    status = 400

    def __init__(self, detail: str, field: str = "") -> None:
        super().__init__(detail)
        self.field = field


@transaction.atomic
def decide(
    finding: Finding, status: str, *, by: Any, reason: str = "", until: datetime | None = None,
    original: Finding | None = None,
) -> Decision:  # fmt: skip
    """Decide about a finding. An acceptance waits for a second person, and changes nothing before.

    Incomplete without a reason, an end, or an original where one is needed; NotPossible from the state it is in.
    """
    finding = locked(finding)
    check(by, "findings:triage", finding)
    if status not in FOLLOWS[finding.status]:
        after = ", ".join(sorted(FOLLOWS[finding.status]))
        raise NotPossible(f"{finding.label} is {finding.get_status_display().lower()}; after that it can be: {after}.")
    complete(status, reason, until, original)
    if why := unfit(finding, status, original):
        raise Incomplete(why, "original")
    waiting = list(Decision.objects.waiting().filter(finding=finding))
    if status == Status.ACCEPTED and waiting:
        raise NotPossible(f"An acceptance of {finding.label} waits for approval already.")
    decision = Decision(
        finding=finding, asset=finding.asset, status=status, was=finding.status, reason=reason.strip(),
        decided_by=by, until=until if status == Status.ACCEPTED else None,
        original=original if status == Status.DUPLICATE else None,
    )  # fmt: skip
    decision.save()
    if status == Status.ACCEPTED:
        events.ACCEPTANCE_ASKED.emit(target=finding, until=str(until), reason=decision.reason)
        return decision
    _set(finding, status, decision.reason)
    close(waiting)
    return decision


def complete(status: str, reason: str, until: datetime | None, original: Finding | None) -> None:
    """Incomplete where the decision itself lacks something, whatever it is about."""
    if status not in WITHOUT_REASON and not reason.strip():
        raise Incomplete("Give a reason: whoever reads this in a year must understand it.", "reason")
    now = timezone.now()
    if status == Status.ACCEPTED and (until is None or not now < until <= now + LONGEST):
        raise Incomplete("Say until when it is accepted: a moment within the next 366 days.", "until")
    if status == Status.DUPLICATE and original is None:
        raise Incomplete("Say which finding it is a duplicate of.", "original")


def unfit(finding: Finding, status: str, original: Finding | None) -> str:
    """Why a finding can't be a duplicate of `original`; "" where it can, or nobody asks for it."""
    if status != Status.DUPLICATE or original is None:
        return ""
    if original.pk == finding.pk or original.status == Status.DUPLICATE or original.asset_id != finding.asset_id:
        return "It can be a duplicate of another finding of the same asset that is none itself."
    return ""


def move(finding: Finding, status: str, *, at: datetime, hours: Hours) -> None:
    """Give it another state, not yet saved: status, fixed_at, due_at and counted_from."""
    if finding.status not in _UNRESOLVED:  # it begins anew
        finding.due_at, finding.counted_from = due_at(hours, finding.severity, at), at
    finding.status, finding.fixed_at = status, at if status == Status.FIXED else None


def _set(finding: Finding, status: str, reason: str) -> None:
    was = finding.status
    move(finding, status, at=timezone.now(), hours=hours_of(finding.asset.unit_id))
    finding.save(update_fields=["status", "fixed_at", "due_at", "counted_from"])
    events.FINDING_TRIAGED.emit(target=finding, was=was, now=status, reason=reason)


def locked(finding: Finding) -> Finding:
    return Finding.objects.select_for_update(of=("self",)).select_related("asset").get(pk=finding.pk)


# --- acceptances ----------------------------------------------------------------------------------------------------


@transaction.atomic
def answer(decision: Decision, *, approve: bool, by: Any, reason: str = "") -> Decision:
    """A second person's word on an acceptance. Incomplete for a refusal without a reason; NotPossible for the same
    person, and where it was answered or the finding has moved on."""
    finding = locked(decision.finding)
    decision.refresh_from_db()
    check(by, "decisions:approve", decision)
    if not decision.is_waiting:
        raise NotPossible("This decision waits for nobody's answer.")
    if approve and decision.decided_by_id == by.pk:
        raise NotPossible("It takes a second person to accept a risk: ask a colleague.")
    if approve and finding.status != decision.was:
        raise NotPossible(f"{finding.label} is {finding.get_status_display().lower()} by now.")
    if not approve and not reason.strip():
        raise Incomplete("Say why, so that the other knows what to do.")
    now = timezone.now()
    if approve and decision.until is not None and decision.until <= now:
        raise NotPossible("It would have run out already: ask for it anew.")
    decision.is_approved, decision.answered_by, decision.answered_at = approve, by, now
    decision.answer = reason.strip()
    decision.save()
    if approve:
        _set(finding, Status.ACCEPTED, decision.reason)
    else:
        events.ACCEPTANCE_REFUSED.emit(target=finding, reason=decision.answer)
    notices.answered(decision)
    return decision


def close(waiting: Sequence[Decision], why: str = "", *, tell: bool = True) -> None:
    """End acceptances that nobody has answered, since they are about a state that is gone. Who asked is told.

    The caller holds their findings, whose state it has just changed.
    """
    if not waiting:
        return
    now = timezone.now()
    for decision in waiting:
        decision.is_approved, decision.answered_at = False, now
        decision.answer = why or f"The finding is {decision.finding.get_status_display().lower()} by now: ask anew."
    with bulk_write():
        Decision.objects.bulk_update(waiting, ["is_approved", "answered_at", "answer"])
        bulk_record(events.DECISION_CLOSED, [(decision, {"answer": ["", decision.answer]}) for decision in waiting])
    if tell:
        notices.closed(waiting)


@transaction.atomic
def close_moved_on(asset_id: int | None = None) -> int:
    """End those whose finding a scan or an undone import has given another state, and say how many."""
    moved = Decision.objects.moved_on()
    if asset_id is not None:
        moved = moved.filter(asset=asset_id)
    found = list(Finding.objects.select_for_update().filter(pk__in=moved.values("finding")).order_by("pk"))
    still = list(moved.filter(finding__in=found).select_related("finding", "decided_by"))
    close(still)
    return len(still)


def wake() -> int:
    """Open what was accepted until now, with a new deadline, and say how many. What waits in vain is closed too."""
    woken = 0
    with acting(WAKER):
        for pk in list(Decision.objects.run_out(at=timezone.now()).order_by("pk").values_list("pk", flat=True)):
            woken += _wake(pk)
        close_moved_on()
    return woken


@transaction.atomic
def _wake(pk: int) -> bool:
    decision = Decision.objects.select_related("finding").get(pk=pk)
    finding = locked(decision.finding)
    if not Decision.objects.run_out(at=timezone.now()).filter(pk=pk).exists():
        return False  # decided otherwise in between
    decision.woken_at = timezone.now()
    decision.save(update_fields=["woken_at"])
    finding.status, finding.counted_from = Status.OPEN, decision.woken_at
    finding.due_at = due_at(hours_of(finding.asset.unit_id), finding.severity, decision.woken_at)
    finding.save(update_fields=["status", "due_at", "counted_from"])
    events.FINDING_WOKEN.emit(target=finding, accepted_until=str(decision.until))
    return True
