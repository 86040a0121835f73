from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from itertools import groupby
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone

from audit.reports.formats import TITLES, as_csv, as_dict, evidence_for
from audit.reports.services import NoReport, Report, check_reach, period_of, report
from audit.rollups.models import ALL, DayCount
from audit.rollups.services import COUNTS
from audit.tags import VERSION
from opssight.console import trail_state
from opssight.console.charts import Calendar, calendar
from opssight.kernel.guards import guarded

BY_MONTH = 400  # days, from which on the page sums up; the files have every day
NARROW = 62  # columns that a narrow drawing has room for
PARAMETERS = ("framework", "start", "end")
# Figure, heading, and what narrows the trail's list to its rows (None where no filter does).
FIGURES: list[tuple[str, str, str | None]] = [
    ("total", "Entries", ""),
    ("failed", "Failed", "&success=false"),
    ("unique_users", "Users", None),
    ("creations", "Created", "&action=CREATE"),
    ("reads", "Read", "&action=READ"),
    ("updates", "Changed", "&action=UPDATE"),
    ("deletions", "Removed", "&action=DELETE"),
    ("events", "Events", None),
    ("without_user", "Without user", None),
]


@dataclass(frozen=True)
class Line:
    """A day, or the days of a month, which have no `unique_users`: distinct ones are no sum."""

    since: date
    until: date
    counts: dict[str, int]

    def cells(self) -> list[tuple[int | None, str | None]]:
        return [(self.counts.get(name), narrows if self.counts.get(name) else None) for name, _, narrows in FIGURES]


@guarded("trail:report")
def trail_report(request: HttpRequest) -> HttpResponse:
    """The form alone until a period is asked for: making a report leaves an entry."""
    today, form = timezone.now().astimezone(UTC).date(), request.GET.get("format", "")
    given = {name: request.GET.get(name, "") for name in PARAMETERS}
    check_reach(request.user)
    page: dict[str, Any] = {"titles": TITLES.items(), "presets": _presets(today), "given": given, "today": today}
    if form not in ("", "csv", "json"):
        raise Http404
    if not any(given.values()):
        page["given"] = {"framework": next(iter(TITLES)), "start": today - timedelta(days=29), "end": today}
        return render(request, "audit/report.html", page)
    try:
        made = report(period_of(given["framework"], given["start"], given["end"]))
    except NoReport as problem:
        return render(request, "audit/report.html", {**page, "errors": problem.errors}, status=problem.status)
    if form:
        return _file(made, form)
    return render(request, "audit/report.html", {**page, **_shown(made), **trail_state.banner()})


def _file(made: Report, form: str) -> HttpResponse:
    period = made.period
    response = (
        HttpResponse(as_csv(made), content_type="text/csv; charset=utf-8")
        if form == "csv"
        else JsonResponse(as_dict(made))
    )
    name = f"trail-report-{period.framework}-{period.start}-{period.end}.{form}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _presets(today: date) -> list[tuple[str, date, date]]:
    """Periods that auditors ask for: (name, start, end)."""
    month, year = today.replace(day=1), today.replace(month=1, day=1)
    before = month - timedelta(days=1)
    last_year = year - timedelta(days=1)
    return [
        ("Last month", before.replace(day=1), before),
        ("This month", month, today),
        ("Last 365 days", today - timedelta(days=364), today),
        ("This year", year, today),
        ("Last year", last_year.replace(month=1, day=1), last_year),
    ]


def _shown(made: Report) -> dict[str, Any]:
    by_month = len(made.days) > BY_MONTH
    lines = list(_months(made.days) if by_month else map(_line, made.days))
    by_hand = lines if len(lines) <= NARROW else list(_months(made.days))
    return {
        "report": made,
        "title": TITLES[made.period.framework],
        "totals": made.totals(),
        "lines": lines,
        "headings": [heading for _, heading, _ in FIGURES],
        "by_month": by_month,
        "wide": _drawing(lines, 1144),
        "slim": _drawing(by_hand, 300),
        "narrowing": "" if made.period.framework == ALL else f"&framework={made.period.framework}",
        "evidence": evidence_for(made.period.framework),
        "version": VERSION,
        "unreadable": made.covers.size - made.covers.counted,
    }


def _line(day: DayCount) -> Line:
    return Line(day.day, day.day, {name: getattr(day, name) for name in COUNTS})


def _months(days: Iterable[DayCount]) -> Iterator[Line]:
    for _, group in groupby(days, key=lambda day: (day.day.year, day.day.month)):
        month = list(group)
        counts = {name: sum(getattr(day, name) for day in month) for name in COUNTS if name != "unique_users"}
        yield Line(month[0].day, month[-1].day, counts)


def _drawing(lines: list[Line], width: int) -> tuple[Calendar, list[tuple[Any, Line]]]:
    """The geometry, and each column with what it stands for."""
    counts = [(line.since, line.counts["total"], line.counts["failed"], "") for line in lines]
    drawing = calendar(counts, width=width)
    return drawing, list(zip(drawing.days, lines, strict=True))
