"""The first minute of a security officer: what is open, what runs, what changed."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone

from audit.models import AuditEntry
from opssight.console import readings
from opssight.console.charts import bars, columns
from opssight.console.fragments import htmx
from opssight.console.navigation import shell_of
from opssight.console.templatetags.console import SEVERITY_KEYS
from opssight.kernel.guards import guarded
from scanning.counts.services import year
from scanning.models import Finding, Scan, Severity

NEWEST, ASSETS, ENTRIES, RUNS = 6, 9, 8, 3
NAMED = 13  # every so many weeks one is named below the year's columns
LEVELS = sorted(Severity, reverse=True)


def _year(user: Any, counts: Mapping[Severity, int], today: date) -> dict[str, Any]:
    weeks = year(user, today, now=counts)
    groups = [
        (
            f"{week.start.day} {week.start:%b}" if index % NAMED == 0 else "",
            [(SEVERITY_KEYS[level], week.open[level]) for level in LEVELS],
        )
        for index, week in enumerate(weeks)
    ]
    return {
        "levels": LEVELS,
        "weeks": [
            (week.start, sum(week.opened.values()), sum(week.fixed.values()), sum(week.other.values()),
             sum(week.open.values()), [week.open[level] for level in LEVELS])
            for week in reversed(weeks)
        ],
        "year_wide": columns(groups, width=1100, left=44, tall=110),
        "year_slim": columns(groups, width=272, left=34, tall=90),
    }  # fmt: skip


@guarded("me:read")
def overview(request: HttpRequest) -> HttpResponse:
    """While a scan runs, the page asks for itself again every two seconds."""
    shell, now = shell_of(request), timezone.now()
    if not (shell.findings or shell.trail):
        return redirect("my-security")
    found = Finding.objects.permitted(request.user, "findings:read")
    running = Scan.objects.permitted(request.user, "scans:read").unfinished().select_related("asset").order_by("id")
    counts = shell.counts
    rows = [(level.label, SEVERITY_KEYS[level], counts[level]) for level in LEVELS]
    standings, ahead = readings.standings(request.user), readings.deadlines(request.user, at=now)
    # Information has a deadline only where a policy gives it one.
    due = [level for level in LEVELS if level != Severity.INFO or any(level in group for group in ahead)]
    stacks = [[(SEVERITY_KEYS[level], group.get(level, 0)) for level in due] for group in ahead]
    groups = list(zip(readings.GROUPS, stacks, strict=True))
    page = {
        "now": now,
        "still": "still" in request.GET,
        "tiles": readings.tiles(request.user, shell, counts, at=now),
        "running": list(running[:RUNS]),
        "newest": list(found.unresolved().select_related("asset").order_by("-id")[:NEWEST]),
        "counts": [(level, counts[level]) for level in LEVELS],
        "total": sum(counts.values()),
        "wide": bars(rows, width=440, left=92),
        "slim": bars(rows, width=272, left=80),
        "due": due,
        "ahead": [(name, [count for _, count in parts]) for (_, name, _), parts in groups],
        "ahead_wide": columns([(name, parts) for (_, name, _), parts in groups], width=620, left=30),
        "ahead_slim": columns([(name, parts) for (_, _, name), parts in groups], width=272, left=24),
        "over": sum(ahead[0].values()),
        "soon": sum(sum(group.values()) for group in ahead[1:4]),
        **_year(request.user, counts, now.date()),
        "standings": standings[:ASSETS],
        "assets": len(standings),
        "emptiness": None if any(counts.values()) else readings.emptiness(request.user, standings),
    }
    if shell.trail:
        # One entry per finding of a scan would leave room for nothing that people did.
        entries = AuditEntry.objects.permitted(request.user, "trail:read").exclude(event="findings:raised")
        page["entries"] = list(entries.select_related("personal")[:ENTRIES])
    template = "console/overview_live.html" if htmx(request) else "console/overview.html"
    return render(request, template, page)
