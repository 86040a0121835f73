"""Refusals with names, and the one shape in which the API tells of them: RFC 9457 problem details."""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from django.http import HttpRequest, JsonResponse


class Refusal(Exception):
    """Something the rules do not allow, in a sentence a person can act on.

    Subclasses give the `status`, and `more` members for the API's answer.
    """

    status = 409
    more: Mapping[str, Any] = MappingProxyType({})

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


def problem_json(request: HttpRequest, status: int, detail: str) -> JsonResponse:
    """For errors that never reach the API's own views: an unknown address under /api/, a crash."""
    return JsonResponse(problem(request, status, detail), status=status, content_type="application/problem+json")
