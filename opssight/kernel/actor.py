"""Who acts now, and from where. Set by the request, a command or a task; read by the trail.

A context variable, so nesting restores the outer actor and threads do not mix.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from opssight.kernel.http import client_address

MAX_USER_AGENT = 500


@dataclass(frozen=True)
class Actor:
    """`kind` is user, service, anonymous, command or system; `user` is the account, if one acts.

    `impersonator` is the account that acts in the user's name. `session` tells one sign-in from another: a keyed
    reference, with which nobody can take the session over.
    """

    kind: str = "system"
    user: Any = None
    label: str = "OpsSight"
    address: str | None = None
    user_agent: str = ""
    request_id: str = ""
    session: str = ""
    impersonator: Any = None


SYSTEM = Actor()
_current: ContextVar[Actor] = ContextVar("actor", default=SYSTEM)
_request: ContextVar[HttpRequest | None] = ContextVar("request", default=None)


def current() -> Actor:
    """The actor of this moment. Inside a request the user is looked up late, since sign-in happens during it."""
    actor, request = _current.get(), _request.get()
    if request is None or actor.kind != "anonymous":
        return actor
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return actor
    if isinstance(user, SimpleLazyObject):
        user = user._wrapped  # is_authenticated above has resolved it
    return replace(actor, kind="service" if user.kind == "service" else "user", user=user, label=user.email)


def current_request() -> HttpRequest | None:
    """The request that is being answered; None in commands and tasks."""
    return _request.get()


def request_memory() -> dict[Any, Any]:
    """A place for what is worth reading once a request; outside a request, a new one each time, so nothing is kept."""
    request = _request.get()
    if request is None:
        return {}
    memory: dict[Any, Any] = request.__dict__.setdefault("_opssight_memory", {})
    return memory


@contextmanager
def acting(actor: Actor) -> Iterator[Actor]:
    token = _current.set(actor)
    try:
        yield actor
    finally:
        _current.reset(token)


def acting_as(user: Any) -> Any:
    """`with acting_as(user):` keeps address and request of the moment and changes who is named."""
    return acting(replace(current(), kind="user", user=user, label=user.email))


class ActorMiddleware:
    """Names the request's actor for everything below it. Stands after authentication."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        here = Actor(
            kind="anonymous",
            label="",
            address=client_address(request),
            user_agent=request.headers.get("User-Agent", "")[:MAX_USER_AGENT],
            request_id=getattr(request, "request_id", ""),
        )
        token = _request.set(request)
        try:
            with acting(here):
                return self.get_response(request)
        finally:
            _request.reset(token)
