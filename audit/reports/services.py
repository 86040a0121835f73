"""The period report: what the sealed trail came to on each day, for one framework or for all."""

import base64
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from django.utils import timezone

from audit import verify
from audit.events import TRAIL_REPORTED
from audit.models import AuditEntry
from audit.rollups import services as figures
from audit.rollups.models import ALL, DayCount
from audit.sealing.models import Checkpoint, Delivery, Leaf
from audit.sealing.sealer import catch_up
from audit.tags import FRAMEWORKS
from opssight.kernel.access import Forbidden
from opssight.kernel.errors import Refusal

MOST_DAYS = 3_660  # ten years
CHOICES = (*FRAMEWORKS, ALL)


class NoReport(Refusal):
    """What was asked for is no report; `errors` has the sentence for each parameter."""

    status = 400

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__(" ".join(errors.values()))
        self.errors = errors
        self.more = {"errors": {name: [sentence] for name, sentence in errors.items()}}


class BrokenLog(Refusal):
    """There is no checkpoint that a report could say it covers."""


@dataclass(frozen=True)
class Period:
    """Whole UTC days of one framework, both ends inside."""

    framework: str
    start: date
    end: date


@dataclass(frozen=True)
class Coverage:
    """The log that the figures were counted from: `size` entries with `root` (base64), signed at `checkpoint_at`.

    `complete` is false where entries wait to be sealed. `counted` is less than `size` by entries that can't be read;
    those are `quarantined`, as all with a wrong MAC, which are counted. `anchored` is the largest size, and when, of
    which a copy of the checkpoint was taken outside; None where there is none.
    """

    size: int
    counted: int
    root: str
    checkpoint_at: datetime | None
    complete: bool
    quarantined: int
    anchored: tuple[int, datetime | None] | None


@dataclass(frozen=True)
class Report:
    """`trail_begins` is the first day with any entry: before it, zero says that nothing was recorded."""

    period: Period
    days: list[DayCount]
    unique_users: int
    covers: Coverage
    trail_begins: date | None
    generated_at: datetime

    def totals(self) -> dict[str, int]:
        """Of the whole period. Distinct users are no sum of those of its days."""
        sums = {name: sum(getattr(day, name) for day in self.days) for name in figures.COUNTS}
        return sums | {"unique_users": self.unique_users}


def check_reach(user: Any) -> None:
    """Figures are those of the whole trail, which an assignment at a unit below does not reach."""
    if not AuditEntry.objects.permitted(user, "trail:report").exists():
        raise Forbidden("trail:report")


def period_of(framework: str, start: str, end: str, *, today: date | None = None) -> Period:
    """The period that texts ask for. NoReport, with a sentence for each of them that can't be."""
    errors = {}
    if framework not in CHOICES:
        errors["framework"] = f"{framework[:40] or 'Nothing'} is no framework here. There are: {', '.join(CHOICES)}."
    first, last = _day_of(start), _day_of(end)
    for name, text, day in (("start", start, first), ("end", end, last)):
        if day is None:
            errors[name] = f"{text[:40] or 'Nothing'} is no day. Write it as 2026-01-31; days are those of UTC."
    if first and last:
        errors |= _no_period(first, last, today or timezone.now().astimezone(UTC).date())
    if errors or first is None or last is None:
        raise NoReport(errors)
    return Period(framework, first, last)


def _day_of(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if str(day) == text else None  # weeks and days without dashes are ISO 8601 too


def _no_period(start: date, end: date, today: date) -> dict[str, str]:
    if start > end:
        return {"start": f"The period begins on {start}, after its end on {end}. Exchange the two."}
    if end > today:
        return {"end": f"Nothing is known yet of {end}: today is {today} in UTC. End the period today or earlier."}
    if (end - start).days >= MOST_DAYS:
        return {"start": f"The period has {(end - start).days + 1:,} days, and a report at most {MOST_DAYS:,}."}
    return {}


def report(period: Period) -> Report:
    """Seals what waits, where this process may, then reads; the reading becomes an entry, behind what it covers."""
    complete = catch_up()
    made = _read(period, complete)
    TRAIL_REPORTED.emit(framework=period.framework, start=str(period.start), end=str(period.end), size=made.covers.size)
    return made


def _read(period: Period, complete: bool) -> Report:
    while True:  # figures and checkpoint of one moment: what is read while the sealer commits is read again
        newest = Checkpoint.objects.newest()
        days = figures.days(period.start, period.end, period.framework)
        users = figures.unique_users(period.start, period.end, period.framework)
        begins, counted = figures.first_day(), figures.covered()
        if Checkpoint.objects.newest() == newest:
            break
    return Report(period, days, users, _coverage(newest, counted, complete), begins, timezone.now())


def _coverage(newest: Checkpoint | None, counted: int, complete: bool) -> Coverage:
    size, root, at = 0, verify.EMPTY_ROOT, None
    if newest is not None:
        try:
            note = verify.Checkpoint.parse(newest.note)[0]
        except ValueError:
            raise BrokenLog("The newest checkpoint of the trail can't be read. Run manage.py verify_trail.") from None
        size, root, at = note.size, note.root, newest.at
    taken = Delivery.objects.exclude(at=None).order_by("-checkpoint").values_list("checkpoint__size", "at").first()
    quarantined = Leaf.objects.filter(quarantined=True, position__lt=size).count()
    return Coverage(size, counted, base64.b64encode(root).decode(), at, complete, quarantined, taken)
