"""What every list page shares."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from django.contrib import messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from opssight.kernel import reads
from opssight.kernel.pagination import BadCursor, Page, link, paginate

M = TypeVar("M", bound=Model)


def page_of(request: HttpRequest, rows: QuerySet[M], order: Sequence[str]) -> Page[M]:
    """The page that the address asks for; the first one where its cursor is not one that this list gave."""
    page = page_by(request, partial(paginate, rows, order))
    reads.note_list(rows.model, len(page.rows))
    return page


def page_by(request: HttpRequest, page: Callable[[str | None], Page[M]]) -> Page[M]:
    try:
        found = page(request.GET.get("cursor"))
    except BadCursor:
        messages.warning(request, "That page of the list can't be found any more. This is the first one.")
        found = page(None)
    if found.rows:
        reads.note_list(type(found.rows[0]), len(found.rows))
    return found


def links(request: HttpRequest, page: Page[M]) -> dict[str, str | None]:
    return {"newer": link(request.GET, page.newer), "older": link(request.GET, page.older)}
