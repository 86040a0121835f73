"""Giving rights and taking them away.

`by` is the person who does it, None for a command or the system. A person gives only what they hold where they give it,
and never to themselves; and no change leaves the organisation without an administrator.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.contrib.auth.models import Group
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from accounts.models import User
from opssight.kernel.access import check, decide
from opssight.kernel.errors import Refusal
from rbac import events
from rbac.decide import answer
from rbac.holdings import forget, read_holdings
from rbac.models import DenyRule, Role, RoleAssignment, Unit
from rbac.units import create_unit, root_unit, save_unit

__all__ = ["create_unit", "root_unit", "save_unit"]

ADMINISTERS = "assignments:create"  # whoever holds it at the root can give every right back


class NotYours(Refusal):
    """A person gives only what they hold, and never to themselves."""

    status = 403


class Overlaps(Refusal):
    status = 409


class LastAdministrator(Refusal):
    status = 409


def check_permission(user: Any, resource: str, action: str, obj: models.Model | None = None) -> bool:
    """May `user` do `action` on `resource` (on `obj`)? The short form of `kernel.access.decide`."""
    return decide(user, f"{resource}:{action}", obj).allowed


# --- assignments --------------------------------------------------------------------------------------------------


def assign_role(
    user: User,
    key: str,
    *,
    reason: str,
    unit: Unit | None = None,
    until: datetime | None = None,
    source: str = RoleAssignment.Source.MANUAL,
    by: User | None = None,
) -> RoleAssignment:
    role = Role.objects.get(key=key)
    assignment = RoleAssignment(
        user=user, role=role, unit=unit or root_unit(), reason=reason, source=source, valid_until=until
    )
    return save_assignment(assignment, by=by)


@transaction.atomic
def save_assignment(assignment: RoleAssignment, *, by: User | None = None) -> RoleAssignment:
    """Give a role, or change the dates and reason of one that was given."""
    with keep_an_administrator():
        new = assignment.pk is None
        assignment.full_clean()
        if by is not None:
            _may_give(assignment, by)
        _refuse_overlap(assignment)
        assignment.save()
        event = events.ROLE_ASSIGNED if new else events.ASSIGNMENT_CHANGED
        event.emit(
            target=assignment,
            role=assignment.role.key,
            unit=str(assignment.unit),
            account=str(assignment.subject),
        )
    return assignment


@transaction.atomic
def revoke_assignment(assignment: RoleAssignment, *, by: User | None = None) -> None:
    """Take a role away at once. The trail keeps that it was held."""
    with keep_an_administrator():
        if by is not None:
            check(by, "assignments:delete", assignment)
        events.ROLE_REVOKED.emit(
            target=assignment,
            role=assignment.role.key,
            unit=str(assignment.unit),
            account=str(assignment.subject),
        )
        assignment.delete()


def _may_give(assignment: RoleAssignment, by: User) -> None:
    verb = "update" if assignment.pk else "create"
    check(by, f"assignments:{verb}", assignment, about=assignment.unit)
    not_to_oneself(assignment.user, assignment.group, by)
    _holds(assignment, by)


def may_give_by_group(group: Group, by: User) -> None:
    """NotYours where the group has a role that `by` could not give."""
    for assignment in RoleAssignment.objects.filter(group=group).select_related("role", "unit"):
        _holds(assignment, by)


def _holds(assignment: RoleAssignment, by: User) -> None:
    wanted = set(assignment.role.effects.values_list("permission", flat=True))
    if lacking := sorted(wanted - held_at(by, assignment.unit)):
        what = ", ".join(lacking[:5])
        raise NotYours(f"You can't give {assignment.role} at {assignment.unit}: you don't hold {what} there yourself.")


def not_to_oneself(user: User | None, group: Group | None, by: User) -> None:
    if user == by or (group is not None and by.groups.filter(pk=group.pk).exists()):
        raise NotYours("Nobody gives rights to themselves. Ask another administrator.")


def held_at(user: User, unit: Unit) -> set[str]:
    """What `user` holds at `unit` by roles, less what is denied there."""
    held = read_holdings(user, at=timezone.now())
    above = set(unit_ids_above(unit))
    return {
        permission
        for permission in held.permissions()
        if any(grant.place.at_root or grant.place.unit in above for grant in held.for_permission(permission))
        and not any(deny.place.at_root or deny.place.unit in above for deny in held.denies_of(permission))
    }


def unit_ids_above(unit: Unit) -> list[int]:
    from rbac.models import UnitPath

    return list(UnitPath.objects.filter(descendant=unit).values_list("ancestor_id", flat=True))


def _refuse_overlap(assignment: RoleAssignment) -> None:
    """Two assignments of one role to one subject at one unit must not hold at the same time: which one would end it?"""
    others = RoleAssignment.objects.filter(
        user=assignment.user, group=assignment.group, role=assignment.role, unit=assignment.unit
    ).exclude(pk=assignment.pk)
    begins_before_it_ends = Q() if assignment.valid_until is None else Q(valid_from__lt=assignment.valid_until)
    ends_after_it_begins = Q(valid_until=None) | Q(valid_until__gt=assignment.valid_from)
    if other := others.filter(begins_before_it_ends & ends_after_it_begins).first():
        until = f"until {other.valid_until:%Y-%m-%d %H:%M} UTC" if other.valid_until else "without an end"
        raise Overlaps(f"{other} is held already, from {other.valid_from:%Y-%m-%d %H:%M} UTC {until}. Change that one.")


# --- denies -------------------------------------------------------------------------------------------------------


@transaction.atomic
def save_deny(deny: DenyRule, *, by: User | None = None) -> DenyRule:
    with keep_an_administrator():
        verb = "update" if deny.pk else "create"
        deny.full_clean()
        if by is not None:
            check(by, f"denies:{verb}", deny, about=deny.unit)
        deny.save()
        events.PERMISSION_DENIED.emit(
            target=deny, permission=deny.permission, unit=str(deny.unit), account=str(deny.subject)
        )
    return deny


@transaction.atomic
def remove_deny(deny: DenyRule, *, by: User | None = None) -> None:
    """Lift a deny. Not for oneself, since that gives a right back."""
    if by is not None:
        check(by, "denies:delete", deny)
        not_to_oneself(deny.user, deny.group, by)
    events.DENY_LIFTED.emit(target=deny, permission=deny.permission, account=str(deny.subject))
    deny.delete()
    forget()


# --- the last administrator ---------------------------------------------------------------------------------------


def administrators() -> list[User]:
    """Active people who, for good, can assign roles at the root and are not denied it."""
    now = timezone.now()
    rows = RoleAssignment.objects.valid(at=now).filter(
        valid_until=None, unit__parent=None, role__effects__permission=ADMINISTERS
    )
    people = User.objects.people().filter(Q(assignments__in=rows) | Q(groups__assignments__in=rows)).distinct()
    root = root_unit()
    probe = RoleAssignment(unit=root)
    return [user for user in people if answer(user, read_holdings(user, at=now), ADMINISTERS, probe).allowed]


@contextmanager
def keep_an_administrator() -> Iterator[None]:
    """Refuses a change that would take the last one away. Runs in the change's own transaction."""
    before = bool(administrators())
    yield
    forget()
    if before:
        refuse_without_administrator()


