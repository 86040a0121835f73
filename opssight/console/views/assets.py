"""What is scanned: the list, and the page of one asset."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone

from opssight.console.counting import ask
from opssight.console.filters import Asked
from opssight.console.lists import links, page_of
from opssight.console.readings import Standing, standings_of
from opssight.console.views.asset_forms import UploadForm
from opssight.kernel.access import decide
from opssight.kernel.guards import guarded
from scanning.counts.services import with_standing
from scanning.imports.models import Import
from scanning.models import Asset, AssetQuerySet, Finding, RetiredTool, Scan, Severity, stands_as
from scanning.scanners import base, toolbox
from scanning.schedules.models import Schedule

SEVERITIES = sorted(Severity, reverse=True)
SHOWN = 8
STANDINGS = [
    ("never", "never run"),
    ("failed", "a tool failed"),
    ("not_installed", "a tool is not installed"),
    ("partly", "finished with errors"),
    ("scope_unknown", "not known what was read"),
    ("stale", "stale"),
    ("clean", "clean"),
]


@dataclass(frozen=True)
class Line:
    """An asset in the list: how it stands, and its unresolved findings by severity."""

    standing: Standing
    counts: dict[int, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def by_severity(self) -> list[tuple[Severity, int]]:
        return [(severity, self.counts.get(severity, 0)) for severity in SEVERITIES]


@guarded("assets:read")
def assets(request: HttpRequest) -> HttpResponse:
    asked = Asked(request.GET)
    rows = _narrowed(Asset.objects.permitted(request.user, "assets:read"), asked, request.user)
    page = page_of(request, with_standing(rows.select_related("unit")), ["name", "id"])
    context = {
        "asked": asked, "page": page, "lines": _lines(page.rows, request.user), "severities": SEVERITIES[:-1],
        "may_create": decide(request.user, "assets:create").allowed,
        **links(request, page), **ask(request.user, total=rows),
    }  # fmt: skip
    return render(request, "scanning/assets.html", context)


def _lines(page: list[Asset], user: Any) -> list[Line]:
    """Three queries for all assets of a page."""
    counts: dict[int, dict[int, int]] = defaultdict(dict)
    found = Finding.objects.permitted(user, "findings:read").filter(asset__in=[asset.pk for asset in page])
    for asset, severity, n in _counted(found, "asset"):
        counts[asset][severity] = n
    return [Line(standing, counts[standing.asset.pk]) for standing in standings_of(user, page)]


def _counted(rows: Any, *by: str) -> QuerySet[Any]:
    """(…, severity, how many are unresolved)."""
    names = (*by, "severity")
    counted: QuerySet[Any] = rows.unresolved().order_by().values_list(*names).annotate(n=Count("pk"))
    return counted


def _narrowed(rows: AssetQuerySet, asked: Asked, user: Any) -> AssetQuerySet:
    if text := asked.text("q"):
        asked.note("q", "Search", text)
        rows = rows.filter(Q(name__icontains=text) | Q(location__icontains=text))
    units = Asset.objects.permitted(user, "assets:read").order_by("unit__name").values_list("unit__uid", "unit__name")
    if chosen := asked.among("unit", "Unit", ((str(uid), name) for uid, name in units.distinct()), names=True):
        rows = rows.filter(unit__uid__in=chosen)
    if chosen := asked.among("kind", "Kind", Asset.Kind.choices):
        rows = rows.filter(kind__in=chosen)
    if chosen := asked.among("standing", "Standing", STANDINGS):
        rows = rows.filter(_standing_is(chosen, user, at=timezone.now()))
    return rows


def _standing_is(chosen: list[str], user: Any, *, at: datetime) -> Q:
    """Assets of which the newest run of a tool is one of those; clean is one of which every tool's is."""
    newest = Scan.objects.permitted(user, "scans:read").newest_ended(at=at).filter(asset=OuterRef("pk"))
    found = Q()
    for one in chosen:
        if one == "never":
            found |= Q(~Exists(newest))
        elif one == "clean":
            found |= Q(Exists(newest)) & Q(~Exists(newest.exclude(stands_as(one, at=at))))
        else:
            found |= Q(Exists(newest.filter(stands_as(one, at=at))))
    return found


