"""What is known about the person and the request of this moment, by name: conditional access reads it.

A fact is registered with its kind; the app that knows it gives the provider, which takes the request. A fact without
a provider, outside a request, of the wrong kind or whose provider failed is MISSING, and what depends on it denies.
Each is read once a request, and only when asked for.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeGuard

from django.http import HttpRequest

from opssight.kernel.actor import current_request, request_memory

log = logging.getLogger("opssight.facts")
MEMORY = "kernel.facts"
DAY_MINUTES = 24 * 60


class Missing(Enum):
    """The type of MISSING: unlike None it can't be taken for a value, and unlike False for an answer."""

    MISSING = "missing"

    def __bool__(self) -> bool:
        raise TypeError("a missing fact is neither true nor false")


MISSING: Final = Missing.MISSING


# --- kinds --------------------------------------------------------------------------------------------------------


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True)
class Kind(ABC):
    @abstractmethod
    def accepts(self, value: Any) -> bool: ...

    def told(self, value: Any) -> Any:
        """The value as JSON."""
        return value


@dataclass(frozen=True)
class Names(Kind):
    """A set of names, such as the network zones an address lies in."""

    def accepts(self, value: Any) -> bool:
        return isinstance(value, frozenset) and all(isinstance(name, str) for name in value)

    def told(self, value: Any) -> Any:
        return sorted(value)


@dataclass(frozen=True)
class Choice(Kind):
    values: tuple[str, ...]

    def accepts(self, value: Any) -> bool:
        return value in self.values


@dataclass(frozen=True)
class Level(Choice):
    """A choice whose values are ordered, the weakest first."""


@dataclass(frozen=True)
class Number(Kind):
    """A whole number from `low` to `high`."""

    low: int
    high: int

    def accepts(self, value: Any) -> bool:
        return _is_whole(value) and self.low <= value <= self.high


@dataclass(frozen=True)
class Duration(Kind):
    """How long ago, in whole seconds."""

    def accepts(self, value: Any) -> bool:
        return _is_whole(value) and value >= 0


@dataclass(frozen=True)
class TimeOfDay(Kind):
    """Minutes since midnight UTC; told as "08:30"."""

    def accepts(self, value: Any) -> bool:
        return _is_whole(value) and 0 <= value < DAY_MINUTES

    def told(self, value: Any) -> Any:
        return f"{value // 60:02}:{value % 60:02}"


# --- the registry -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fact:
    """`says` is what people read about it."""

    name: str
    kind: Kind
    says: str


Provider = Callable[[HttpRequest], Any]
registry: dict[str, Fact] = {}
_providers: dict[str, Provider] = {}


def register(name: str, kind: Kind, says: str, provider: Provider | None = None) -> Fact:
    """Declare a fact. A second declaration of the name is a ValueError."""
    if name in registry:
        raise ValueError(f"fact {name} is registered twice")
    registry[name] = fact = Fact(name, kind, says)
    if provider is not None:
        provide(name, provider)
    return fact


def provide(name: str, provider: Provider) -> None:
    """Say who knows the fact. A second provider, or one for an unknown fact, is a ValueError."""
    if name not in registry:
        raise ValueError(f"there is no fact {name} to provide")
    if name in _providers:
        raise ValueError(f"fact {name} has two providers")
    _providers[name] = provider


def read(name: str) -> Any:
    """The fact in this request, or MISSING. Remembered for this request and its account."""
    fact, request = registry[name], current_request()
    if request is None:
        return MISSING
    known: dict[Any, Any] = request_memory().setdefault(MEMORY, {})
    key = (name, getattr(getattr(request, "user", None), "pk", None))  # sign-in changes the account during a request
    if key not in known:
        known[key] = _ask(fact, request)
    return known[key]


def forget() -> None:
    """Read again what is asked from now on: something that facts are made of was changed in this request."""
    request_memory().pop(MEMORY, None)


def _ask(fact: Fact, request: HttpRequest) -> Any:
    provider = _providers.get(fact.name)
    if provider is None:
        return MISSING
    try:
        value = provider(request)
    except Exception:  # whatever it was: the fact can't be had, and what depends on it denies
        log.exception("the fact %s can't be read", fact.name)
        return MISSING
    if value is MISSING or fact.kind.accepts(value):
        return value
    log.error("the fact %s was given as %s, which its kind is not", fact.name, type(value).__name__)
    return MISSING


# Known to apps of different rungs, so declared below all of them; missing until one provides them.
register("posture_age", Duration(), "seconds since the device last proved its posture")
register("risk_score", Number(0, 100), "how risky the account looks, from 0 to 100")