def refuse_without_administrator() -> None:
    if not administrators():
        raise LastAdministrator("This would leave nobody who can give rights. Make another administrator first.")


def permissions_of(user: User) -> list[str]:
    """Every permission that some valid rule gives `user` somewhere, sorted."""
    held = read_holdings(user, at=timezone.now())
    return [permission for permission in held.permissions() if answer(user, held, permission, None).allowed]


def roles_of(user: User) -> list[RoleAssignment]:
    """What the user holds now, directly or through a group."""
    held = RoleAssignment.objects.valid(at=timezone.now()).of(user).select_related("role", "unit")
    return list(held.order_by("role__name", "pk").distinct())


def has_administrator() -> bool:
    """Whether anybody already administers the root; the first set-up link works only while nobody does."""
    rows = RoleAssignment.objects.valid(at=timezone.now()).filter(
        role__effects__permission=ADMINISTERS, unit__parent=None
    )
    return rows.exists()


def privileged_roles(*, at: datetime) -> dict[int, list[str]]:
    """The names of the privileged roles that each account holds at `at`, directly or through a group, by account id.

    Accounts of every kind, also inactive ones: who counts is the caller's question.
    """
    held = RoleAssignment.objects.valid(at=at).filter(role__in=Role.objects.privileged())
    names: dict[int, set[str]] = {}
    for holder, member, role in held.values_list("user", "group__user", "role__name"):
        if account := holder or member:  # a group may be empty
            names.setdefault(account, set()).add(role)
    return {account: sorted(roles) for account, roles in names.items()}
