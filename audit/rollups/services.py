"""Counting entries as they are sealed, and reading what they come to."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, date, timedelta
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Sum

from audit.models import AuditEntry
from audit.rollups.models import ALL, DayCount, DayUser
from audit.tags import FRAMEWORKS

ROWS = 2_000  # per statement
DAY = timedelta(days=1)
Action = AuditEntry.Action
BY_ACTION = {
    Action.CREATE: "creations",
    Action.ACCESS: "reads",
    Action.UPDATE: "updates",
    Action.DELETE: "deletions",
}
COUNTS = ("total", "failed", *BY_ACTION.values(), "events", "unique_users", "without_user")

# What is counted of an entry: UTC day (ISO 8601), account, action, success, frameworks.
Traits = tuple[str, int | None, int | None, bool, tuple[str, ...]]


# --- counting -----------------------------------------------------------------------------------------------------


class Tally:
    """What entries come to: `counts` by framework and day without unique_users, and the `users` who had any."""

    def __init__(self, entries: Iterable[Traits]) -> None:
        self.counts: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
        self.users: set[tuple[str, str, int]] = set()
        for (day, user, action, success, tags), times in Counter(entries).items():  # a Counter is taken as it is
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


def count(entries: Iterable[Any], *, using: str = DEFAULT_DB_ALIAS) -> None:
    """Add entries (rows by their columns' names) in the transaction that seals them. Each may come only once."""
    add(Tally(traits(entry) for entry in entries), using=using)


def traits(entry: Any) -> Traits:
    """A forged entry may hold anything, on SQLite even text where an account's id belongs."""
    day = entry.timestamp.astimezone(UTC).date().isoformat()
    user = entry.actor_id if isinstance(entry.actor_id, int) else None
    return day, user, entry.action, bool(entry.success), frameworks_of(entry.compliance_tags)


def frameworks_of(tags: Any) -> tuple[str, ...]:
    return tuple(key for key in FRAMEWORKS if key in tags) if isinstance(tags, list) else ()


def hold(using: str) -> None:
    """Nobody else writes figures until the transaction ends. On SQLite no two write at a time anyway."""
    if connections[using].vendor == "postgresql":
        with connections[using].cursor() as cursor:
            cursor.execute("LOCK TABLE rollups_daycount IN SHARE ROW EXCLUSIVE MODE")


def add(tally: Tally, *, using: str) -> None:
    hold(using)
    days = {day for _, day in tally.counts}
    seen = DayUser.objects.using(using).filter(day__in=days).values_list("framework", "day", "user_id")
    new = sorted(tally.users - {(framework, str(day), user) for framework, day, user in seen})
    counts = {(row.framework, str(row.day)): row for row in DayCount.objects.using(using).filter(day__in=days)}
    for (framework, day), more in tally.counts.items():
        row = counts.setdefault((framework, day), DayCount(framework=framework, day=day))
        for name, times in more.items():
            setattr(row, name, getattr(row, name) + times)
    for framework, day, _ in new:
        counts[framework, day].unique_users += 1
    DayUser.objects.using(using).bulk_create(
        (DayUser(framework=framework, day=day, user_id=user) for framework, day, user in new), ROWS
    )
    DayCount.objects.using(using).bulk_create(
        counts.values(), ROWS, update_conflicts=True, unique_fields=["framework", "day"], update_fields=COUNTS
    )


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
