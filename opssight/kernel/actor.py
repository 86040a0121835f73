"""Who acts now, and from where. Set by the request, a command or a task; read by the trail.

A context variable, so nesting restores the outer actor and threads do not mix.
"""

import getpass
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from opssight.kernel.crypto import keyed_hash
from opssight.kernel.http import client_address
from opssight.kernel.ids import new_uid

MAX_USER_AGENT = 500
SESSION_REFERENCE = 16  # hex characters: enough to tell sessions apart, nothing to try a key out on


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
    """The actor of this moment. Inside a request account and session are looked up late: sign-in happens during it."""
    actor, request = _current.get(), _request.get()
    if request is None or actor.kind != "anonymous":
        return actor
    actor = replace(actor, session=_session_of(request))
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return actor
    if isinstance(user, SimpleLazyObject):
        user = user._wrapped  # is_authenticated above has resolved it
    return replace(actor, kind=kind_of(user), user=user, label=user.email)


def kind_of(user: Any) -> str:
    return "service" if user.kind == "service" else "user"


def _session_of(request: HttpRequest) -> str:
    key = getattr(getattr(request, "session", None), "session_key", None)
    return _session_reference(key) if key else ""


def _session_reference(key: str) -> str:
    return keyed_hash("session-reference", key)[:SESSION_REFERENCE]


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
    """Name another actor for a while. One without a request id keeps that of the moment, so what belongs together stays
    together."""
    if not actor.request_id:
        actor = replace(actor, request_id=_current.get().request_id)
    token = _current.set(actor)
    try:
        yield actor
    finally:
        _current.reset(token)


def acting_as(user: Any) -> Any:
    """`with acting_as(user):` keeps address and request of the moment and changes who is named.

    Where another account acts already, the entries name it as the impersonator.
    """
    here = current()
    behind = here.impersonator or (here.user if here.user != user else None)
    return acting(replace(here, kind=kind_of(user), user=user, label=user.email, impersonator=behind))


def command(name: str) -> Actor:
    """Who runs `manage.py <name>`: the account of the operating system, which is all that is known.

    The entries of one run share an id, as those of a request do.
    """
    run = _current.get().request_id or new_uid().hex
    return Actor(kind="command", label=f"manage.py {name} ({_os_user()})", request_id=run)


@cache
def _os_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's number without a name
        return f"uid {os.getuid()}"


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
