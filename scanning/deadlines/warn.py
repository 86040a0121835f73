"""Before a deadline passes, and when it has: the trail is told of each breach, and people by one letter a run.

Two steps, each of which may be stopped and run again, or run twice at once: what has come to a new stage is noted in
batches, with its entries; then what is noted and not yet told is taken, all at once, and becomes letters.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import OuterRef, Q, Subquery
from django.utils import timezone

from opssight.kernel.actor import Actor, acting
from opssight.kernel.events import bulk_record
from scanning.deadlines import events, notices
from scanning.deadlines.models import Stage, Warning
from scanning.models import SOON, Finding, FindingQuerySet

WARNER = Actor(kind="system", label="Deadlines")
BATCH = 500
SHORTEST = timedelta(hours=1)


def warn() -> int:
    """Note what is due soon or overdue, write the letters, and say how many findings came to a new stage."""
    now, noted = timezone.now(), 0
    with acting(WARNER):
        ids = list(_candidates(now))
        for start in range(0, len(ids), BATCH):
            noted += _note(ids[start : start + BATCH], now)
        _tell()
    return noted


def is_soon(due: datetime, since: datetime, *, at: datetime) -> bool:
    """Whether the last quarter of its time has begun: at least an hour of it, at most what the queue calls soon."""
    return at >= due - max(min((due - since) / 4, SOON), SHORTEST)


def _stage(finding: Finding, at: datetime) -> Stage | None:
    if finding.due_at is None:
        return None
    if finding.due_at < at:
        return Stage.OVER
    return Stage.SOON if is_soon(finding.due_at, finding.counted_from or finding.first_seen_at, at=at) else None


def _new(at: datetime) -> FindingQuerySet:
    """Unresolved ones with a deadline that has passed or is near, of which that was not noted."""
    told = Warning.objects.filter(finding=OuterRef("pk"), due_at=OuterRef("due_at"))
    rows = Finding.objects.unresolved().filter(asset__is_active=True, due_at__lt=at + SOON)
    rows = rows.annotate(noted=Subquery(told.values("stage")[:1]))
    return rows.filter(Q(noted=None) | Q(noted=Stage.SOON, due_at__lt=at))


def _candidates(at: datetime) -> Iterator[int]:
    rows = _new(at).only("pk", "due_at", "counted_from", "first_seen_at").order_by("due_at")
    return (finding.pk for finding in rows.iterator(chunk_size=2000) if _stage(finding, at))


@transaction.atomic
def _note(ids: list[int], at: datetime) -> int:
    """Locked and asked again: somebody may have fixed one, moved its deadline, or noted it just now."""
    rows = list(Finding.objects.filter(pk__in=ids).select_for_update().order_by("pk").values_list("pk", flat=True))
    found = list(_new(at).filter(pk__in=rows).order_by("pk"))
    staged = [
        (finding, finding.due_at, stage) for finding in found if finding.due_at and (stage := _stage(finding, at))
    ]
    Warning.objects.bulk_create(
        [Warning(finding=finding, due_at=due, stage=stage) for finding, due, stage in staged],
        update_conflicts=True, unique_fields=["finding"], update_fields=["due_at", "stage", "told_at"],
    )  # fmt: skip
    late = [(finding, due.isoformat()) for finding, due, stage in staged if stage == Stage.OVER]
    bulk_record(events.OVERDUE, [(finding, {"overdue": [False, True], "due_at": [due, due]}) for finding, due in late])
    return len(staged)


@transaction.atomic
def _tell() -> None:
    """Claimed by one statement, so that of two runs each tells of what the other does not."""
    at = timezone.now()
    if Warning.objects.filter(told_at=None).update(told_at=at):
        notices.tell(Warning.objects.filter(told_at=at))
