"""Counting entries as they are sealed, and reading what they come to."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from itertools import islice
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Model, Sum

from audit.models import AuditEntry
from audit.rollups.models import ALL, DayCount, DayUser
from audit.tags import FRAMEWORKS

ROWS = 2_000  # per statement; SQLite takes 32,766 parameters
DAY = timedelta(days=1)
Action = AuditEntry.Action
BY_ACTION = {
    Action.CREATE: "creations",
    Action.ACCESS: "reads",
    Action.UPDATE: "updates",
    Action.DELETE: "deletions",
}
DAY_OF, USER = ("framework", "day"), ("framework", "day", "user_id")
COUNTS = ("total", "failed", *BY_ACTION.values(), "events", "unique_users", "without_user")

# What is counted of an entry: UTC day (ISO 8601), account, action, success, frameworks.
Traits = tuple[str, int | None, int | None, bool, tuple[str, ...]]


# --- counting -----------------------------------------------------------------------------------------------------


def frameworks_of(tags: Any) -> tuple[str, ...]:
    """The known ones among the tags of an entry; a forged entry may hold anything there."""
    return tuple(key for key in FRAMEWORKS if key in tags) if isinstance(tags, list) else ()


class Tally:
    """What entries come to: `counts` by framework and day without unique_users, and the `users` who had any."""

    def __init__(self, entries: Iterable[Traits]) -> None:
        self.counts: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
        self.users: set[tuple[str, str, int]] = set()
        for (day, user, action, success, tags), times in Counter(entries).items():
            for framework in (ALL, *tags):
                counts = self.counts[framework, day]
                counts["total"] += times
                counts[BY_ACTION.get(action, "events")] += times
                if not success:
                    counts["failed"] += times
                if user is None:
                    counts["without_user"] += times
                else:
                    self.users.add((framework, day, user))


def count(entries: Iterable[Mapping[str, Any]], *, using: str = DEFAULT_DB_ALIAS) -> None:
    """Add entries, given as what their leaves cover, in the transaction that seals them. Each may come only once."""
    add(Tally(_traits(entry) for entry in entries), using=using)


def _traits(entry: Mapping[str, Any]) -> Traits:
    day = entry["timestamp"].partition("T")[0].zfill(10)  # strftime leaves out the zeros of an early (forged) year
    return day, entry["actor"], entry["action"], bool(entry["success"]), frameworks_of(entry.get("tags"))


def add(tally: Tally, *, using: str) -> None:
    """The same statements on both databases; rows in the order of their keys."""
    counts = tally.counts
    with connections[using].cursor() as cursor:
        for users in _parts(sorted(tally.users)):
            _insert(cursor, DayUser, USER, users, "NOTHING RETURNING framework, day")
            for framework, day in cursor.fetchall():
                counts[framework, str(day)]["unique_users"] += 1
        for keys in _parts(sorted(counts)):
            rows = [(*key, *counts[key].values()) for key in keys]
            more = ", ".join(f"{name} = {DayCount._meta.db_table}.{name} + excluded.{name}" for name in COUNTS)
            _insert(cursor, DayCount, (*DAY_OF, *COUNTS), rows, f"UPDATE SET {more}")


def _insert(cursor: Any, model: type[Model], columns: tuple[str, ...], rows: list[Any], otherwise: str) -> None:
    key = USER if model is DayUser else DAY_OF
    row = f"({', '.join(['%s'] * len(columns))})"
    cursor.execute(
        f"INSERT INTO {model._meta.db_table} ({', '.join(columns)}) VALUES {', '.join([row] * len(rows))}"
        f" ON CONFLICT ({', '.join(key)}) DO {otherwise}",
        [value for values in rows for value in values],
    )


def _parts(rows: Iterable[Any]) -> Iterator[list[Any]]:
    rows = iter(rows)
    while part := list(islice(rows, ROWS)):
        yield part


# --- reading ------------------------------------------------------------------------------------------------------


def days(start: date, end: date, framework: str = ALL) -> list[DayCount]:
    """Every day from `start` to `end`, both inside; one without entries is all zeros."""
    kept = {row.day: row for row in DayCount.objects.filter(framework=framework, day__range=(start, end))}
    span = (start + DAY * n for n in range((end - start).days + 1))
    return [kept.get(day) or DayCount(framework=framework, day=day) for day in span]


def unique_users(start: date, end: date, framework: str = ALL) -> int:
    """How many accounts had entries in the whole period."""
    seen = DayUser.objects.filter(framework=framework, day__range=(start, end))
    return seen.values("user_id").distinct().count()


def covered() -> int:
    """How many entries are counted: the size of the log that these figures cover."""
    return DayCount.objects.filter(framework=ALL).aggregate(n=Sum("total"))["n"] or 0


def first_day() -> date | None:
    return DayCount.objects.filter(framework=ALL).order_by("day").values_list("day", flat=True).first()
