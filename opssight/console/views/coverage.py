"""Which tool has looked at which asset, and how that ended."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from opssight.console.filters import Asked
from opssight.console.lists import links, page_of
from opssight.console.templatetags.console import COVERAGE
from opssight.kernel.guards import guarded
from scanning import coverage as subject
from scanning.models import Asset, Scan

UNFIT = "does_not_fit"


@guarded("scans:read")
def coverage(request: HttpRequest) -> HttpResponse:
    """Fifty assets a page, by name; those on which one of the chosen tools stands as one of the chosen states."""
    asked = Asked(request.GET)
    rows = Asset.objects.active().permitted(request.user, "assets:read")
    if text := asked.text("name"):
        asked.note("name", "Name", text)
        rows = rows.filter(name__icontains=text)
    if chosen := asked.among("kind", "Kind", Asset.Kind.choices):
        rows = rows.filter(kind__in=chosen)
    runs, now, every = Scan.objects.permitted(request.user, "scans:read"), timezone.now(), subject.tools()
    chosen = asked.among("tool", "Tool", [(name, name) for name in every], names=True)
    if states := asked.among(
        "state", "State", [(state, told) for state, (_, told) in COVERAGE.items() if state != UNFIT]
    ):
        rows = subject.standing_as(rows, states, runs, at=now, among=chosen)
    page = page_of(request, rows, ["name", "id"])
    cells, shown = subject.matrix(page.rows, runs, at=now), chosen or every
    table = [
        (asset, [cell for cell in row[: len(every)] if cell.scanner in shown], [] if chosen else row[len(every) :])
        for asset, row in zip(page.rows, cells, strict=True)
    ]
    context = {
        "asked": asked,
        "page": page,
        "tools": [name for name in every if name in shown],
        "table": table,
        "imported": not chosen,
    }
    return render(request, "scanning/coverage.html", {**context, **links(request, page)})
