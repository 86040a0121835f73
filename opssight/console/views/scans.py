from typing import Any

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from opssight.console.counting import ask
from opssight.console.filters import Asked
from opssight.console.fragments import htmx
from opssight.console.lists import links, page_of
from opssight.kernel.access import decide
from opssight.kernel.guards import guarded
from scanning.models import Asset, Finding, Scan, ScanQuerySet, ScanState
from scanning.services import request_scans

SHOWN = 10


@guarded("scans:read")
def scans(request: HttpRequest) -> HttpResponse:
    asked = Asked(request.GET)
    rows = _narrowed(Scan.objects.permitted(request.user, "scans:read"), asked, request.user)
    page = page_of(request, rows.select_related("asset"), ["-id"])
    context = {"asked": asked, "page": page, **links(request, page), **ask(request.user, total=rows)}
    return render(request, "scanning/scans.html", context)


@guarded("scans:read")
def scan(request: HttpRequest, uid: str) -> HttpResponse:
    return render(request, "scanning/scan.html", _context(request, uid))


@guarded("scans:read")
def scan_progress(request: HttpRequest, uid: str) -> HttpResponse:
    """The moving part of the page of a running scan; asked for by a person, the whole page."""
    template = "scanning/scan_progress.html" if htmx(request) else "scanning/scan.html"
    return render(request, template, _context(request, uid))


@guarded("scans:create")
@require_POST
def scan_now(request: HttpRequest, uid: str) -> HttpResponse:
    """Scan an asset with the named tool, or every one that fits; one that runs already is shown instead.

    The page of the first shows all that were asked for together.
    """
    asset = get_object_or_404(Asset.objects.permitted(request.user, "assets:read"), uid=uid)
    named = request.POST.get("scanner", "")
    return redirect("scan", request_scans(asset, scanners=[named] if named else None, by=request.user)[0].uid)


def _narrowed(rows: ScanQuerySet, asked: Asked, user: Any) -> ScanQuerySet:
    if chosen := asked.among("state", "State", ScanState.choices):
        rows = rows.filter(state__in=chosen)
    assets = Asset.objects.permitted(user, "assets:read").order_by("name").values_list("uid", "name")
    if chosen := asked.among("asset", "Asset", ((str(uid), name) for uid, name in assets), names=True):
        rows = rows.filter(asset__uid__in=chosen)
    if moment := asked.span("since", "Asked for"):
        rows = rows.filter(queued_at__gte=moment)
    return rows


def _context(request: HttpRequest, uid: str) -> dict[str, Any]:
    """A running scan shows its findings as they arrive, a finished one the most severe first."""
    may_see = Scan.objects.permitted(request.user, "scans:read")
    run = get_object_or_404(may_see.select_related("asset", "requested_by"), uid=uid)
    together = list(may_see.filter(asset=run.asset, batch=run.batch).order_by("scanner")) if run.batch else []
    found = Finding.objects.permitted(request.user, "findings:read").unresolved().filter(asset=run.asset)
    mine = found.filter(Q(first_scan=run) | Q(last_scan=run))
    order = ["-severity", "id"] if run.is_finished else ["-id"]
    return {
        "scan": run,
        "together": together if len(together) > 1 else [],
        "settled": sum(one.is_finished for one in together),
        "moves": not all(one.is_finished for one in [run, *together]),
        "imported": run.imports.permitted(request.user, "imports:read").first() if run.is_imported else None,
        "found": list(mine.order_by(*order)[:SHOWN]),
        "findings_shown": decide(request.user, "findings:read").allowed,
        "still": "still" in request.GET,
        "now": timezone.now(),
        **ask(request.user, open=found),
    }
