"""Who looked at what. A request that reads sensitive rows leaves one entry: for the object or list that it is about.

Views note what they show, whatever it is; which models are sensitive is said where the trail registers them
(`audited(…, reads_too=True)`). What is noted first counts, since a page is about the rows that it looks up first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.cache import cache
from django.db import models
from django.http import HttpRequest, HttpResponse

from opssight.kernel import actor
from opssight.kernel.crypto import keyed_hash
from opssight.kernel.events import register

OBJECT_READ = register("records:read")
LIST_READ = register("records:listed")
EXPORTED = register("records:exported", severity="low")

sensitive: set[type[models.Model]] = set()
quiet: set[type[models.Model]] = set()  # whose own reads show up in them
AGAIN = 60  # seconds in which the same reader's same request is the same reading: a reload, a poll
_NOT_A_FILTER = frozenset({"cursor", "limit", "fields", "p", "open"})


@dataclass(frozen=True)
class _Reading:
    model: type[models.Model]
    target: models.Model | None
    count: int


def note_object(obj: models.Model) -> None:
    _note(_Reading(type(obj), obj, 1))


def note_list(model: type[models.Model], count: int) -> None:
    """`count` rows were shown: those of the page, not all that match."""
    _note(_Reading(model, None, count))


def _note(reading: _Reading) -> None:
    request = actor.current_request()
    if request is not None and reading.model in sensitive:
        request.__dict__.setdefault("_opssight_reading", reading)


class ReadsMiddleware:
    """Writes the entry of what a request has read, once it is answered. Stands below ActorMiddleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.status_code < 300:  # what was refused is told as a denial
            _record(request)
        return response


def _record(request: HttpRequest) -> None:
    reading: _Reading | None = request.__dict__.pop("_opssight_reading", None)
    if reading is None or not _is_new(request, reading):
        return
    if reading.target is not None:
        OBJECT_READ.emit(target=reading.target, action="READ")
    else:
        LIST_READ.emit(about=reading.model, action="READ", count=reading.count, filter=_filter(request))


def exported(model: type[models.Model], *, count: int, filter: str, format: str) -> None:
    """`count` rows of a sensitive model left in a file."""
    EXPORTED.emit(about=model, action="READ", count=count, filter=filter[:1000], format=format)


def _filter(request: HttpRequest) -> str:
    """What the list was narrowed by, as the address says it: `status=open&q=…`."""
    kept = request.GET.copy()
    for name in _NOT_A_FILTER:
        kept.pop(name, None)
    return kept.urlencode()[:1000]


def _is_new(request: HttpRequest, reading: _Reading) -> bool:
    """Not a repetition. Pages of a list are readings of their own, except of the trail: there each reading would add a
    row to what is read next, and somebody who polls it would be answered with their own polling for ever."""
    who = actor.current()
    what: Any = reading.target.pk if reading.target is not None else _filter(request)
    page = "" if reading.model in quiet else request.GET.get("cursor", request.GET.get("p", ""))
    text = "\0".join(map(str, (who.user and who.user.pk, who.session, who.address, reading.model, what, page)))
    return bool(cache.add(f"read:{keyed_hash('read', text)}", 1, AGAIN))
