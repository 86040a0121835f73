"""Groups and their members. Whoever joins a group holds what the group holds, from their next request on.

So putting somebody in follows the rules of giving, and taking somebody out those of lifting the group's denies.
"""

from datetime import datetime
from typing import Any

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts.models import User
from opssight.kernel.access import check, resource_of
from opssight.kernel.errors import Refusal
from opssight.kernel.validation import one_line
from rbac import events
from rbac.decide import unit_id
from rbac.grants import tables
from rbac.models import DenyRule, RoleAssignment, Unit
from rbac.services import NotYours, held_at, in_turn, keep_an_administrator, stored


class InUse(Refusal):
    """The group holds rights or denies, which go before it does."""

    status = 409


def save_group(group: Group, *, by: User | None = None) -> Group:
    """Make a group, or rename it."""
    with in_turn():
        before = stored(group)
        if by is not None:
            check(by, f"groups:{'create' if before is None else 'update'}", group)
        check_name(group.name)
        group.full_clean()
        group.save()
    return group


def check_name(name: str) -> None:
    """ValidationError for what can't stand in an address and on one line."""
    if "/" in name or name in (".", ".."):
        raise ValidationError({"name": "A group's name stands in addresses, so it has no / and is not . or .."})
    try:
        one_line(name)
    except ValidationError as error:
        raise ValidationError({"name": error.messages}) from None


def delete_group(group: Group, *, by: User | None = None) -> None:
    """Only one that holds nothing, so that nobody's rights change unseen. InUse otherwise."""
    with in_turn():
        group = stored(group)
        if by is not None:
            check(by, "groups:delete", group)
        if held := _held_by(group):
            raise InUse(f"{group} still holds {', '.join(held)}. End those first.")
        for user in group.user_set.all():
            user.groups.remove(group)
        group.delete()


def add_member(group: Group, user: User, *, by: User | None = None) -> None:
    """Nobody adds themselves, and a person adds only where they hold all that the group gives. NotYours otherwise."""
    with keep_an_administrator():
        group = stored(group)
        if by is not None:
            _may_add(group, user, by)
        if not user.groups.filter(pk=group.pk).exists():
            user.groups.add(group)
            events.MEMBER_ADDED.emit(target=user, group=group.name, account=str(user))


def remove_member(group: Group, user: User, *, by: User | None = None) -> None:
    """Take somebody out at once. LastAdministrator where nobody would be left who can give rights."""
    with keep_an_administrator():
        group = stored(group)
        if by is not None:
            check(by, "groups:update", group)
            _may_lift_denies(group, user, by)
        if user.groups.filter(pk=group.pk).exists():
            user.groups.remove(group)
            events.MEMBER_REMOVED.emit(target=user, group=group.name, account=str(user))


def _held_by(group: Group) -> list[str]:
    kinds: dict[str, list[Any]] = {
        "assignments": [RoleAssignment],
        "denies": [DenyRule],
        "grants": [table for table in tables() if hasattr(table, "group_id")],
    }
    return [
        kind for kind, models in kinds.items() if any(m._default_manager.filter(group=group).exists() for m in models)
    ]


def _may_add(group: Group, user: User, by: User) -> None:
    check(by, "groups:update", group)
    if user == by:
        raise NotYours("Nobody gives rights to themselves. Ask another administrator.")
    for unit, wanted, until in _gives(group):
        if lacking := sorted(wanted - held_at(by, unit, until=until)):
            what = f"{', '.join(lacking[:5])} at {unit}"
            lack = "which you don't hold there yourself, or not for as long"
            raise NotYours(f"You can't add to {group}: it gives {what}, {lack}.")
    for deny in DenyRule.objects.not_ended(at=timezone.now()).filter(group=group):
        check(by, "denies:create", deny, about=deny.unit)


def _gives(group: Group) -> list[tuple[Unit, set[str], datetime | None]]:
    """What the group holds now or will, each with the unit at which it does and its end."""
    now = timezone.now()
    given = [
        (row.unit, set(row.role.effects.values_list("permission", flat=True)), row.valid_until)
        for row in RoleAssignment.objects.not_ended(at=now).filter(group=group).select_related("unit", "role")
    ]
    for table in tables():
        if hasattr(table, "group_id"):
            for grant in table._default_manager.not_ended(at=now).filter(group=group).select_related("permission"):
                given.append((_unit_of(grant), {grant.permission.codename}, grant.valid_until))
    return given


def _unit_of(grant: Any) -> Unit:
    return Unit.objects.get(pk=unit_id(grant, resource_of("grants:create", type(grant))) or 0)


def _may_lift_denies(group: Group, user: User, by: User) -> None:
    for deny in DenyRule.objects.not_ended(at=timezone.now()).filter(group=group):
        if user == by:
            raise NotYours("Nobody gives rights to themselves. Ask another administrator.")
        check(by, "denies:delete", deny)
