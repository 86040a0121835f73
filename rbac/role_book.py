"""Roles: the built-in ones as data, custom ones, and what each gives in the end."""

from collections import defaultdict
from typing import Any

from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.utils import timezone

from accounts.models import User
from opssight.kernel.access import grant_tables, grantable, is_registered
from opssight.kernel.errors import Refusal
from rbac.models import Role, RoleAssignment, RoleEffect, RolePermission
from rbac.roles import BUILTIN
from rbac.services import NotYours, held_at, keep_an_administrator, not_to_oneself, stored
from rbac.units import root_unit


class NotARole(Refusal):
    status = 400


def sync_builtin_roles(**kwargs: Any) -> None:
    """After each migration: the built-in roles hold exactly what `rbac.roles` says, effects follow, and the root
    unit exists."""
    with transaction.atomic():
        for key, (name, description, _, permissions) in BUILTIN.items():
            if unknown := sorted(p for p in permissions if not is_registered(p)):
                raise ValueError(f"role {key} names permissions that nobody registered: {', '.join(unknown)}")
            defaults = {"name": name, "description": description, "builtin": True}
            role, _ = Role.objects.update_or_create(key=key, defaults=defaults)
            _set_permissions(role, permissions)
        for key, (_, _, parents, _) in BUILTIN.items():
            _set_parents(Role.objects.get(key=key), list(Role.objects.filter(key__in=parents)))
        rebuild_effects()
        sync_permission_rows()
        root_unit()


def save_role(role: Role, *, permissions: set[str], parents: list[Role], by: User | None = None) -> Role:
    """Write a custom role. NotARole for unknown permissions, a built-in one, or a circle of parents.

    Widening a role gives to all who hold it, or one below it: the rules of giving apply. NotYours otherwise.
    """
    with keep_an_administrator():
        stored(role)
        before = _effects()
        _write(role, permissions, parents)
        if by is not None:
            _may_widen(before, by)
    return role


def _write(role: Role, permissions: set[str], parents: list[Role]) -> None:
    if role.builtin:
        raise NotARole(f"{role.name} is built in; make a role of your own with it as parent.")
    if unknown := sorted(p for p in permissions if not is_registered(p)):
        raise NotARole(f"Unknown permission: {', '.join(unknown)[:200]}.")
    role.full_clean()
    role.save()
    if circle := _circle(role, parents):
        raise NotARole(f"A role can't be its own ancestor: {' > '.join(circle)}.")
    _set_permissions(role, permissions)
    _set_parents(role, parents)
    rebuild_effects()


def _effects() -> dict[int, set[str]]:
    given: dict[int, set[str]] = defaultdict(set)
    for role_id, permission in RoleEffect.objects.values_list("role_id", "permission"):
        given[role_id].add(permission)
    return given


def _may_widen(before: dict[int, set[str]], by: User) -> None:
    wider = {role_id: more for role_id, given in _effects().items() if (more := given - before[role_id])}
    rows = RoleAssignment.objects.not_ended(at=timezone.now()).filter(role__in=wider)
    for row in rows.select_related("user", "group", "role", "unit"):
        not_to_oneself(row.user, row.group, by)
        if lacking := sorted(wider[row.role_id] - held_at(by, row.unit, until=row.valid_until)):
            what = ", ".join(lacking[:5])
            raise NotYours(f"{row} would get {what}, which you don't hold there yourself, or not for as long.")


def _circle(role: Role, parents: list[Role]) -> list[str]:
    """The names on the way from a parent up to `role` itself, if there is one."""
    names = dict(Role.objects.values_list("pk", "name"))
    above = _parents()
    stack = [(parent.pk, [role.name, parent.name]) for parent in parents]
    seen: set[int] = set()
    while stack:
        pk, path = stack.pop()
        if pk == role.pk:
            return path
        if pk not in seen:
            seen.add(pk)
            stack += [(up, [*path, names[up]]) for up in above[pk]]
    return []


def _set_permissions(role: Role, permissions: set[str]) -> None:
    held = {row.permission: row for row in role.permissions.all()}
    for permission in sorted(held.keys() - permissions):
        held[permission].delete()
    for permission in sorted(permissions - held.keys()):
        RolePermission.objects.create(role=role, permission=permission)


def _set_parents(role: Role, parents: list[Role]) -> None:
    if set(role.parents.all()) != set(parents):
        role.parents.set(parents)


def _parents() -> dict[int, list[int]]:
    above: dict[int, list[int]] = defaultdict(list)
    for child, parent in Role.parents.through.objects.order_by("pk").values_list("from_role_id", "to_role_id"):
        above[child].append(parent)
    return above


def rebuild_effects() -> None:
    """Write what each role gives: breadth first, so that the nearest owner of a permission is the one it comes via."""
    own: dict[int, list[str]] = defaultdict(list)
    for role_id, permission in RolePermission.objects.values_list("role_id", "permission"):
        own[role_id].append(permission)
    above = _parents()
    wanted: dict[tuple[int, str], int] = {}
    for role_id in Role.objects.values_list("pk", flat=True):
        queue, seen = [role_id], {role_id}
        for current in queue:
            for permission in own[current]:
                wanted.setdefault((role_id, permission), current)
            fresh = [up for up in above[current] if up not in seen]
            seen.update(fresh)
            queue += fresh
    present = {(row.role_id, row.permission): row for row in RoleEffect.objects.all()}
    stale = [row.pk for key, row in present.items() if wanted.get(key) != row.via_id]
    RoleEffect.objects.filter(pk__in=stale).delete()
    missing = [key for key, via in wanted.items() if key not in present or present[key].via_id != via]
    RoleEffect.objects.bulk_create(
        [
            RoleEffect(role_id=role, permission=permission, via_id=wanted[role, permission])
            for role, permission in missing
        ]
    )


def sync_permission_rows() -> None:
    """Django's Permission rows for what a single-object grant can give, which guardian's tables point to."""
    for model in grant_tables:
        kind = ContentType.objects.get_for_model(model)
        names = grantable(model)
        present = set(Permission.objects.filter(content_type=kind).values_list("codename", flat=True))
        Permission.objects.bulk_create(
            [Permission(content_type=kind, codename=name, name=name) for name in names if name not in present]
        )
        Permission.objects.filter(content_type=kind).exclude(codename__in=names).delete()
