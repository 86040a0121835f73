from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from opssight.console.fragments import htmx
from opssight.kernel import reads
from opssight.kernel.access import decide
from opssight.kernel.errors import Refusal
from opssight.kernel.guards import guarded
from scanning.scanners.base import registry
from scanning.tools import services
from scanning.tools.models import Installation


@guarded("scanners:read")
def scanners(request: HttpRequest) -> HttpResponse:
    """How each tool stands. While one is being installed, its script asks for the moving part again."""
    tools = services.tools(request.user)
    reads.note_list(Installation, len(tools))
    page = {
        "tools": tools,
        "installing": any(tool.is_installing for tool in tools),
        "may_install": decide(request.user, "scanners:install").allowed,
        "still": "still" in request.GET,
        "now": timezone.now(),
    }
    template = "scanning/scanner_rows.html" if htmx(request) else "scanning/scanners.html"
    return render(request, template, page)


@guarded("scanners:install")
@require_POST
def install_scanner(request: HttpRequest, name: str) -> HttpResponse:
    if name not in registry:
        raise Http404
    try:
        services.request_installation(name, by=request.user)
    except Refusal as refusal:
        if refusal.status == 403:
            raise
        messages.error(request, refusal.detail)
    return redirect("scanners")
