"""News that travels up the ladder: named events, one signal, and the writer of bulk entries.

An app declares `FINDING_FIXED = register("findings:fixed")` beside its models and emits it inside the transaction
of the change. `audit.receivers` listens and writes the trail entry; a higher app may listen the same way. The
signal is sent with `send`, so that a change whose entry can't be written is rolled back with it.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Model
from django.dispatch import Signal

from opssight.kernel import actor as actors
from opssight.kernel.actor import Actor

SEVERITIES = ("info", "low", "medium", "high", "critical")
_NAME = re.compile(r"^[a-z-]+:[a-z_]+$")

happened = Signal()


@dataclass(frozen=True)
class Occurrence:
    """One thing that happened. `data` holds what the entry keeps beside actor and target: JSON values, no floats.

    `about` is the model where no single object is meant. `action` (CREATE, READ, UPDATE, DELETE) is said only where no
    change of a row says it: reports count actions.
    """

    event: "EventType"
    actor: Actor
    target: Model | None
    success: bool
    error: str
    data: dict[str, Any]
    about: type[Model] | None = None
    action: str = ""


@dataclass(frozen=True)
class EventType:
    """`name` is resource:past_tense; `security` events also go to telemetry."""

    name: str
    severity: str
    security: bool

    def emit(
        self,
        *,
        target: Model | None = None,
        about: type[Model] | None = None,
        action: str = "",
        success: bool = True,
        error: str = "",
        **data: Any,
    ) -> None:
        happened.send(
            EventType,
            occurrence=Occurrence(self, actors.current(), target, success, error, data, about, action),
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


COMMAND_RUN = register("commands:run", severity="low")


# --- bulk ---------------------------------------------------------------------------------------------------------

Changes = Iterable[tuple[Model, dict[str, Any]]]
BulkWriter = Callable[[EventType, Changes], None]
_bulk_writer: list[BulkWriter] = []


def set_bulk_writer(writer: BulkWriter) -> None:
    if _bulk_writer:
        raise ValueError("the bulk writer is set twice")
    _bulk_writer.append(writer)


class Unrecorded(Exception):
    """Rows of a followed model were written in bulk, and not all of them were told."""


class Ledger:
    """What one `bulk_write()` has written, and what was told of it: numbers of rows by model."""

    def __init__(self) -> None:
        self.written: Counter[type[Model]] = Counter()
        self.told: Counter[type[Model]] = Counter()


_ledger: ContextVar[Ledger | None] = ContextVar("ledger", default=None)


def ledger() -> Ledger | None:
    return _ledger.get()


@contextmanager
def bulk_write() -> Iterator[None]:
    """Around bulk writes of followed models, which are refused elsewhere, since ORM signals don't see them.

    One transaction, in which `bulk_record` must tell of as many rows as were written; else Unrecorded undoes it.
    """
    mine = Ledger()
    token = _ledger.set(mine)
    try:
        with transaction.atomic():
            yield
            if untold := mine.written - mine.told:
                rows = ", ".join(f"{number} {model._meta.label}" for model, number in untold.items())
                raise Unrecorded(f"written in bulk and not told by bulk_record: {rows}")
    finally:
        _ledger.reset(token)


def bulk_record(event: EventType, changes: Changes) -> None:
    """One entry per object for objects written in bulk: pairs of a saved object and its {field: [old, new]}."""
    if _bulk_writer:
        _bulk_writer[0](event, _counted(changes))


def _counted(changes: Changes) -> Changes:
    book = _ledger.get()
    for target, fields in changes:
        if book is not None:
            book.told[type(target)] += 1
        yield target, fields
