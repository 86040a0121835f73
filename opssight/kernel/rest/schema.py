"""OpenAPI 3.1, from the same view sets that answer; `make openapi` writes it to opssight/openapi.json."""

import inspect
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter

PROBLEM = {
    "type": "object",
    "description": "RFC 9457 problem details.",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "description": "about:blank, or on 401 which way a token is not taken."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What happened and what to do."},
        "request_id": {"type": "string", "description": "The same as in the trail, the log and X-Request-ID."},
        "missing_permission": {"type": "string", "description": "On 403: what was asked for and is not given."},
        "granted_by": {"type": "array", "items": {"type": "string"}, "description": "On 403: who can give it."},
        "step_up": {"type": "string", "description": "On 403: where the second factor is proved again; then repeat."},
        "policy": {"type": "string", "description": "On 403: the policy that refused what roles allow."},
        "errors": {"type": "object", "description": "On 400: the sentence for each field or parameter."},
    },
}

USUAL = {
    "list": "Those that the caller may see, a page at a time.",
    "retrieve": "One, with the ETag of its version.",
    "create": "Make one.",
    "partial_update": "Change the version that was read.",
    "destroy": "Remove it; with If-Match only the version that was read.",
}


class Schema(AutoSchema):
    def get_tags(self) -> list[str]:
        return [getattr(self.view, "resource", "api")]

    def get_override_parameters(self) -> list[Any]:
        known = self.view.query_parameters() if hasattr(self.view, "query_parameters") else set()
        parameters = []
        if "fields" in known:
            parameters.append(OpenApiParameter("fields", str, description="Only these fields, comma-separated."))
        if "wait" in known:
            parameters.append(OpenApiParameter("wait", int, description="Wait up to so many seconds (30) for the end."))
        if self.method == "POST" and not hasattr(self.view, "public"):
            text = "Makes a repeat safe for 24 hours: the same key and body have one effect."
            parameters.append(OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER, description=text))
        if getattr(self.view, "action", None) == "partial_update":
            text = "The ETag of the version that was read."
            parameters.append(
                OpenApiParameter("If-Match", str, OpenApiParameter.HEADER, required=True, description=text)
            )
        return parameters

    def get_description(self) -> str:  # type: ignore[override]
        """The action's own words, or the usual ones, and the permission it asks for."""
        view: Any = self.view
        if hasattr(view, "public"):
            return f"{inspect.getdoc(getattr(view, self.method.lower()))}\n\nFor anybody: {view.public}."
        action = getattr(view, "action", None) or ""
        own = type(view).__dict__.get(action)
        said = inspect.getdoc(own) if own is not None else None
        return f"{said or USUAL.get(action, '')}\n\nAsks for `{view.permission_for(action)}`.".strip()


def add_problems(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Every operation may also answer with a problem."""
    result["components"].setdefault("schemas", {})["Problem"] = PROBLEM
    answer = {
        "description": "What went wrong.",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for operations in result["paths"].values():
        for operation in operations.values():
            operation["responses"]["default"] = answer
    return result


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "opssight.kernel.guards.VerifiedSessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "session"}


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "accounts.tokens.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "ops_<key>_<secret> or JWT"}
