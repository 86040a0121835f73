"""Which tool has looked at which asset, and how that ended."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from opssight.console.filters import Asked
from opssight.console.lists import links, page_of
from opssight.kernel.guards import guarded
from scanning import coverage as subject
from scanning.models import Asset, Scan


@guarded("scans:read")
def coverage(request: HttpRequest) -> HttpResponse:
    """Fifty assets a page, by name."""
    asked = Asked(request.GET)
    rows = Asset.objects.active().permitted(request.user, "assets:read")
    if text := asked.text("name"):
        asked.note("name", "Name", text)
        rows = rows.filter(name__icontains=text)
    if chosen := asked.among("kind", "Kind", Asset.Kind.choices):
        rows = rows.filter(kind__in=chosen)
    page = page_of(request, rows, ["name", "id"])
    runs = Scan.objects.permitted(request.user, "scans:read")
    tools, cells = subject.tools(), subject.matrix(page.rows, runs, at=timezone.now())
    table = [(asset, row[: len(tools)], row[len(tools) :]) for asset, row in zip(page.rows, cells, strict=True)]
    context = {"asked": asked, "page": page, "tools": tools, "table": table, "states": subject.STATES}
    return render(request, "scanning/coverage.html", {**context, **links(request, page)})
