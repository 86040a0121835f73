"""Refusals with names, and the one shape in which the API tells of them: RFC 9457 problem details."""

import logging
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, JsonResponse
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from opssight.kernel.access import Forbidden, record_denial

log = logging.getLogger("opssight.errors")


class Refusal(Exception):
    """Something the rules do not allow, in a sentence a person can act on. Subclasses give `status` and a message."""

    status = 409

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


def problem(request: HttpRequest, status: int, detail: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request_id": getattr(request, "request_id", ""),
        **more,
    }


def _described(error: Exception) -> tuple[int, str, dict[str, Any]]:
    match error:
        case Forbidden():
            return 403, str(error), {"missing_permission": error.permission}
        case PermissionDenied():
            return 403, str(error) or "Not allowed.", {}
        case Http404():
            return 404, "There is nothing at this address that you may see.", {}
        case Refusal():
            return error.status, error.detail, {}
        case exceptions.ValidationError():
            return 400, "The request is not valid.", {"errors": error.detail}
        case exceptions.APIException():
            return error.status_code, str(error.detail), {}
    raise error


def problem_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler. What it does not know stays a 500, answered by `server_error`."""
    request = context["request"]
    try:
        status, detail, more = _described(error)
    except Exception:  # not ours to describe
        return None
    set_rollback()
    record_denial(error)
    headers = {}
    if isinstance(error, exceptions.APIException):
        if header := getattr(error, "auth_header", None):
            headers["WWW-Authenticate"] = header
        if wait := getattr(error, "wait", None):
            headers["Retry-After"] = str(int(wait))
    body = problem(request._request, status, detail, **more)
    return Response(body, status=status, headers=headers, content_type="application/problem+json")


def problem_json(request: HttpRequest, status: int, detail: str) -> JsonResponse:
    """The same shape for errors that never reach DRF: an unknown address under /api/, a crash."""
    return JsonResponse(problem(request, status, detail), status=status, content_type="application/problem+json")
