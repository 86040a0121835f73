"""Holding the figures of `audit.rollups` to the sealed entries, and counting them anew."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db import DEFAULT_DB_ALIAS, transaction

from audit.models import AuditEntry, AuditEntryQuerySet
from audit.rollups.models import ALL, DayCount, DayUser
from audit.rollups.services import COUNTS, Tally, Traits, add, covered, hold, traits
from audit.sealing.entries import UNREADABLE, read
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
    """Where the figures differ from the sealed entries, day by day. The sealer may go on meanwhile.

    Entries that can't be read belong to no day; each is quarantined.
    """
    for day in _days():
        yield from _compared(day)
    size, counted = _size(), covered()
    unreadable = Leaf.objects.filter(quarantined=True).count()
    if size == _size() and not size - unreadable <= counted <= size:
        yield Difference("", ALL, "total", counted, size)


def rebuild(*, using: str = DEFAULT_DB_ALIAS) -> None:
    """Count anew from the sealed entries. The sealer waits meanwhile."""
    with transaction.atomic(using=using):
        hold(using)
        days, sealed = _days(using), _sealed(_size(using), using)
        for model in (DayUser, DayCount):
            model._default_manager.using(using).all().delete()
        for day in days:
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


def _days(using: str = DEFAULT_DB_ALIAS) -> list[date]:
    """The UTC days that have figures, or sealed entries by the index on time."""
    found = {
        day
        for model in (DayCount, DayUser)
        for day in model._default_manager.using(using).values_list("day", flat=True)
    }
    moments = _sealed(_size(using), using).order_by("timestamp").values_list("timestamp", flat=True)
    with suppress(*UNREADABLE):  # what is no time on SQLite may stand at either end
        moment = moments.first()
        while moment is not None:
            found.add(day := moment.astimezone(UTC).date())
            if day == date.max:
                break
            moment = moments.filter(timestamp__gte=_midnight(day) + timedelta(days=1)).first()
    return sorted(found)


def _of(entries: AuditEntryQuerySet, day: date) -> AuditEntryQuerySet:
    entries = entries.filter(timestamp__gte=_midnight(day)).order_by()
    return entries.filter(timestamp__lt=_midnight(day) + timedelta(days=1)) if day < date.max else entries


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _tally(entries: AuditEntryQuerySet) -> Tally:
    """Quarantined ones are read as the sealer did, which may not have been able to."""
    columns = ("timestamp", "actor_id", "action", "success", "compliance_tags")
    rows = entries.filter(leaf__quarantined=False).values_list(*columns, named=True)
    try:
        counted = [traits(row) for row in rows.iterator(chunk_size=READ_AT_ONCE)]
        return Tally([*counted, *_read(entries.filter(leaf__quarantined=True))])
    except UNREADABLE:  # changed since
        return Tally(_read(entries))


def _read(entries: AuditEntryQuerySet) -> Iterator[Traits]:
    found = read(list(entries.values_list("pk", flat=True)), using=entries.db)
    return (traits(entry.row) for entry in found if entry.row)
