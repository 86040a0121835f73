from typing import Any
from uuid import UUID

from django.db.models import Q, UUIDField, Value
from django.db.models.functions import Cast
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils import timezone

from opssight.console import bulk_bar, readings, saved_views
from opssight.console.counting import ask
from opssight.console.filters import Asked
from opssight.console.fragments import htmx
from opssight.console.lists import links, page_of
from opssight.console.navigation import shell_of
from opssight.console.views import finding_talk
from opssight.kernel import reads
from opssight.kernel.guards import guarded
from scanning import exports
from scanning.advisories.models import Feed
from scanning.models import Asset, Finding, FindingQuerySet, Scan, Severity, Status

ORDER = ["-severity", "id"]
SEVERITIES = [(level.word, level.label) for level in sorted(Severity, reverse=True)]
DUE = [("over", "past deadline"), ("soon", "due in 3 days")]
EXPLOITED = {"yes": True, "no": False, "unknown": None}
KNOWN = [("yes", "known to be"), ("no", "not on CISA's list"), ("unknown", "not known")]
FIX = [("yes", "available"), ("no", "none is named")]


@guarded("findings:read")
def findings(request: HttpRequest) -> HttpResponse:
    asked, now = Asked(request.GET), timezone.now()
    may_see = Finding.objects.permitted(request.user, "findings:read")
    rows = narrowed(may_see, asked, request.user)
    page = page_of(
        request, rows, ORDER, whole=lambda found: found.select_related("asset", "owner").prefetch_related("tags")
    )
    questions, known = {"over": may_see.overdue(at=now), "soon": may_see.due_soon(at=now)}, dict[str, int]()
    if not (page.newer or page.older):
        known["total"] = len(page.rows)
    elif not asked.narrowed and not asked.query.getlist("status"):
        known["total"] = shell_of(request).unresolved
    elif not asked.text("q"):  # of a search nobody has to read what is not on the page
        questions["total"] = rows
    counts = {**known, **ask(request.user, **questions)}
    context: dict[str, Any] = {
        "asked": asked, "page": page, **links(request, page), **counts, **bulk_bar.bar(request.user),
        "views": saved_views.offered(request.user, asked),
    }  # fmt: skip
    if uid := asked.uid("open"):
        context |= opened(request, get_object_or_404(whole(may_see), uid=uid))
    if not page.rows and not asked.narrowed:
        context["emptiness"] = readings.emptiness(request.user, readings.standings(request.user))
    return render(request, "scanning/findings.html", context)


@guarded("findings:read")
def finding(request: HttpRequest, uid: str) -> HttpResponse:
    """A page of its own, or the panel beside the queue that the script asks for."""
    row = get_object_or_404(whole(Finding.objects.permitted(request.user, "findings:read")), uid=uid)
    reads.note_object(row)
    template = "scanning/finding_panel.html" if htmx(request) else "scanning/finding.html"
    return render(request, template, opened(request, row))


@guarded("findings:read")
def export_findings(request: HttpRequest) -> HttpResponseBase:
    """What the queue shows, as a file; `format` is csv, or sarif."""
    query = request.GET.copy()
    form = query.pop("format", ["csv"])[-1]
    if form not in exports.FORMATS:
        raise Http404
    rows = narrowed(Finding.objects.permitted(request.user, "findings:read"), Asked(query), request.user)
    return exports.export(rows, form, by=request.user, asked=query.urlencode())


def narrowed(rows: FindingQuerySet, asked: Asked, user: Any) -> FindingQuerySet:
    """What the address asks for. A search looks at findings of every state, unless one is chosen."""
    text = asked.text("q")
    if text:
        asked.note("q", "Search", text)
        rows = rows.matching(text)
    if chosen := asked.among("status", "State", Status.choices, default=() if text else Status.unresolved()):
        rows = rows.filter(status__in=chosen)
    if chosen := asked.among("severity", "Severity", SEVERITIES):
        rows = rows.filter(severity__in=[Severity[word.upper()] for word in chosen])
    assets, scanners = _offered(user)
    if chosen := asked.among("asset", "Asset", assets, names=True):
        rows = rows.filter(asset__uid__in=chosen)
    if chosen := asked.among("scanner", "Scanner", scanners, names=True):
        rows = rows.filter(scanner__in=chosen)
    rows = finding_talk.narrowed(rows, asked, user)
    if chosen := asked.among("exploited", "Exploited", KNOWN):
        known = [EXPLOITED[word] for word in chosen if EXPLOITED[word] is not None]
        unknown = Q(is_known_exploited=None) if "unknown" in chosen else Q()
        rows = rows.filter(Q(is_known_exploited__in=known) | unknown if known else unknown)
    match asked.among("fix", "Fix", FIX, several=False):
        case [word]:
            rows = rows.with_fix(word == "yes")
    match asked.among("due", "Time left", DUE, several=False):
        case ["over"]:
            rows = rows.overdue(at=timezone.now())
        case ["soon"]:
            rows = rows.due_soon(at=timezone.now())
    if moment := asked.span("new", "New"):
        rows = rows.seen_first_since(moment)
    if moment := asked.span("fixed", "Fixed"):
        rows = rows.fixed_since(moment)
    if uid := asked.uid("first_scan"):
        scan = get_object_or_404(Scan.objects.permitted(user, "scans:read"), uid=uid)
        asked.note("first_scan", "New in", f"scan {scan.pk}")
        rows = rows.filter(first_scan=scan)
    return rows


def _offered(user: Any) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The assets in sight, and the tools that findings in sight are of, in one query."""
    assets = Asset.objects.permitted(user, "assets:read").order_by().values_list("name", "uid")
    tools = Finding.objects.permitted(user, "findings:read").order_by()
    named = tools.values_list("scanner", Cast(Value(None), UUIDField()))
    rows: list[tuple[str, UUID | None]] = sorted(assets.union(named), key=lambda row: row[0])
    offered = [(str(uid), name) for name, uid in rows if uid is not None]
    return offered, [(name, name) for name, uid in rows if uid is None]


def whole(rows: FindingQuerySet) -> FindingQuerySet:
    return rows.select_related("asset", "first_scan", "last_scan", "owner")


def opened(request: HttpRequest, row: Finding) -> dict[str, Any]:
    feeds = Feed.objects.known() if row.cves else {}
    return {"finding": row, "feeds": feeds, **finding_talk.told(request, row)}
