"""What every list page shares."""

from collections.abc import Sequence
from typing import TypeVar

from django.contrib import messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from opssight.kernel import reads
from opssight.kernel.pagination import BadCursor, Page, link, paginate

M = TypeVar("M", bound=Model)


def page_of(request: HttpRequest, rows: QuerySet[M], order: Sequence[str]) -> Page[M]:
    """The page that the address asks for; the first one where its cursor is not one that this list gave."""
    try:
        page = paginate(rows, order, request.GET.get("cursor"))
    except BadCursor:
        messages.warning(request, "That page of the list can't be found any more. This is the first one.")
        page = paginate(rows, order)
    reads.note_list(rows.model, len(page.rows))
    return page


def links(request: HttpRequest, page: Page[M]) -> dict[str, str | None]:
    return {"newer": link(request.GET, page.newer), "older": link(request.GET, page.older)}
