"""Errors as pages, or as problem details where the address belongs to the API. Each says what to do next."""

from collections.abc import Callable

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from opssight.kernel.access import record_denial
from opssight.kernel.errors import Refusal, problem_json


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


class RefusalMiddleware:
    """A refusal that a view let through becomes its page."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if isinstance(exception, Refusal):
            return _answer(request, exception.status, "Not done", exception.detail)
        return None
