"""Holding the figures of `audit.rollups` to the sealed entries, and counting them anew."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db import DEFAULT_DB_ALIAS, transaction

from audit.models import AuditEntry, AuditEntryQuerySet
from audit.rollups.models import DayCount, DayUser
from audit.rollups.services import COUNTS, Tally, Traits, add, hold, traits
from audit.sealing.entries import UNREADABLE, read
from audit.sealing.models import Leaf
from audit.sealing.reading import sealed

READ_AT_ONCE = 2_000
Key = tuple[str, str]  # framework and day


@dataclass(frozen=True)
class Difference:
    """A figure that is not what the entries come to; `users` is the list of accounts itself."""

    day: str
    framework: str
    figure: str
    kept: int
    counted: int

    def __str__(self) -> str:
        return f"{self.day} {self.framework}: {self.figure} is {self.kept}, and the entries come to {self.counted}"


# --- checking -----------------------------------------------------------------------------------------------------


class Recount:
    """What the sealed entries come to, passed in the order of their positions from the first on.

    Accounts of a day are the bits of one number, so that years of them take some megabytes.
    """

    def __init__(self) -> None:
        self.size = 0
        self._counts: dict[Key, dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
        self._users: dict[Key, int] = defaultdict(int)
        self._bits: dict[int, int] = {}
        self._passed: Counter[Traits] = Counter()

    def add(self, position: int, row: Any) -> None:
        """The entry there, or None for one that can't be read, which belongs to no day."""
        self.size = position + 1
        if row is not None:
            self._passed[traits(row)] += 1
            if len(self._passed) >= READ_AT_ONCE:
                self._fold()

    def differences(self) -> list[Difference]:
        """Against the figures as they are kept. What was sealed meanwhile is passed first."""
        counts, users, late = _counts(), self._masks(DayUser.objects.all()), set()
        while True:
            size = _size()
            for leaf in sealed(self.size, size):
                row = leaf.entry.row if leaf.entry else None
                self.add(leaf.position, row)
                if row is not None:
                    late.add(traits(row)[0])
            self.size = size
            if late:
                counts |= _counts(day__in=late)
                users |= self._masks(DayUser.objects.filter(day__in=late))
            if size == _size():
                break
        self._fold()
        return list(self._compared(counts, users))

    def _fold(self) -> None:
        tally = Tally(self._passed)
        for key, more in tally.counts.items():
            counts = self._counts[key]
            for name, times in more.items():
                counts[name] += times
        for framework, day, user in tally.users:
            self._users[framework, day] |= self._bit(user)
        self._passed.clear()

    def _bit(self, user: int) -> int:
        return 1 << self._bits.setdefault(user, len(self._bits))

    def _masks(self, rows: Any) -> dict[Key, int]:
        masks: dict[Key, int] = defaultdict(int)
        columns = rows.values_list("framework", "day", "user_id")
        for framework, day, user in columns.iterator(chunk_size=READ_AT_ONCE):
            masks[framework, str(day)] |= self._bit(user)
        return dict(masks)

    def _compared(self, counts: dict[Key, dict[str, int]], users: dict[Key, int]) -> Iterator[Difference]:
        nothing = dict.fromkeys(COUNTS, 0)
        for key in sorted({*counts, *users, *self._counts}, key=lambda key: (key[1], key[0])):
            framework, day = key
            kept, real = counts.get(key, nothing), self._counts.get(key, nothing)
            seen = self._users.get(key, 0)
            for name in COUNTS:
                counted = seen.bit_count() if name == "unique_users" else real[name]
                if kept[name] != counted:
                    yield Difference(day, framework, name, kept[name], counted)
            if (listed := users.get(key, 0)) != seen:
                yield Difference(day, framework, "users", listed.bit_count(), seen.bit_count())


def _counts(**which: Any) -> dict[Key, dict[str, int]]:
    rows = DayCount.objects.filter(**which).values("framework", "day", *COUNTS)
    return {(row.pop("framework"), str(row.pop("day"))): row for row in rows}


def _size(using: str = DEFAULT_DB_ALIAS) -> int:
    last = Leaf.objects.using(using).order_by("-position").values_list("position", flat=True).first()
    return 0 if last is None else last + 1


# --- counting anew --------------------------------------------------------------------------------------------------


def rebuild(*, using: str = DEFAULT_DB_ALIAS) -> None:
    """Count anew from the sealed entries, day by day. The sealer waits meanwhile."""
    with transaction.atomic(using=using):
        hold(using)
        sealed_ones: AuditEntryQuerySet = AuditEntry.objects.using(using).filter(leaf__position__lt=_size(using))
        days = _days(sealed_ones)
        for model in (DayUser, DayCount):
            model._default_manager.using(using).all().delete()
        for day in days:
            add(_tally(_of(sealed_ones, day)), using=using)


def _days(entries: AuditEntryQuerySet) -> list[date]:
    """The UTC days that have figures, or entries by the index on time."""
    kept = DayCount.objects.using(entries.db).values_list("day", flat=True)
    found = set(kept)
    moments = entries.order_by("timestamp").values_list("timestamp", flat=True)
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


def _read(entries: AuditEntryQuerySet) -> Iterable[Traits]:
    found = read(list(entries.values_list("pk", flat=True)), using=entries.db)
    return (traits(entry.row) for entry in found if entry.row)