# --- one ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tool:
    """One tool as the asset's page tells of it. `scan` is None where it never ran or is retired; `missing` says how to
    get it."""

    name: str
    scan: Scan | None
    counts: dict[int, int]
    missing: str = ""
    can_run: bool = False
    retired: RetiredTool | None = None

    @property
    def is_known(self) -> bool:
        return self.scan is not None and self.scan.is_known

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@guarded("assets:read")
def asset(request: HttpRequest, uid: UUID) -> HttpResponse:
    user = request.user
    row = get_object_or_404(Asset.objects.permitted(user, "assets:read").select_related("unit"), uid=uid)
    found = Finding.objects.permitted(user, "findings:read").filter(asset=row)
    scans = Scan.objects.permitted(user, "scans:read").filter(asset=row)
    imports = Import.objects.permitted(user, "imports:read").filter(asset=row)
    by_tool: dict[str, dict[int, int]] = defaultdict(dict)
    for scanner, severity, n in _counted(found, "scanner"):
        by_tool[scanner][severity] = n
    runs = {run.scanner: run for run in scans.newest_ended(at=timezone.now(), assets=[row.pk])}
    tools, may_change = _tools(row, runs, by_tool), decide(user, "assets:update", row).allowed
    totals = [(severity, sum(counts.get(severity, 0) for counts in by_tool.values())) for severity in SEVERITIES]
    context = {
        "asset": row,
        "tools": tools,
        "severities": totals,
        "total": sum(n for _, n in totals),
        "known": bool(runs) and all(run.is_known for run in runs.values()),
        "scans": list(scans.order_by("-id")[:SHOWN]),
        "imports": list(imports.annotate(new=Sum("scans__new"), fixed=Sum("scans__fixed")).order_by("-id")[:SHOWN]),
        "may_scan": decide(user, "scans:create", Scan(asset=row)).allowed,
        "may_import": decide(user, "imports:create", Import(asset=row)).allowed,
        "may_change": may_change,
        "takes_upload": may_change and row.kind in Asset.FILES and not row.location,
        "upload_form": UploadForm(),
        "limit": settings.UPLOAD_MAX,
        "schedules": list(Schedule.objects.permitted(user, "schedules:read").filter(asset=row).order_by("scanner")),
        "schedules_shown": decide(user, "schedules:read", Schedule(asset=row)).allowed,
        "may_schedule": decide(user, "schedules:create", Schedule(asset=row)).allowed,
        "may_reschedule": decide(user, "schedules:update", Schedule(asset=row)).allowed,
        "may_unschedule": decide(user, "schedules:delete", Schedule(asset=row)).allowed,
        "findings_shown": decide(user, "findings:read", Finding(asset=row)).allowed,
    }
    return render(request, "scanning/asset.html", context)


def _tools(asset: Asset, runs: dict[str, Scan], counts: dict[str, dict[int, int]]) -> list[Tool]:
    """Those that ran here first, then the others that OpsSight knows, and those that the asset does without."""
    retired = {tool.scanner: tool for tool in asset.retired_tools.select_related("retired_by")}
    names = [*sorted({*runs, *counts}), *sorted(base.registry.keys() - runs.keys() - counts.keys())]
    names = [*(name for name in names if name not in retired), *sorted(retired)]
    return [
        Tool(
            name, runs.get(name), counts.get(name, {}), missing := _missing(name),
            name in base.registry and not missing, retired.get(name),
        )
        for name in names
    ]  # fmt: skip


def _missing(name: str) -> str:
    """Why a tool of ours can't run on this machine; "" where it can, and for tools of others."""
    if name not in base.registry:
        return ""
    try:
        base.registry[name].check()
    except (toolbox.NotInstalled, base.NotReady) as error:
        return str(error)
    return ""
