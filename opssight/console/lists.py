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


def page_of(
    request: HttpRequest,
    rows: QuerySet[M],
    order: Sequence[str],
    *,
    whole: Callable[[QuerySet[M]], QuerySet[M]] | None = None,
) -> Page[M]:
    """The page that the address asks for; the first one where its cursor is not one that this list gave."""
    return page_by(request, rows.model, partial(paginate, rows, order, whole=whole))


def page_by(request: HttpRequest, model: type[M], page: Callable[[str | None], Page[M]]) -> Page[M]:
    """The same for a list of `model` that has a way of its own to make pages."""
    try:
        found = page(request.GET.get("cursor"))
    except BadCursor:
        messages.warning(request, "That page of the list can't be found any more. This is the first one.")
        found = page(None)
    reads.note_list(model, len(found.rows))
    return found


def links(request: HttpRequest, page: Page[M]) -> dict[str, str | None]:
    return {"newer": link(request.GET, page.newer), "older": link(request.GET, page.older)}
