"""Exceptions as problem details: what DRF's views answer where one was raised."""

from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.core.exceptions import ValidationError as ModelError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.serializers import as_serializer_error
from rest_framework.views import set_rollback

from opssight.kernel.access import Forbidden, record_denial, who_can_grant
from opssight.kernel.errors import Refusal, problem
from opssight.kernel.refusals import record_api_refusal

NOT_VALID = "The request is not valid."


class EarlyAnswer(Exception):
    """Not an error: the answer is known before the work begins."""

    def __init__(self, status: int, data: Any, headers: dict[str, str]) -> None:
        super().__init__(status)
        self.status, self.data, self.headers = status, data, headers


def described(error: Exception) -> tuple[int, str, dict[str, Any]]:
    """Status, sentence and further members. What is nobody's fault but ours is raised again."""
    match error:
        case Forbidden():
            return (
                403,
                str(error),
                {
                    "missing_permission": error.permission,
                    "granted_by": who_can_grant(error.permission),
                },
            )
        case PermissionDenied():
            return 403, str(error) or "Not allowed.", {}
        case Http404():
            return 404, "There is nothing at this address that you may see.", {}
        case RequestDataTooBig():
            return 413, "The body is too large.", {}
        case Refusal():
            return error.status, error.detail, dict(error.more)
        case ModelError():
            return 400, NOT_VALID, {"errors": as_serializer_error(error)}
        case exceptions.ValidationError():
            return 400, NOT_VALID, {"errors": _by_name(error.detail)}
        case exceptions.APIException():
            return error.status_code, str(error.detail), getattr(error, "more", {})
    raise error


def _by_name(detail: Any) -> dict[str, Any]:
    return detail if isinstance(detail, dict) else {"body": detail}


def problem_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler. What it does not know stays a 500, answered by the console's `server_error`."""
    if isinstance(error, EarlyAnswer):
        return Response(error.data, status=error.status, headers=error.headers)
    try:
        status, detail, more = described(error)
    except Exception:  # not ours to describe
        return None
    set_rollback()
    record_denial(error)
    record_api_refusal(context["request"], context["view"], status, error, more.get("errors", ()))
    headers = {}
    if header := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = header
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(int(wait))
    body = problem(context["request"]._request, status, detail, **more)
    return Response(body, status=status, headers=headers, content_type="application/problem+json")
