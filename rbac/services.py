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
from opssight.kernel.access import check, decide, in_scope
from opssight.kernel.errors import Refusal
from rbac import events
from rbac.decide import answer
from rbac.holdings import forget, read_holdings
from rbac.models import DenyRule, Role, RoleAssignment, Unit, UnitPath
from rbac.units import create_unit, root_unit, save_unit

__all__ = ["create_unit", "root_unit", "save_unit"]

ADMINISTERS = "assignments:create"  # whoever holds it at the root can give every right back


class NotYours(Refusal):
    """A person gives only what they hold, and never to themselves."""

    status = 403


class Overlaps(Refusal):
    status = 409


class TakenAway(Refusal):
    """What was to be changed is not there any more: saving it would bring it back."""

    status = 409


class LastAdministrator(Refusal):
    status = 409


@contextmanager
def in_turn() -> Iterator[None]:
    """Rights change one after the other: what a change has read and decided on is still so when it commits.

    Else a right given to a group passes by somebody who joins it in the same moment, and of two administrators each
    may take the other away. The lock is on the root unit, before any other row's, so that no two wait for each other;
    whoever only refers to the unit does not wait.
    """
    with transaction.atomic():
        list(Unit.objects.roots().select_for_update(no_key=True).values_list("pk"))
        forget()
        yield


def stored(row: Any) -> Any:
    """The row as it stands in the database; None for a new one. TakenAway where it has gone."""
    if row.pk is None:
        return None
    found = type(row)._default_manager.filter(pk=row.pk).first()
    if found is None:
        raise TakenAway("It was taken away meanwhile.")
    return found


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


def save_assignment(assignment: RoleAssignment, *, by: User | None = None) -> RoleAssignment:
    """Give a role, or change the dates and reason of one that was given."""
    with keep_an_administrator():
        before = stored(assignment)
        assignment.full_clean()
        if by is not None:
            if before is not None:
                check(by, "assignments:update", before, about=before.unit)
            _may_give(assignment, by)
        _refuse_overlap(assignment)
        assignment.save()
        event = events.ROLE_ASSIGNED if before is None else events.ASSIGNMENT_CHANGED
        event.emit(
            target=assignment,
            role=assignment.role.key,
            unit=str(assignment.unit),
            account=str(assignment.subject),
        )
    return assignment


def revoke_assignment(assignment: RoleAssignment, *, by: User | None = None) -> None:
    """Take a role away at once. The trail keeps that it was held."""
    with keep_an_administrator():
        stored(assignment)
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
    if lacking := sorted(wanted - held_at(by, assignment.unit, until=assignment.valid_until)):
        where, what = f"{assignment.role} at {assignment.unit}", ", ".join(lacking[:5])
        raise NotYours(f"You can't give {where}: you don't hold {what} there yourself, or not for as long.")


def not_to_oneself(user: User | None, group: Group | None, by: User) -> None:
    if user == by or (group is not None and by.groups.filter(pk=group.pk).exists()):
        raise NotYours("Nobody gives rights to themselves. Ask another administrator.")


def held_at(user: User, unit: Unit, *, until: datetime | None) -> set[str]:
    """What `user` may give at `unit`: held by roles there and at all below it, for as long (None: without an end), less
    what is denied anywhere there and what a token leaves out."""
    held = read_holdings(user, at=timezone.now())
    above = set(unit_ids_above(unit))
    there = above | set(UnitPath.objects.filter(ancestor=unit).values_list("descendant_id", flat=True))
    return {
        permission
        for permission in held.permissions()
        if in_scope(user, permission)
        and any(
            (grant.place.at_root or grant.place.unit in above) and grant.place.lasts(until)
            for grant in held.for_permission(permission)
        )
        and not any(deny.place.at_root or deny.place.unit in there for deny in held.denies_of(permission))
    }


def unit_ids_above(unit: Unit) -> list[int]:
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


def save_deny(deny: DenyRule, *, by: User | None = None) -> DenyRule:
    """Deny, or change a deny. Not one that is about oneself: whoever shortens, moves or renames it lifts it."""
    with keep_an_administrator():
        before = stored(deny)
        deny.full_clean()
        if by is not None:
            check(by, f"denies:{'create' if before is None else 'update'}", deny, about=deny.unit)
            if before is not None:
                check(by, "denies:update", before, about=before.unit)
                not_to_oneself(before.user, before.group, by)
        deny.save()
        events.PERMISSION_DENIED.emit(
            target=deny, permission=deny.permission, unit=str(deny.unit), account=str(deny.subject)
        )
    return deny


def remove_deny(deny: DenyRule, *, by: User | None = None) -> None:
    """Lift a deny. Not for oneself, since that gives a right back."""
    with in_turn():
        before = stored(deny)
        if by is not None:
            check(by, "denies:delete", before)
            not_to_oneself(before.user, before.group, by)
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
    """Refuses a change that would take the last one away. The change's transaction, and its turn."""
    with in_turn():
        before = bool(administrators())
        yield
        forget()
        if before:
            refuse_without_administrator()


def refuse_without_administrator(*, but: User | None = None) -> None:
    """Where nobody would be left, not counting `but`, who is about to go."""
    with in_turn():
        if not any(user != but for user in administrators()):
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
