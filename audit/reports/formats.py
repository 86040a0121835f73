"""A period report as JSON, under the names that the first design of OpsSight gave it, and as CSV."""

import csv
from collections.abc import Mapping
from datetime import UTC, datetime
from io import StringIO
from typing import Any

from audit.reports.services import Report
from audit.rollups.models import ALL, DayCount
from audit.rollups.services import COUNTS
from audit.tags import EVIDENCE, FRAMEWORKS, VERSION

NAMES = {"total": "total_actions", "failed": "failed_actions"}
COLUMNS = ("date", *(NAMES.get(name, name) for name in COUNTS))
TITLES = {**FRAMEWORKS, ALL: "Every entry"}


def as_dict(report: Report) -> dict[str, Any]:
    period, covers = report.period, report.covers
    return {
        "framework": period.framework,
        "title": TITLES[period.framework],
        "period": {"start": str(period.start), "end": str(period.end)},
        "daily_summary": [_row(day) for day in report.days],
        "totals": named(report.totals()),
        "trail_begins": str(report.trail_begins) if report.trail_begins else None,
        "generated_at": _moment(report.generated_at),
        "covers": {
            "size": covers.size,
            "counted": covers.counted,
            "root": covers.root,
            "checkpoint_at": _moment(covers.checkpoint_at),
            "complete": covers.complete,
            "quarantined": covers.quarantined,
            "anchored": {"size": covers.anchored[0], "at": _moment(covers.anchored[1])} if covers.anchored else None,
        },
        "mapping": {"version": VERSION, "evidence": evidence_for(period.framework)},
    }


def evidence_for(framework: str) -> list[dict[str, Any]]:
    """What counts as evidence for a framework today, and for which clauses."""
    return [
        {"shows": evidence.shows, "clauses": list(evidence.serves[framework]), "of": list(evidence.of)}
        for evidence in EVIDENCE
        if framework in evidence.serves
    ]


def as_csv(report: Report) -> str:
    """A row a day, and one of the whole period; distinct users are no sum of those of the days."""
    text = StringIO()
    rows = csv.DictWriter(text, COLUMNS)
    rows.writeheader()
    rows.writerows(_row(day) for day in report.days)
    rows.writerow({"date": "total", **named(report.totals())})
    return text.getvalue()


def named(counts: Mapping[str, int]) -> dict[str, int]:
    return {NAMES.get(name, name): count for name, count in counts.items()}


def _row(day: DayCount) -> dict[str, Any]:
    return {"date": str(day.day), **named({name: getattr(day, name) for name in COUNTS})}


def _moment(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None
