from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from opssight.kernel.access import is_registered
from rbac import events
from rbac.models import Role, RoleAssignment, RolePermission, Unit, UnitPath
from rbac.roles import BUILTIN

ROOT_NAME = "Organisation"


def root_unit() -> Unit:
    """The unit of the whole organisation; made on first use."""
    root = Unit.objects.roots().first()
    return root or create_unit(ROOT_NAME, kind=Unit.Kind.COMPANY, parent=None)


@transaction.atomic
def create_unit(name: str, *, parent: Unit | None, kind: str = Unit.Kind.TEAM) -> Unit:
    return save_unit(Unit(name=name, kind=kind, parent=parent))


@transaction.atomic
def save_unit(unit: Unit) -> Unit:
    """Write a new unit with its place in the tree, or a changed one; moving a unit is not offered."""
    new = unit.pk is None
    unit.full_clean()
    unit.save()
    if new:
        _place(unit)
    return unit


def _place(unit: Unit) -> None:
    """Write the closure rows of a new leaf: itself, and everything above its parent."""
    above = UnitPath.objects.filter(descendant=unit.parent_id).values_list("ancestor_id", "depth")
    rows = [UnitPath(ancestor_id=ancestor, descendant=unit, depth=depth + 1) for ancestor, depth in above]
    UnitPath.objects.bulk_create([UnitPath(ancestor=unit, descendant=unit, depth=0), *rows])


@transaction.atomic
def assign_role(
    user: User, key: str, *, reason: str, unit: Unit | None = None, source: str = RoleAssignment.Source.MANUAL
) -> RoleAssignment:
    assignment = RoleAssignment(
        user=user, role=Role.objects.get(key=key), unit=unit or root_unit(), reason=reason, source=source
    )
    return save_assignment(assignment)


@transaction.atomic
def save_assignment(assignment: RoleAssignment) -> RoleAssignment:
    assignment.full_clean()
    assignment.save()
    events.ROLE_ASSIGNED.emit(
        target=assignment,
        role=assignment.role.key,
        unit=str(assignment.unit),
        account=str(assignment.user or assignment.group),
    )
    return assignment


def permissions_of(user: User) -> list[str]:
    """Every permission that some valid assignment of `user` gives somewhere, sorted."""
    held = RoleAssignment.objects.of(user).valid(at=timezone.now())
    rows = RolePermission.objects.filter(role__in=held.values("role")).values_list("permission", flat=True)
    return sorted(set(rows))


def has_administrator() -> bool:
    """Whether anybody already administers the root; the first set-up link works only while nobody does."""
    rows = RoleAssignment.objects.valid(at=timezone.now()).filter(role__key="administrator", unit__parent=None)
    return rows.exists()


def sync_builtin_roles(**kwargs: Any) -> None:
    """After each migration: the built-in roles hold exactly what `rbac.roles` says, the root unit exists."""
    with transaction.atomic():
        for key, (name, description, permissions) in BUILTIN.items():
            unknown = sorted(p for p in permissions if not is_registered(p))
            if unknown:
                raise ValueError(f"role {key} names permissions that nobody registered: {', '.join(unknown)}")
            role, _ = Role.objects.update_or_create(
                key=key, defaults={"name": name, "description": description, "builtin": True}
            )
            held = set(role.permissions.values_list("permission", flat=True))
            role.permissions.exclude(permission__in=permissions).delete()
            RolePermission.objects.bulk_create(
                [RolePermission(role=role, permission=permission) for permission in sorted(permissions - held)]
            )
        root_unit()
