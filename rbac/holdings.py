"""What a person holds at a moment: assignments, denies, and whether there are single-object grants. One query.

Read once a request and remembered for it alone, so that a revocation is seen by the very next one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import (
    BooleanField,
    Case,
    CharField,
    DateTimeField,
    Exists,
    F,
    IntegerField,
    QuerySet,
    Value,
    When,
)
from django.utils import timezone

from accounts.models import User
from opssight.kernel.access import grant_tables
from opssight.kernel.actor import request_memory
from rbac.models import DenyRule, RoleAssignment

# Named apart from every column of the tables that the parts of the union read.
_COLUMNS = tuple(
    f"held_{name}" for name in ("kind", "what", "place", "root", "role", "via", "place_name", "group", "until", "row")
)
_TEXT = CharField()


@dataclass(frozen=True)
class Grant:
    """One permission at one unit, and where it comes from: an assignment of a role, perhaps through a parent role and
    a group."""

    permission: str
    unit: int
    at_root: bool
    role: str
    via: str
    unit_name: str
    group: str | None
    until: datetime | None
    row: int

    def __str__(self) -> str:
        inherited = f" (from role {self.via})" if self.via != self.role else ""
        through = f", through group {self.group}" if self.group else ""
        ends = f", until {self.until:%Y-%m-%d %H:%M} UTC" if self.until else ""
        return f"role {self.role}{inherited} at {self.unit_name}{through}{ends}"


@dataclass(frozen=True)
class Deny:
    """A rule that takes a permission, or all of a resource ("findings:*"), away at a unit and below."""

    permission: str
    unit: int
    at_root: bool
    unit_name: str
    group: str | None
    row: int

    def covers(self, permission: str) -> bool:
        resource, _, action = self.permission.partition(":")
        return self.permission == permission or (action == "*" and permission.startswith(f"{resource}:"))

    def __str__(self) -> str:
        through = f", through group {self.group}" if self.group else ""
        return f"denied: {self.permission} at {self.unit_name}{through}"


@dataclass
class Holdings:
    """`grants` by permission, the wider ones first; `granted_models` carry a single-object grant for the user."""

    grants: dict[str, list[Grant]] = field(default_factory=dict)
    denies: list[Deny] = field(default_factory=list)
    granted_models: set[str] = field(default_factory=set)

    def for_permission(self, permission: str) -> list[Grant]:
        return self.grants.get(permission, [])

    def denies_of(self, permission: str) -> list[Deny]:
        return [deny for deny in self.denies if deny.covers(permission)]


def holdings(user: Any) -> Holdings:
    memory, key = request_memory(), ("rbac.holdings", user.pk)
    if key not in memory:
        memory[key] = read_holdings(user, at=timezone.now())
    kept: Holdings = memory[key]
    return kept


def forget() -> None:
    """After a change of rights within a request, so that the rest of it already answers by the new ones."""
    memory = request_memory()
    for key in [key for key in memory if isinstance(key, tuple) and key[0] == "rbac.holdings"]:
        del memory[key]


def read_holdings(user: Any, *, at: datetime) -> Holdings:
    """Three questions as one UNION: assigned roles' effects, denies, and which models carry grants for the user."""
    found = Holdings()
    for row in _assigned(user, at).union(_denied(user, at), *_granted_models(user, at), all=True):
        kind, what, unit, root, role, via, unit_name, group, until, pk = row
        if kind == "grant":
            grant = Grant(what, unit, bool(root), role, via, unit_name, group, _aware(until), pk)
            found.grants.setdefault(what, []).append(grant)
        elif kind == "deny":
            found.denies.append(Deny(what, unit, bool(root), unit_name, group, pk))
        else:
            found.granted_models.add(what)
    for held in found.grants.values():
        held.sort(key=lambda grant: not grant.at_root)
    return found


def _aware(value: Any) -> datetime | None:
    """SQLite answers a UNION's column as text."""
    if value is None or isinstance(value, datetime):
        return value
    return datetime.fromisoformat(str(value)).replace(tzinfo=timezone.get_current_timezone())


def _columns(rows: QuerySet[Any], **columns: Any) -> QuerySet[Any]:
    """`rows` as one part of the union: each column by an expression, or null."""
    nulls = {name: Value(None, output_field=_TEXT) for name in _COLUMNS}
    typed = {
        "held_place": Value(None, output_field=IntegerField()),
        "held_row": Value(None, output_field=IntegerField()),
        "held_root": Value(None, output_field=BooleanField()),
        "held_until": Value(None, output_field=DateTimeField()),
    }
    expressions = {**nulls, **typed, **{f"held_{name}": value for name, value in columns.items()}}
    return rows.order_by().annotate(**expressions).values_list(*_COLUMNS)


def _root() -> Case:
    return Case(When(unit__parent=None, then=True), default=False, output_field=BooleanField())


def _assigned(user: Any, at: datetime) -> QuerySet[Any]:
    rows = RoleAssignment.objects.of(user).valid(at=at).filter(role__effects__isnull=False)
    return _columns(
        rows,
        kind=Value("grant"),
        what=F("role__effects__permission"),
        place=F("unit_id"),
        root=_root(),
        role=F("role__name"),
        via=F("role__effects__via__name"),
        place_name=F("unit__name"),
        group=F("group__name"),
        until=F("valid_until"),
        row=F("pk"),
    )


def _denied(user: Any, at: datetime) -> QuerySet[Any]:
    return _columns(
        DenyRule.objects.of(user).valid(at=at),
        kind=Value("deny"),
        what=F("permission"),
        place=F("unit_id"),
        root=_root(),
        place_name=F("unit__name"),
        group=F("group__name"),
        row=F("pk"),
    )


def _granted_models(user: Any, at: datetime) -> Iterable[QuerySet[Any]]:
    for model, (to_users, to_groups) in grant_tables.items():
        direct = to_users._default_manager.filter(user=user).valid(at=at)  # type: ignore[attr-defined]
        shared = to_groups._default_manager.filter(group__user=user).valid(at=at)  # type: ignore[attr-defined]
        person = User.objects.filter(pk=user.pk).filter(Exists(direct) | Exists(shared))
        yield _columns(person, kind=Value("object"), what=Value(model._meta.label_lower))
