"""What a person holds at a moment: assignments, denies, and whether there are single-object grants. One query.

Read once a request and remembered for it alone, so that a revocation is seen by the very next one. The query is written
out: built by the ORM, with its union and its joins, it took ten times as long as it runs.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import Model
from django.utils import timezone

from opssight.kernel.access import grant_tables, grantable
from opssight.kernel.actor import request_memory
from opssight.kernel.prepared import ask
from rbac.models import DenyRule, Role, RoleAssignment, RoleEffect, Unit, UnitPath


class Place(NamedTuple):
    """Where a rule holds, and through what: the unit, and the group if it is a group's."""

    unit: int
    at_root: bool
    unit_name: str
    group: str | None
    until: datetime | None

    def lasts(self, until: datetime | None) -> bool:
        """Whether it holds until then; None is for good."""
        return self.until is None or (until is not None and self.until >= until)

    def __str__(self) -> str:
        through = f", through group {self.group}" if self.group else ""
        ends = f", until {self.until:%Y-%m-%d %H:%M} UTC" if self.until else ""
        return f"at {self.unit_name}{through}{ends}"


class Grant(NamedTuple):
    """One permission at one unit, by an assignment of a role, perhaps through a parent role (`via`)."""

    permission: str
    role: str
    via: str
    place: Place

    def __str__(self) -> str:
        inherited = f" (from role {self.via})" if self.via != self.role else ""
        return f"role {self.role}{inherited} {self.place}"


class Deny(NamedTuple):
    """A rule that takes a permission, or all of a resource ("findings:*"), away at a unit and below."""

    permission: str
    place: Place

    def covers(self, permission: str) -> bool:
        resource, _, action = self.permission.partition(":")
        return self.permission == permission or (action == "*" and permission.startswith(f"{resource}:"))

    def __str__(self) -> str:
        return f"denied: {self.permission} {self.place}"


@dataclass
class Holdings:
    """`roles`: by role id its name and the places it is held at. `effects`: by permission the roles that give it, each
    with the role it comes via. `below`: by unit of a rule (but for the root) the units it reaches, itself included.
    `granted`: the permissions that some grant on a single object gives."""

    roles: dict[int, tuple[str, list[Place]]] = field(default_factory=dict)
    effects: dict[str, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))
    denies: list[Deny] = field(default_factory=list)
    below: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    granted: set[str] = field(default_factory=set)

    def permissions(self) -> list[str]:
        return sorted(self.effects)

    def for_permission(self, permission: str) -> list[Grant]:
        """The grants of it, those at the root first."""
        found = [
            Grant(permission, self.roles[role][0], via, place)
            for role, via in self.effects.get(permission, ())
            for place in self.roles[role][1]
        ]
        return sorted(found, key=lambda grant: not grant.place.at_root)

    def reaches(self, place: Place, unit: int | None) -> bool:
        return place.at_root or unit in self.below[place.unit]

    def reached(self, rules: Iterable[Grant | Deny]) -> set[int]:
        """The units at or below a place of the rules. None of them may be at the root, which reaches everything."""
        return set().union(*(self.below[rule.place.unit] for rule in rules))

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
    found = Holdings()
    values = {"user": user.pk, "at": connection.ops.adapt_datetimefield_value(at)}
    for kind, row, text, via, unit, parent, unit_name, group, until in ask(_question(), values):
        if kind == "effect":
            found.effects[text].append((row, via))
            continue
        if kind == "object":
            found.granted.add(text)
            continue
        if kind == "below":
            found.below[unit].add(row)
            continue
        place = Place(unit, parent is None, unit_name, group, _aware(until))
        found.below[unit].add(unit)
        if kind == "role":
            found.roles.setdefault(row, (text, []))[1].append(place)
        else:
            found.denies.append(Deny(text, place))
    return found


def _aware(value: Any) -> datetime | None:
    """SQLite keeps times as text, or without their zone."""
    if value is None:
        return None
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def object_grant(user: Any, permission: str, model: type[Model], pk: Any) -> str | None:
    """What a valid grant on this one object says for itself, if the user or a group of theirs has one."""
    at = connection.ops.adapt_datetimefield_value(timezone.now())
    rows = ask(_grant_question(model), {"user": user.pk, "at": at, "permission": permission, "object": pk})
    if not rows:
        return None
    reason, until = rows[0]
    return f"{f', until {_aware(until):%Y-%m-%d %H:%M} UTC' if until else ''}: {reason}"


