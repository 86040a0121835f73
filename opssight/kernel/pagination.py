"""Keyset pages of API and console: a page is "the rows after this one": inserts shift nothing, nothing is counted.

The cursor is the ordering values of the row at the edge, signed, so that a changed one is refused rather than obeyed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from django.core import signing
from django.db.models import Model, Q, QuerySet
from django.http import QueryDict
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

M = TypeVar("M", bound=Model)
DEFAULT_LIMIT, MAX_LIMIT = 50, 200


class BadCursor(Exception):
    """The cursor was changed, or belongs to another ordering."""


@dataclass(frozen=True)
class Page(Generic[M]):
    """Rows in the asked order; `newer` and `older` are cursors of the neighbouring pages, or None at an end."""

    rows: list[M]
    newer: str | None
    older: str | None


def _after(order: Sequence[str], values: Sequence[Any]) -> Q:
    """The rows behind `values`: (a > x) or (a = x and b > y) or …, with < where the field is descending."""
    condition, same = Q(), Q()
    for name, value in zip(order, values, strict=True):
        field = name.lstrip("-")
        condition |= same & Q(**{f"{field}__{'lt' if name.startswith('-') else 'gt'}": value})
        same &= Q(**{field: value})
    return condition


def _edge(row: Model, order: Sequence[str], forward: bool) -> str:
    values = []
    for name in order:
        value = getattr(row, name.lstrip("-"))
        if isinstance(value, datetime):
            value = value.isoformat()
        values.append(str(value) if isinstance(value, UUID) else value)
    return signing.dumps(["older" if forward else "newer", list(order), values], salt="cursor", compress=True)


def paginate(
    queryset: QuerySet[M], order: Sequence[str], cursor: str | None = None, limit: int = DEFAULT_LIMIT
) -> Page[M]:
    """One page of `queryset` by `order`, whose last field must be unique and whose fields must not be null.

    Raises BadCursor. One query; one row more than asked tells whether there is a further page.
    """
    forward, edge = True, None
    if cursor:
        try:
            direction, cursor_order, edge = signing.loads(cursor, salt="cursor")
        except (signing.BadSignature, ValueError) as error:
            raise BadCursor from error
        if cursor_order != list(order):
            raise BadCursor
        forward = direction == "older"
    walk = list(order) if forward else [n[1:] if n.startswith("-") else f"-{n}" for n in order]
    found = queryset.order_by(*walk)
    if edge is not None:
        found = found.filter(_after(walk, edge))
    rows = list(found[: limit + 1])
    more, rows = len(rows) > limit, rows[:limit]
    if not forward:
        rows.reverse()
    before, behind = (edge is not None, more) if forward else (more, True)
    return Page(
        rows,
        newer=_edge(rows[0], order, forward=False) if rows and before else None,
        older=_edge(rows[-1], order, forward=True) if rows and behind else None,
    )


def link(query: QueryDict, cursor: str | None) -> str | None:
    """The address of a neighbouring page: the same query with another cursor."""
    if cursor is None:
        return None
    kept = [(key, value) for key, values in query.lists() if key != "cursor" for value in values]
    return "?" + urlencode([*kept, ("cursor", cursor)])


class KeysetPagination(BasePagination):
    """`{"next", "previous", "results"}`; a view may state `page_order`, by default newest first."""

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        self.request = request
        asked = request.query_params.get("limit", str(DEFAULT_LIMIT))
        if not asked.isascii() or not asked.isdigit() or len(asked) > 4 or not 1 <= int(asked) <= MAX_LIMIT:
            raise ValidationError({"limit": f"must be a whole number from 1 to {MAX_LIMIT}"})
        order = getattr(view, "page_order", ["-id"])
        try:
            self.page = paginate(queryset, order, request.query_params.get("cursor"), int(asked))
        except BadCursor:
            raise ValidationError({"cursor": "is not one that this list gave"}) from None
        return self.page.rows

    def _url(self, cursor: str | None) -> str | None:
        query = link(self.request.query_params, cursor)
        return self.request.build_absolute_uri(query) if query else None

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"next": self._url(self.page.older), "previous": self._url(self.page.newer), "results": data})

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        limit = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
        told = {
            "limit": ("Rows on a page.", limit),
            "cursor": ("Where to go on: from `next` or `previous`.", {"type": "string"}),
        }
        return [
            {"name": name, "in": "query", "required": False, "description": text, "schema": schema}
            for name, (text, schema) in told.items()
        ]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        address = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": address, "previous": address, "results": schema},
        }
