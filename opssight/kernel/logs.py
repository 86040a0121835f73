"""The log: one JSON object a line, or a short line for people at a terminal. Never a secret, so never a query string
and never an address that holds a one-time link: the route is named instead."""

import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject, empty

from opssight.kernel.actor import current
from opssight.kernel.http import client_address

log = logging.getLogger("opssight.request")
QUIET = frozenset({"healthz", "readyz"})


class JsonFormatter(logging.Formatter):
    """RFC 3339 time, level, logger, message, and what the caller gave as `extra={"said": {…}}`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **({"request_id": request_id} if (request_id := current().request_id) else {}),
            **getattr(record, "said", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class HumanFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        said = " ".join(f"{name}={value}" for name, value in getattr(record, "said", {}).items())
        time_of_day = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        line = f"{time_of_day} {record.levelname.lower():<7} {record.getMessage()}" + (f"  {said}" if said else "")
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class RequestLogMiddleware:
    """One line a request: route, status, duration, queries, who and from where."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not log.isEnabledFor(logging.INFO):
            return self.get_response(request)
        began, queries = time.perf_counter(), 0

        def count(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            nonlocal queries
            queries += 1
            return execute(sql, params, many, context)

        with connection.execute_wrapper(count):
            response = self.get_response(request)
        match = request.resolver_match
        route = match.route if match else "(no route)"
        if route not in QUIET:
            said = {
                "request_id": getattr(request, "request_id", ""),
                "method": request.method,
                "route": f"/{route}",
                **({"object": str(match.kwargs["uid"])} if match and "uid" in match.kwargs else {}),
                "status": response.status_code,
                "ms": round((time.perf_counter() - began) * 1000, 1),
                "queries": queries,
                "actor": _actor(request),
                "address": client_address(request),
            }
            log.info("%s /%s %s", request.method, route, response.status_code, extra={"said": said})
        return response


def _actor(request: HttpRequest) -> int | None:
    """The account's id, if the request looked it up; the log does not cause a query of its own."""
    user = request.__dict__.get("user")
    if isinstance(user, SimpleLazyObject):
        user = None if user._wrapped is empty else user._wrapped
    return getattr(user, "pk", None)
