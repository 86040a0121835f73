"""Reading what findings come to, and counting them anew."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.models import Count, Exists, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from scanning.counts import triggers
from scanning.counts.models import StateCount, WeekCount
from scanning.models import Asset, Finding, Scan, Severity, Status

WEEK = timedelta(days=7)
WEEKS = 53  # a year, and the week that is not over

# Findings as they are, each as if it came now: new when first seen, fixed when it says, decided at its last decision.
AS_THEY_ARE = """
SELECT CAST(NULL AS bigint) AS asset_was, CAST(NULL AS smallint) AS severity_was, CAST(NULL AS varchar) AS status_was,
  asset_id AS asset_is, severity AS severity_is, status AS status_is, first_seen_at AS seen,
  COALESCE(fixed_at, last_seen_at) AS fixed,
  COALESCE((SELECT MAX(COALESCE(answered_at, decided_at)) FROM triage_decision d WHERE d.finding_id = f.id),
    last_seen_at) AS at
FROM scanning_finding f
"""


# --- reading ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Week:
    """From Monday `start` (UTC), by severity: opened, fixed, otherwise (signed), and open at its end or now."""

    start: date
    opened: dict[Severity, int]
    fixed: dict[Severity, int]
    other: dict[Severity, int]
    open: dict[Severity, int]


def totals(user: Any) -> dict[Severity, int]:
    """How many unresolved findings of each severity `user` may see."""
    found = StateCount.objects.permitted(user, "findings:read").filter(status__in=Status.unresolved())
    rows = dict(found.values_list("severity").annotate(total=Sum("n")))
    return {severity: rows.get(severity, 0) for severity in Severity}


def year(user: Any, today: date, *, now: Mapping[Severity, int] | None = None) -> list[Week]:
    """The last 53 weeks, the oldest first. `now` are the totals, where they are known already."""
    last = today - timedelta(days=today.weekday())
    first = last - WEEK * (WEEKS - 1)
    found = WeekCount.objects.permitted(user, "findings:read").filter(week__gte=first)
    rows = found.values_list("week", "severity").annotate(o=Sum("opened"), f=Sum("fixed"), x=Sum("other"))
    counts = {(week, severity): told for week, severity, *told in rows}
    standing, weeks = dict(now if now is not None else totals(user)), list[Week]()
    for start in (last - WEEK * n for n in range(WEEKS)):
        opened, fixed, other = (
            {severity: counts.get((start, severity), (0, 0, 0))[part] for severity in Severity} for part in range(3)
        )
        weeks.append(Week(start, opened, fixed, other, dict(standing)))
        for severity in Severity:
            standing[severity] -= opened[severity] - fixed[severity] + other[severity]
    return weeks[::-1]


def with_standing(assets: QuerySet[Asset]) -> QuerySet[Asset]:
    """Each with `was_scanned` and its number of `unresolved` findings, most first."""
    found = StateCount.objects.filter(asset=OuterRef("pk"), status__in=Status.unresolved()).order_by().values("asset")
    counted = found.annotate(total=Sum("n")).values("total")
    return assets.annotate(
        was_scanned=Exists(Scan.objects.standing().filter(asset=OuterRef("pk"))),
        unresolved=Coalesce(Subquery(counted), 0),
    ).order_by("-unresolved", "name")


# --- keeping ------------------------------------------------------------------------------------------------------


def agrees(*, using: str = DEFAULT_DB_ALIAS) -> bool:
    """Whether the counts by state are what the findings come to."""
    names = ("asset_id", "severity", "status")
    counted = StateCount.objects.using(using).values_list(*names).annotate(total=Sum("n")).exclude(total=0)
    there = Finding.objects.using(using).order_by().values_list(*names).annotate(total=Count("pk"))
    return set(counted) == set(there)


def rebuild(*, using: str = DEFAULT_DB_ALIAS) -> int:
    """Count all findings anew, and say how many. Writers wait.

    What the rows don't tell is gone: that one was fixed and opened again, or rated otherwise, in earlier weeks.
    """
    connection = connections[using]
    with transaction.atomic(using=using), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("LOCK TABLE scanning_finding IN SHARE MODE")
        for model in (StateCount, WeekCount):
            model._default_manager.using(using).all()._raw_delete(using)
        for statement in triggers.counting(connection.vendor, AS_THEY_ARE, "0"):
            cursor.execute(statement)
    return Finding.objects.using(using).count()


def fold(*, using: str = DEFAULT_DB_ALIAS) -> None:
    """Add the lanes of past transactions to lane 0. Harmless to run twice, or at once: a row is deleted once."""
    if connections[using].vendor != "postgresql":
        return  # one writer at a time: there is but one lane
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute(
            "WITH gone AS (DELETE FROM counts_statecount WHERE lane > 0 RETURNING *)"
            " INSERT INTO counts_statecount (asset_id, severity, status, lane, n)"
            " SELECT asset_id, severity, status, 0, SUM(n) FROM gone GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
            " ON CONFLICT (asset_id, severity, status, lane) DO UPDATE SET n = counts_statecount.n + excluded.n"
        )
        cursor.execute(
            "WITH gone AS (DELETE FROM counts_weekcount WHERE lane > 0 RETURNING *)"
            " INSERT INTO counts_weekcount (asset_id, week, severity, lane, opened, fixed, other)"
            " SELECT asset_id, week, severity, 0, SUM(opened), SUM(fixed), SUM(other) FROM gone"
            " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
            " ON CONFLICT (asset_id, week, severity, lane) DO UPDATE SET"
            " opened = counts_weekcount.opened + excluded.opened, fixed = counts_weekcount.fixed + excluded.fixed,"
            " other = counts_weekcount.other + excluded.other"
        )