# --- the questions ------------------------------------------------------------------------------------------------

_VALID = "x.valid_from <= %(at)s AND (x.valid_until IS NULL OR x.valid_until > %(at)s)"


def _membership() -> str:
    table: str = get_user_model().groups.through._meta.db_table
    return table


@cache
def _question() -> str:
    """Columns: kind, row id, name or permission, via, unit id, its parent, its name, group, end."""
    groups = f"SELECT m.group_id FROM {_membership()} m WHERE m.user_id = %(user)s"
    where = (
        f"JOIN {Unit._meta.db_table} u ON u.id = x.unit_id LEFT JOIN auth_group g ON g.id = x.group_id"
        f" WHERE (x.user_id = %(user)s OR x.group_id IN ({groups})) AND {_VALID}"
    )
    held = (
        "SELECT x.role_id, r.name, x.unit_id, u.parent_id, u.name AS unit_name, g.name AS group_name, x.valid_until"
        f" FROM {RoleAssignment._meta.db_table} x JOIN {Role._meta.db_table} r ON r.id = x.role_id {where}"
    )
    denied = (
        "SELECT x.id, x.permission, x.unit_id, u.parent_id, u.name AS unit_name, g.name AS group_name, x.valid_until"
        f" FROM {DenyRule._meta.db_table} x {where}"
    )
    units = "SELECT unit_id FROM {} WHERE parent_id IS NOT NULL"
    rules = "{}, NULL, unit_id, parent_id, unit_name, group_name, valid_until FROM {}"
    objects = "".join(
        " UNION ALL SELECT 'object', NULL, p.codename, NULL, NULL, NULL, NULL, NULL, NULL FROM auth_permission p"
        f" WHERE p.codename IN ({', '.join(map(repr, grantable(model)))}) AND (EXISTS (SELECT 1"
        f" FROM {to_users._meta.db_table} x WHERE x.user_id = %(user)s AND x.permission_id = p.id AND {_VALID})"
        f" OR EXISTS (SELECT 1 FROM {to_groups._meta.db_table} x"
        f" WHERE x.group_id IN ({groups}) AND x.permission_id = p.id AND {_VALID}))"
        for model, (to_users, to_groups) in grant_tables.items()
    )
    return (
        f"WITH held AS ({held}), denied AS ({denied})"
        f" SELECT 'role', {rules.format('role_id, name', 'held')}"
        " UNION ALL SELECT 'effect', e.role_id, e.permission, v.name, NULL, NULL, NULL, NULL, NULL"
        f" FROM {RoleEffect._meta.db_table} e JOIN {Role._meta.db_table} v ON v.id = e.via_id"
        " WHERE e.role_id IN (SELECT role_id FROM held)"
        f" UNION ALL SELECT 'deny', {rules.format('id, permission', 'denied')}"
        " UNION ALL SELECT 'below', p.descendant_id, NULL, NULL, p.ancestor_id, NULL, NULL, NULL, NULL"
        f" FROM {UnitPath._meta.db_table} p WHERE p.depth > 0"
        f" AND p.ancestor_id IN ({units.format('held')} UNION {units.format('denied')})"
        f"{objects}"
    )


@cache
def _grant_question(model: type[Model]) -> str:
    to_users, to_groups = grant_tables[model]
    this = f"p.codename = %(permission)s AND x.content_object_id = %(object)s AND {_VALID}"
    asked = "SELECT x.reason, x.valid_until FROM {} x JOIN auth_permission p ON p.id = x.permission_id"
    return (
        f"{asked.format(to_users._meta.db_table)} WHERE x.user_id = %(user)s AND {this}"
        f" UNION ALL {asked.format(to_groups._meta.db_table)}"
        f" JOIN {_membership()} m ON m.group_id = x.group_id WHERE m.user_id = %(user)s AND {this} LIMIT 1"
    )
