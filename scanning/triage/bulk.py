"""One thing done to many findings: set-based, each finding under the rules of one, and one entry in the trail for each.

Findings are locked in the order of their keys, a batch at a time, so that two bulk actions wait for each other and
never for good. What can't be done to one of them leaves that one, with the reason, and not the others.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Count, QuerySet
from django.utils import timezone

from opssight.kernel.access import check
from opssight.kernel.errors import Refusal
from opssight.kernel.events import bulk_record, bulk_write
from scanning.models import Finding, Status
from scanning.triage import events, notices, ownership, services
from scanning.triage.models import BulkAction, BulkChange, Decision, Tag

MOST_NAMED = 1_000
MOST = 10_000
BATCH = 500
OUT_OF_SIGHT = "It is gone, or you may not see it."
NOT_YOURS = "You may not triage it."
Kind = BulkAction.Kind


class CountChanged(Refusal):
    """What the filter shows is not what was confirmed."""

    def __init__(self, now: int, confirmed: int) -> None:
        super().__init__(f"The filter shows {now:,} findings now, not {confirmed:,}. Look again, then confirm.")
        self.more = {"count": now}


class TooMany(Refusal):
    status = 400


@dataclass
class Left:
    """Which findings stay as they are, by the reason."""

    groups: dict[str, list[str]] = field(default_factory=dict)

    def add(self, why: str, uid: UUID) -> None:
        self.groups.setdefault(why, []).append(str(uid))

    def told(self) -> list[dict[str, Any]]:
        return [{"why": why, "count": len(uids), "findings": uids[:MOST_NAMED]} for why, uids in self.groups.items()]


def shown(rows: QuerySet[Finding], count: int) -> list[int]:
    """The keys of everything that a filter shows; CountChanged where it is not the confirmed number."""
    keys = list(rows.order_by("pk").values_list("pk", flat=True)[: MOST + 1])
    if len(keys) > MOST:
        raise TooMany(f"At most {MOST:,} findings at once. Narrow the filter, then repeat it for the rest.")
    if len(keys) != count:
        raise CountChanged(len(keys), count)
    return keys


@transaction.atomic
def run(action: BulkAction, *, by: Any, keys: Iterable[int] = (), uids: Iterable[UUID] = ()) -> BulkAction:
    """Do what the action says to the findings of these keys, which `by` sees, or of these uids, which they may not.

    Incomplete where the action itself lacks something; then nothing is changed.
    """
    check(by, "findings:triage")
    _prepare(action, by)
    action.done_by = by
    action.save()
    left = Left()
    for batch in _batches(keys or _in_sight(by, set(uids), left)):
        rows = list(Finding.objects.select_for_update(of=("self",)).filter(pk__in=batch).order_by("pk"))
        may = set(Finding.objects.filter(pk__in=batch).permitted(by, "findings:triage").values_list("pk", flat=True))
        mine = []
        for finding in rows:
            if finding.pk in may:
                mine.append(finding)
            else:
                left.add(NOT_YOURS, finding.uid)
        changes = DO[Kind(action.kind)](action, mine, left)
        BulkChange.objects.bulk_create(changes, batch_size=BATCH)
        action.changed += len(changes)
    action.left = left.told()
    action.save()
    if action.kind == Kind.ASSIGN:
        notices.assigned_many(action)
    return action


def _prepare(action: BulkAction, by: Any) -> None:
    match action.kind:
        case Kind.DECIDE:
            if action.status not in Status.values:
                raise services.Incomplete("Say what they are.")
            action.reason = action.reason.strip()
            services.complete(action.status, action.reason, action.until, action.original)
            action.until = action.until if action.status == Status.ACCEPTED else None
            action.original = action.original if action.status == Status.DUPLICATE else None
        case Kind.TAG | Kind.UNTAG:
            action.word = ownership.normal(action.word)


def _in_sight(by: Any, uids: set[UUID], left: Left) -> list[int]:
    if len(uids) > MOST_NAMED:
        raise TooMany(
            f"At most {MOST_NAMED:,} findings by name. More can be had by a filter, with the number it shows."
        )
    found = dict(Finding.objects.permitted(by, "findings:read").filter(uid__in=uids).values_list("uid", "pk"))
    for uid in sorted(uids - found.keys()):
        left.add(OUT_OF_SIGHT, uid)
    return sorted(found.values())


def _batches(keys: Iterable[int]) -> Iterator[list[int]]:
    rest = iter(keys)
    while batch := list(islice(rest, BATCH)):
        yield batch


# --- what is done ---------------------------------------------------------------------------------------------------


def _decide(action: BulkAction, rows: Sequence[Finding], left: Left) -> list[BulkChange]:
    now, status = timezone.now(), Status(action.status)
    asked = Decision.objects.waiting().filter(finding__in=rows).select_related("decided_by")
    waiting = {decision.finding_id: decision for decision in asked}
    fit, decisions, changes = [], [], list[BulkChange]()
    for finding in rows:
        if why := _why_not(action, finding, finding.pk in waiting):
            left.add(why, finding.uid)
            continue
        decision = Decision(
            finding=finding, asset_id=finding.asset_id, status=status, was=finding.status, reason=action.reason,
            decided_by=action.done_by, decided_at=now, until=action.until, original=action.original, bulk=action,
        )  # fmt: skip
        decisions.append(decision)
        changes.append(_before(action, finding, decision=decision, closed=waiting.get(finding.pk)))
        fit.append(finding)
    with bulk_write():
        Decision.objects.bulk_create(decisions)
        bulk_record(events.DECISION_MADE, ((decision, _said(decision)) for decision in decisions))
        if status == Status.ACCEPTED:
            bulk_record(events.ACCEPTANCE_ASKED, ((finding, {"acceptance": ["", "asked for"]}) for finding in fit))
            return changes
        for finding, change in zip(fit, changes, strict=True):
            services.move(finding, status, at=now)
            change.became_due_at, change.became_fixed_at = finding.due_at, finding.fixed_at
        Finding.objects.bulk_update(fit, ["status", "due_at", "fixed_at"])
        told = ((change.finding, {"status": [change.status, status.value]}) for change in changes)
        bulk_record(events.FINDING_TRIAGED, told)
    closed = [(change.closed, change.finding) for change in changes if change.closed]
    for decision, finding in closed:
        decision.finding = finding  # as it is now
    services.close([decision for decision, _ in closed])
    return changes


def _why_not(action: BulkAction, finding: Finding, waits: bool) -> str:
    status = action.status
    if status == finding.status:
        return f"It is {finding.get_status_display().lower()} already."
    if status not in services.FOLLOWS[finding.status]:
        return f"It is {finding.get_status_display().lower()}: it must be opened first."
    if status == Status.ACCEPTED and waits:
        return services.WAITS_ALREADY
    return services.unfit(finding, status, action.original)


def _assign(action: BulkAction, rows: Sequence[Finding], left: Left) -> list[BulkChange]:
    sees = {finding.pk for finding in rows}
    if action.owner is not None:
        seen = Finding.objects.filter(pk__in=sees).permitted(action.owner, "findings:read")
        sees = set(seen.values_list("pk", flat=True))
    fit = []
    for finding in rows:
        if finding.owner_id == action.owner_id:
            left.add("It has that owner already." if action.owner else "It has no owner already.", finding.uid)
        elif finding.pk not in sees:
            left.add("The new owner may not see it.", finding.uid)
        else:
            fit.append(finding)
    changes = [_before(action, finding) for finding in fit]
    ownership.give(fit, {finding.pk: action.owner for finding in fit})
    return changes


def _tag(action: BulkAction, rows: Sequence[Finding], left: Left) -> list[BulkChange]:
    counted = dict(
        Tag.objects.filter(finding__in=rows).order_by().values_list("finding").annotate(n=Count("pk"))
    )  # fmt: skip
    has, fit = _with(action.word, rows), []
    for finding in rows:
        if finding.pk in has:
            left.add("It has that tag already.", finding.uid)
        elif counted.get(finding.pk, 0) >= ownership.MOST_TAGS:
            left.add(ownership.TOO_MANY, finding.uid)
        else:
            fit.append(finding)
    tags = put_on(action.word, fit)
    return [_before(action, finding, tag_id=tag.pk) for finding, tag in zip(fit, tags, strict=True)]


def _untag(action: BulkAction, rows: Sequence[Finding], left: Left) -> list[BulkChange]:
    has = _with(action.word, rows)
    fit = [finding for finding in rows if finding.pk in has]
    for finding in rows:
        if finding.pk not in has:
            left.add("It has no such tag.", finding.uid)
    take_off(action.word, fit)
    return [_before(action, finding) for finding in fit]


def put_on(word: str, rows: Sequence[Finding]) -> list[Tag]:
    tags = Tag.objects.bulk_create([Tag(finding=finding, word=word) for finding in rows])
    bulk_record(events.FINDING_TAGGED, ((finding, {"tags": ["", word]}) for finding in rows))
    return tags


def take_off(word: str, rows: Sequence[Finding]) -> None:
    Tag.objects.filter(finding__in=rows, word=word).delete()
    bulk_record(events.FINDING_TAGGED, ((finding, {"tags": [word, ""]}) for finding in rows))


def _with(word: str, rows: Sequence[Finding]) -> set[int]:
    return set(Tag.objects.filter(finding__in=rows, word=word).values_list("finding", flat=True))


DO: dict[Kind, Callable[[BulkAction, Sequence[Finding], Left], list[BulkChange]]] = {
    Kind.DECIDE: _decide,
    Kind.ASSIGN: _assign,
    Kind.TAG: _tag,
    Kind.UNTAG: _untag,
}


def _before(action: BulkAction, finding: Finding, **more: Any) -> BulkChange:
    return BulkChange(
        action=action, finding=finding, status=finding.status, due_at=finding.due_at, fixed_at=finding.fixed_at,
        owner_id=finding.owner_id, **more,
    )  # fmt: skip


def _said(decision: Decision) -> dict[str, list[object]]:
    told: dict[str, list[object]] = {"status": [None, decision.status], "reason": [None, decision.reason]}
    until: datetime | None = decision.until
    return told | ({"until": [None, until.isoformat()]} if until else {})
