"""Errors as pages, or as problem details where the address belongs to the API. Each says what to do next."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django_htmx.http import HttpResponseClientRedirect

from opssight.kernel.access import RefusedByPolicy, StepUpNeeded, record_denial
from opssight.kernel.errors import Refusal, problem_json
from opssight.kernel.refusals import SAFE, record_refused_change


def _answer(request: HttpRequest, status: int, title: str, detail: str) -> HttpResponse:
    if request.path.startswith("/api/"):
        return problem_json(request, status, detail)
    page = {"status": status, "title": title, "detail": detail, "request_id": getattr(request, "request_id", "")}
    return render(request, "errors/page.html", page, status=status)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    record_denial(exception)
    return _answer(request, 403, "Not allowed", str(exception) or "You don't have the permission for this.")


def not_found(request: HttpRequest, exception: Http404) -> HttpResponse:
    return _answer(request, 404, "Nothing here", "There is nothing at this address that you may see.")


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _answer(request, 403, "Not sent", "The form had expired. Go back, reload the page and send it again.")


def server_error(request: HttpRequest) -> HttpResponse:
    detail = "Something went wrong on our side, and nothing was changed. The server's log has the details."
    return _answer(request, 500, "Our fault", detail)


def _to_step_up(request: HttpRequest, level: str = "") -> HttpResponse:
    """To the second factor and back: to the page, or from a form or a fragment to the page that it stands on."""
    htmx: Any = getattr(request, "htmx", None)
    if htmx:
        back = htmx.current_url_abs_path or ""
    elif request.method in ("GET", "HEAD"):
        back = request.get_full_path()
    else:
        back = request.headers.get("Referer", "")  # the step-up page leads to addresses of ours only
    asked = {"next": back, **({"level": level} if level else {})}
    address = f"{resolve_url('step-up')}?{urlencode(asked)}"
    return HttpResponseClientRedirect(address) if htmx else redirect(address)


class RefusalMiddleware:
    """A refusal that a view let through becomes its page."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if isinstance(exception, RefusedByPolicy):
            record_denial(exception)
        if isinstance(exception, StepUpNeeded):
            return _to_step_up(request, exception.more.get("strength", ""))
        if isinstance(exception, Refusal):
            if request.method not in SAFE and not isinstance(exception, RefusedByPolicy):
                record_refused_change(request.user, exception.status, exception)
            title = "Not allowed" if exception.status == 403 else "Not done"
            return _answer(request, exception.status, title, exception.detail)
        return None
