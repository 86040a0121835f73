"""News that travels up the ladder: named events, one signal, and the writer of bulk entries.

An app declares `FINDING_FIXED = register("findings:fixed")` beside its models and emits it inside the transaction
of the change. `audit.receivers` listens and writes the trail entry; a higher app may listen the same way. The
signal is sent with `send`, so that a change whose entry can't be written is rolled back with it.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Model
from django.dispatch import Signal

from opssight.kernel import actor as actors
from opssight.kernel.actor import Actor

SEVERITIES = ("info", "low", "medium", "high", "critical")
_NAME = re.compile(r"^[a-z-]+:[a-z_]+$")

happened = Signal()


@dataclass(frozen=True)
class Occurrence:
    """One thing that happened. `data` holds what the entry keeps beside actor and target: JSON values, no floats."""

    event: "EventType"
    actor: Actor
    target: Model | None
    success: bool
    error: str
    data: dict[str, Any]


@dataclass(frozen=True)
class EventType:
    """`name` is resource:past_tense; `security` events also go to telemetry."""

    name: str
    severity: str
    security: bool

    def emit(self, *, target: Model | None = None, success: bool = True, error: str = "", **data: Any) -> None:
        happened.send(
            EventType,
            occurrence=Occurrence(self, actors.current(), target, success, error, data),
        )


registry: dict[str, EventType] = {}


def register(name: str, severity: str = "info", *, security: bool = False) -> EventType:
    """Declare an event. A second declaration of a name, a wrong name or a wrong severity is a ValueError."""
    if name in registry:
        raise ValueError(f"event {name} is registered twice")
    if not _NAME.match(name) or severity not in SEVERITIES:
        raise ValueError(f"event {name!r} ({severity}) must read resource:past_tense with one of {SEVERITIES}")
    registry[name] = event = EventType(name, severity, security)
    return event


BulkWriter = Callable[[EventType, Iterable[tuple[Model, dict[str, Any]]]], None]
_bulk_writer: list[BulkWriter] = []


def set_bulk_writer(writer: BulkWriter) -> None:
    if _bulk_writer:
        raise ValueError("the bulk writer is set twice")
    _bulk_writer.append(writer)


def bulk_record(event: EventType, changes: Iterable[tuple[Model, dict[str, Any]]]) -> None:
    """One entry per object for objects written in bulk: pairs of a saved object and its {field: [old, new]}."""
    if _bulk_writer:
        _bulk_writer[0](event, changes)
