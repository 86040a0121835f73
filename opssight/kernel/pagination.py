"""Keyset pages of API and console: a page is "the rows after this one": inserts shift nothing, nothing is counted.

The cursor is the ordering values of the row at the edge, signed, so that a changed one is refused rather than obeyed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from operator import attrgetter
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

from opssight.kernel import reads

M = TypeVar("M", bound=Model)
DEFAULT_LIMIT, MAX_LIMIT = 50, 200


class BadCursor(Exception):
    """The cursor was changed, or belongs to another ordering."""


@dataclass(frozen=True)
class Page(Generic[M]):
    """Rows in the asked order; `newer` and `older` are cursors of the neighbouring pages, or None at an end.

    `reached` are the ordering values at which a bounded look (`seek`) stopped before the page was full; a cursor goes
    on from there. None says that nothing was left out.
    """

    rows: list[M]
    newer: str | None
    older: str | None
    reached: tuple[Any, ...] | None = None


@dataclass(frozen=True)
class Road(Generic[M]):
    """One way to walk a list whose conditions no single index serves: `index` has those that one does, `wanted` all.

    `reach` is how many rows of it may be looked at for a page.
    """

    index: QuerySet[M]
    wanted: QuerySet[M]
    reach: int


@dataclass(frozen=True)
class Span:
    """Bounds of the first ordering field: `low` is inside, `high` is not; None leaves an end open."""

    low: Any = None
    high: Any = None

    def ends(self) -> tuple[tuple[str, Any], tuple[str, Any]]:
        return ("gte", self.low), ("lt", self.high)

    def holds(self, value: Any, falling: bool) -> bool:
        """Whether a walk that goes on from `value` stays clear of the end that it comes from."""
        end = self.high if falling else self.low
        if end is None:
            return True
        if isinstance(end, datetime):
            value = datetime.fromisoformat(value)
        return bool(value < end) if falling else bool(value >= end)


@dataclass(frozen=True)
class _Place:
    """Where a page begins: behind `edge`, the ordering values of a row, in the direction of `walk`."""

    order: list[str]
    forward: bool = True
    edge: Sequence[Any] | None = None

    @classmethod
    def read(cls, order: Sequence[str], cursor: str | None) -> "_Place":
        if not cursor:
            return cls(list(order))
        try:
            direction, cursor_order, edge = signing.loads(cursor, salt="cursor")
        except (signing.BadSignature, ValueError) as error:
            raise BadCursor from error
        if cursor_order != list(order):
            raise BadCursor
        return cls(list(order), direction == "older", edge)

    @property
    def names(self) -> list[str]:
        return [name.lstrip("-") for name in self.order]

    @property
    def walk(self) -> list[str]:
        return self.order if self.forward else _turned(self.order)

    def behind(self, rows: QuerySet[M], span: "Span", stop: Sequence[Any] | None = None) -> QuerySet[M]:
        """Rows from the place on, within `span`, up to and with `stop`.

        One bound at each end: of two, SQLite may take the looser one to an index and walk past the other.
        """
        falling, first = self.walk[0].startswith("-"), self.names[0]
        above, below = (Q(**{f"{first}__{look}": end}) if end is not None else Q() for look, end in span.ends())
        edge = self.edge if self.edge is not None and span.holds(self.edge[0], falling) else None
        begin = (below if falling else above) if edge is None else _beyond(self.walk, edge)
        end = (above if falling else below) if stop is None else _beyond(_turned(self.walk), stop, itself=True)
        return rows.order_by(*self.walk).filter(begin & end)

    def cursor(self, values: Sequence[Any], forward: bool) -> str:
        told = [_told(value) for value in values]
        return signing.dumps(["older" if forward else "newer", self.order, told], salt="cursor", compress=True)

    def page(self, found: list[M], limit: int, stop: tuple[Any, ...] | None = None) -> Page[M]:
        """Of `found`, which may be one more than `limit`. Where it is not, the look ended at `stop`, or at the end."""
        rows, further = found[:limit], bool(stop) or len(found) > limit
        reached = None if len(found) > limit else stop
        first = self._values(rows[0]) if rows else None
        last = reached or (self._values(rows[-1]) if rows else None)
        ahead = self.cursor(last, self.forward) if last and further else None
        back = self.cursor(first, not self.forward) if first and (self.edge is not None or not self.forward) else None
        if self.forward:
            return Page(rows, newer=back, older=ahead, reached=reached)
        return Page(rows[::-1], newer=ahead, older=back, reached=reached)

    def _values(self, row: M) -> tuple[Any, ...]:
        return tuple(attrgetter(name.replace("__", "."))(row) for name in self.names)


def _told(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def _turned(order: Sequence[str]) -> list[str]:
    return [name[1:] if name.startswith("-") else f"-{name}" for name in order]


def _beyond(walk: Sequence[str], values: Sequence[Any], *, itself: bool = False) -> Q:
    """The rows behind `values`: a > x or (a = x and b > y) or …, with < where the field is descending.

    The first field is also bounded by itself: a database finds the start in an index by that, and not by an "or".
    """
    condition, same = Q(), Q()
    for name, value in zip(walk, values, strict=True):
        field = name.lstrip("-")
        condition |= same & Q(**{f"{field}__{'lt' if name.startswith('-') else 'gt'}": value})
        same &= Q(**{field: value})
    if itself:
        condition |= same
    if len(walk) == 1:
        return condition
    return Q(**{f"{walk[0].lstrip('-')}__{'lte' if walk[0].startswith('-') else 'gte'}": values[0]}) & condition


def paginate(
    queryset: QuerySet[M],
    order: Sequence[str],
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
    *,
    whole: Callable[[QuerySet[M]], QuerySet[M]] | None = None,
) -> Page[M]:
    """One page of `queryset` by `order`, whose last field must be unique and whose fields must not be null.

    Raises BadCursor. One query; one row more than asked tells whether there is a further page. With `whole` it sorts
    nothing but keys, for which an index may do, and what `whole` joins to the rows is joined to those of the page.
    """
    place = _Place.read(order, cursor)
    found = place.behind(queryset, Span())[: limit + 1]
    if whole is not None:
        rows = queryset.model._default_manager.filter(pk__in=found.values("pk"))
        found = whole(rows).order_by(*place.walk)
    return place.page(list(found), limit)


def seek(
    roads: Sequence[Road[M]], order: Sequence[str], cursor: str | None, limit: int, span: Span | None = None
) -> Page[M]:
    """A page of rows of which few may fit: it looks along the road that leads furthest, within its reach.

    Every road's `wanted` are the same rows. `order` must be ascending or descending throughout. Raises BadCursor.
    """
    place, span = _Place.read(order, cursor), span or Span()
    stop, best = _furthest(place, roads, span)
    return place.page(list(place.behind(best.wanted, span, stop)[: limit + 1]), limit, stop)


def _furthest(place: _Place, roads: Sequence[Road[M]], span: Span) -> tuple[tuple[Any, ...] | None, Road[M]]:
    """Where the look along the best road stops: None where that is the end of the list."""
    stops = []
    for road in roads:
        if road.index is road.wanted:
            return None, road
        ahead = place.behind(road.index, span).values_list(*place.names)
        stop = next(iter(ahead[road.reach : road.reach + 1]), None)
        if stop is None:
            return None, road
        stops.append(stop)
    furthest = min(stops) if place.walk[0].startswith("-") else max(stops)
    return furthest, roads[stops.index(furthest)]


def link(query: QueryDict, cursor: str | None) -> str | None:
    """The address of a neighbouring page: the same query with another cursor."""
    if cursor is None:
        return None
    kept = [(key, value) for key, values in query.lists() if key != "cursor" for value in values]
    return "?" + urlencode([*kept, ("cursor", cursor)])


class KeysetPagination(BasePagination):
    """`{"next", "previous", "results"}`; a view may state `page_order`, by default newest first, and `whole`."""

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        order, whole = getattr(view, "page_order", ["-id"]), getattr(view, "whole", None)
        page = partial(paginate, queryset, order, whole=whole)
        return self.take(page, request, getattr(queryset, "model", None))

    def take(
        self, page: Callable[[str | None, int], Page[Any]], request: Request, model: type[Model] | None
    ) -> list[Any]:
        """The page that the request's cursor and limit name. Not every list is one of one `model`."""
        self.request = request
        asked = request.query_params.get("limit", str(DEFAULT_LIMIT))
        if not asked.isascii() or not asked.isdigit() or len(asked) > 4 or not 1 <= int(asked) <= MAX_LIMIT:
            raise ValidationError({"limit": f"must be a whole number from 1 to {MAX_LIMIT}"})
        try:
            self.page = page(request.query_params.get("cursor"), int(asked))
        except BadCursor:
            raise ValidationError({"cursor": "is not one that this list gave"}) from None
        if model is not None:
            reads.note_list(model, len(self.page.rows))
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
