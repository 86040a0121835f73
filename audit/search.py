"""Finding entries: what a reader may ask for, and pages of it that cost much the same however rare the answer is.

An index serves one condition, or none. The others are checked row by row along the index that leads furthest, over
a few thousand rows at most. A page that ends before it is full says how far it looked, and its cursor goes on there.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db.models import Exists, F, Q, QuerySet, TextField, Value
from django.db.models.expressions import Expression
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Coalesce
from django.db.models.lookups import Exact, IContains, In

from audit.models import AuditEntry, AuditPersonal, Tagged
from opssight.kernel.pagination import Page, Road, Span, seek

ACTIONS = {0: "CREATE", 1: "UPDATE", 2: "DELETE", 3: "READ"}
ORDER = ["-timestamp", "-id"]
# How many rows a page may look at: of neighbours, of rows that an index finds here and there, and where words are read.
NEAR, FAR, WORDS = 10_000, 3_000, 2_000
FEW = 2_000  # so many entries of one address are sorted by hand: no index has them in the order of the list

Condition = Q | Expression


@dataclass(frozen=True)
class Part:
    """One condition: as its index finds it, where it has one, and `checked` in a way that leads no planner astray."""

    checked: Sequence[Condition]
    indexed: Q | None = None


@dataclass(frozen=True)
class Conditions:
    """All of them must hold; None and "" ask for nothing. `actor_kind` is for entries without an account."""

    actor: int | None = None
    actor_kind: str = ""
    actions: frozenset[int] = frozenset()
    event: str = ""
    resource_type: str = ""
    resource_id: str = ""
    success: bool | None = None
    since: datetime | None = None  # inclusive
    until: datetime | None = None  # exclusive
    request_id: str = ""
    address: str = ""
    framework: str = ""
    text: str = ""

    @property
    def span(self) -> Q:
        since = Q(timestamp__gte=self.since) if self.since else Q()
        return since & (Q(timestamp__lt=self.until) if self.until else Q())

    def told(self) -> dict[str, Any]:
        """What is asked for, as an entry keeps it: what may name a person under keys that are kept apart."""
        asked = {name: value for name, value in asdict(self).items() if value not in (None, "", frozenset())}
        if actions := asked.pop("actions", None):
            asked["actions"] = [ACTIONS[number] for number in sorted(actions)]
        apart: dict[str, Any] = {name: asked.pop(name) for name in ("address", "text") if name in asked}
        return {"filter": asked, **apart}


@dataclass(frozen=True)
class Search:
    """`rows` are the entries that the reader may see."""

    rows: QuerySet[AuditEntry]
    asked: Conditions = field(default_factory=Conditions)

    def page(self, cursor: str | None, limit: int) -> Page[AuditEntry]:
        """Newest first. Raises BadCursor."""
        return seek(self._roads(), ORDER, cursor, limit, Span(self.asked.since, self.asked.until))

    def pages(self, limit: int) -> Iterator[Page[AuditEntry]]:
        """One after the other, to the oldest entry."""
        page = self.page(None, limit)
        yield page
        while page.older:
            page = self.page(page.older, limit)
            yield page

    def countable(self) -> QuerySet[AuditEntry] | None:
        """All rows, where one index finds them and nothing else has to be looked at."""
        road = self._roads()[0]
        return road.index.filter(self.asked.span) if road.index is road.wanted else None

    def _roads(self) -> list[Road[AuditEntry]]:
        parts = list(self._parts())
        roads = [self._road(parts, part) for part in parts if part.indexed is not None]
        return roads or [self._road(parts, None)]

    def _road(self, parts: list[Part], taken: Part | None) -> Road[AuditEntry]:
        index = self.rows.filter(taken.indexed) if taken and taken.indexed else self.rows
        checks = [check for part in parts if part is not taken for check in part.checked]
        near = NEAR if index is self.rows else FAR
        return Road(index, index.filter(*checks) if checks else index, min(near, WORDS) if self.asked.text else near)

    def _parts(self) -> Iterator[Part]:
        asked = self.asked
        if asked.request_id:
            yield Part([_is("request_id", asked.request_id)], Q(request_id=asked.request_id))
        if asked.resource_type or asked.resource_id:
            yield self._object(asked.resource_type, asked.resource_id)
        if asked.address:
            yield self._address(asked.address)
        if asked.actor is not None:
            yield Part([_is("actor_id", asked.actor)], Q(actor=asked.actor))
        if asked.actor_kind:
            yield Part([_is("actor_id", -1), _is("actor_kind", asked.actor_kind)])
        if asked.event:
            yield Part([_is("event", asked.event)], Q(event=asked.event))
        if asked.success is not None:
            checked: Condition = Exact(Coalesce(F("success"), Value(True)), Value(asked.success))
            yield Part([checked], None if asked.success else Q(success=False))
        if asked.actions:
            only_deleted = asked.actions == {AuditEntry.Action.DELETE}
            deleted = Q(action=AuditEntry.Action.DELETE) if only_deleted else None
            yield Part([In(Coalesce(F("action"), Value(-1)), sorted(asked.actions))], deleted)
        if asked.framework:
            yield Part([Tagged(asked.framework)])
        if asked.text:
            yield Part([_mentions(asked.text)])

    def _object(self, kind: str, name: str) -> Part:
        """Its index begins with the type, which the id alone leaves to be found."""
        checked = [_is(column, value) for column, value in (("resource_type", kind), ("resource_id", name)) if value]
        if name and not kind:
            kind = self._type_of(name)
        return Part(checked, Q(resource_type=kind, resource_id=name) if kind and name else None)

    def _type_of(self, name: str) -> str:
        """The one type that has an object of this id; "" where none has, or more than one. A look-up for each."""
        types = [f"{one.app_label}.{one.model}" for one in ContentType.objects.all()]
        rows = AuditEntry.objects.filter(resource_id=name)
        asked = {f"type_{n}": Exists(rows.filter(resource_type=kind)) for n, kind in enumerate(types)}
        answers = ContentType.objects.order_by("pk").annotate(**asked).values_list(*asked)[0]
        found = [kind for kind, there in zip(types, answers, strict=True) if there]
        return found[0] if len(found) == 1 else ""

    def _address(self, address: str) -> Part:
        keys = list(AuditPersonal.objects.filter(address=address).values_list("pk", flat=True)[: FEW + 1])
        return Part([_is("personal__address", address)], Q(pk__in=keys) if len(keys) <= FEW else None)


def _is(column: str, value: Any) -> Exact:
    """Equality that no index serves: the row is looked at where another index leads, and nowhere else.

    Left to themselves, planners pick the index of the condition that they take for the rarer one, and walk millions.
    """
    return Exact(Coalesce(F(column), Value(-1 if isinstance(value, int) else "")), value)


def _mentions(text: str) -> Condition:
    """Entries whose object's label, data or error have the text in them; ASCII letters in either case.

    JSON is compared as text, in which the databases escape differently.
    """
    in_json = {json.dumps(text, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    side, told = Q(), Q(error_message__icontains=text)
    for words in in_json:
        told |= Q(IContains(Cast("additional_data", TextField()), words))
        side |= Q(IContains(Cast("personal__data", TextField()), words))
    label = Q(IContains(KeyTextTransform("object", "personal__data"), text))
    for words in in_json:
        label |= Q(IContains(KeyTextTransform("data", "personal__data"), words))
    return told | (side & label)  # taking JSON apart costs ten times what a look at its text does
