"""Holding the figures of `audit.rollups` to the sealed entries, and counting them anew."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from audit.models import AuditEntry, AuditEntryQuerySet
from audit.rollups.models import DayCount, DayUser
from audit.rollups.services import COUNTS, Tally, add, frameworks_of
from audit.sealing.models import Leaf

READ_AT_ONCE = 2_000
NOTHING = dict.fromkeys(COUNTS, 0)


@dataclass(frozen=True)
class Difference:
    """A figure that is not what the entries come to; `users` is the list of accounts itself."""

    day: str
    framework: str
    figure: str
    kept: int
    counted: int

    def __str__(self) -> str:
        return f"{self.day} {self.framework}: {self.figure} {self.kept}, the entries come to {self.counted}"


def differences() -> Iterator[Difference]:
    """Where the figures differ from the sealed entries, day by day. The sealer may go on meanwhile."""
    days = {*DayCount.objects.values_list("day", flat=True), *DayUser.objects.values_list("day", flat=True)}
    for day in sorted({*days, *_days(_sealed(_size()))}):
        yield from _compared(day)


def rebuild(*, using: str = DEFAULT_DB_ALIAS) -> None:
    """Count anew from the sealed entries. The sealer waits meanwhile."""
    with transaction.atomic(using=using):
        if connections[using].vendor == "postgresql":
            with connections[using].cursor() as cursor:
                cursor.execute("LOCK TABLE rollups_dayuser, rollups_daycount IN SHARE ROW EXCLUSIVE MODE")
        for model in (DayUser, DayCount):
            model._default_manager.using(using).all().delete()
        sealed = _sealed(_size(using), using)
        for day in _days(sealed):
            add(_tally(_of(sealed, day)), using=using)


def _compared(day: date) -> list[Difference]:
    while True:  # figures and size of one moment; the entries up to that size never change again
        size, counts, users = _size(), _counts(day), _users(day)
        if size == _size():
            break
    tally = _tally(_of(_sealed(size), day))
    real = {framework: dict(row) for (framework, _), row in tally.counts.items()}
    for framework, _, _ in tally.users:
        real[framework]["unique_users"] += 1
    found = [
        Difference(str(day), framework, name, kept[name], counted[name])
        for framework in sorted({*counts, *real})
        for kept, counted in [(counts.get(framework, NOTHING), real.get(framework, NOTHING))]
        for name in COUNTS
        if kept[name] != counted[name]
    ]
    for framework in sorted({framework for framework, _, _ in users ^ tally.users}):
        kept_users, real_users = ([row for row in rows if row[0] == framework] for rows in (users, tally.users))
        found.append(Difference(str(day), framework, "users", len(kept_users), len(real_users)))
    return found


def _counts(day: date) -> dict[str, dict[str, Any]]:
    return {row["framework"]: row for row in DayCount.objects.filter(day=day).values("framework", *COUNTS)}


def _users(day: date) -> set[tuple[str, str, int]]:
    rows = DayUser.objects.filter(day=day).values_list("framework", "user_id")
    return {(framework, str(day), user) for framework, user in rows}


# --- the entries ----------------------------------------------------------------------------------------------------


def _size(using: str = DEFAULT_DB_ALIAS) -> int:
    last = Leaf.objects.using(using).order_by("-position").values_list("position", flat=True).first()
    return 0 if last is None else last + 1


def _sealed(size: int, using: str = DEFAULT_DB_ALIAS) -> AuditEntryQuerySet:
    sealed: AuditEntryQuerySet = AuditEntry.objects.using(using).filter(leaf__position__lt=size)
    return sealed


def _days(entries: AuditEntryQuerySet) -> Iterator[date]:
    """The UTC days that have any, by the index on time."""
    moments = entries.order_by("timestamp").values_list("timestamp", flat=True)
    moment = moments.first()
    while moment is not None:
        yield (day := moment.astimezone(UTC).date())
        moment = moments.filter(timestamp__gte=_midnight(day) + timedelta(days=1)).first() if day < date.max else None


def _of(entries: AuditEntryQuerySet, day: date) -> AuditEntryQuerySet:
    entries = entries.filter(timestamp__gte=_midnight(day)).order_by()
    return entries.filter(timestamp__lt=_midnight(day) + timedelta(days=1)) if day < date.max else entries


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _tally(entries: AuditEntryQuerySet) -> Tally:
    rows = entries.values_list("timestamp", "actor_id", "action", "success", "compliance_tags")
    return Tally(
        (moment.astimezone(UTC).date().isoformat(), user, action, success, frameworks_of(tags))
        for moment, user, action, success, tags in rows.iterator(chunk_size=READ_AT_ONCE)
    )
