"""Grants on single objects, over the tables of every kind of object that carries them.

A person gives on an object only what they hold where it sits, and never to themselves.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models import User
from opssight.kernel.access import check, grant_tables, grantable, permitted, resource_of
from opssight.kernel.errors import Refusal
from rbac import events
from rbac.decide import unit_id
from rbac.holdings import forget
from rbac.models import ObjectGrant, Unit
from rbac.services import NotYours, Overlaps, held_at, in_turn, not_to_oneself, stored


class NotGrantable(Refusal):
    status = 400


def tables() -> list[Any]:
    """Every table of grants, in the order in which they were registered."""
    return [table for pair in grant_tables.values() for table in pair]


def carrier_of(permission: str) -> Any:
    """The model whose objects a permission can be granted on. NotGrantable where there is none."""
    for model in grant_tables:
        if permission in grantable(model):
            return model
    known = ", ".join(sorted(name for model in grant_tables for name in grantable(model)))
    raise NotGrantable(f"{permission} can't be granted on a single object. There are: {known}.")


def rows_of(permission: str, model: Any) -> Permission:
    """Django's row for a permission, which guardian's tables point to."""
    return Permission.objects.get(codename=permission, content_type=ContentType.objects.get_for_model(model))


def grant_on_object(
    subject: User | Group,
    permission: str,
    obj: models.Model,
    *,
    reason: str,
    since: datetime | None = None,
    until: datetime | None = None,
    by: User | None = None,
) -> ObjectGrant:
    """One permission on one object, for an exception. NotGrantable where the object carries no such grants."""
    model = type(obj)
    if model not in grant_tables or permission not in grantable(model):
        there = ", ".join(grantable(model)) if model in grant_tables else "none"
        raise NotGrantable(f"{permission} can't be granted on one {obj._meta.verbose_name}. There are: {there}.")
    to_users, to_groups = grant_tables[model]
    table, who = (to_users, {"user": subject}) if isinstance(subject, User) else (to_groups, {"group": subject})
    grant: Any = table(
        permission=rows_of(permission, model),
        content_object=obj,
        reason=reason,
        valid_from=since or timezone.now(),
        valid_until=until,
        **who,
    )
    return save_grant(grant, by=by)


def save_grant(grant: Any, *, by: User | None = None) -> ObjectGrant:
    """Write a new grant. Overlaps while one of the same is there and has not ended; one that has makes way."""
    with in_turn():
        return _save(grant, by)


def _save(grant: Any, by: User | None) -> ObjectGrant:
    obj, subject = grant.content_object, grant.subject
    who = {"user" if isinstance(subject, User) else "group": subject}
    if by is not None:
        _may_give(grant, by)
    for other in type(grant)._default_manager.filter(permission=grant.permission, content_object=obj, **who):
        if other.valid_until is None or other.valid_until > timezone.now():
            until = f"until {other.valid_until:%Y-%m-%d %H:%M} UTC" if other.valid_until else "without an end"
            raise Overlaps(f"{other} is granted already, {until}. Revoke that first.")
        other.delete()
    grant.granted_by = by
    grant.full_clean()
    grant.save()
    events.OBJECT_GRANTED.emit(target=obj, permission=grant.permission.codename, account=str(subject))
    forget()
    made: ObjectGrant = grant
    return made


def revoke_grant(grant: Any, *, by: User | None = None) -> None:
    """Take it away at once. The trail keeps that it was held."""
    with in_turn():
        stored(grant)
        if by is not None:
            check(by, "grants:delete", grant, about=grant.content_object)
        events.GRANT_REVOKED.emit(
            target=grant.content_object, permission=grant.permission.codename, account=str(grant.subject)
        )
        grant.delete()
        forget()


def _may_give(grant: Any, by: User) -> None:
    check(by, "grants:create", grant, about=grant.content_object)
    not_to_oneself(getattr(grant, "user", None), getattr(grant, "group", None), by)
    unit = Unit.objects.get(pk=unit_id(grant, resource_of("grants:create", type(grant))) or 0)
    permission = grant.permission.codename
    if permission not in held_at(by, unit, until=grant.valid_until):
        what = f"{permission} on {grant.content_object}"
        raise NotYours(f"You can't give {what}: you don't hold it there yourself, or not for as long.")


# --- reading ------------------------------------------------------------------------------------------------------


class Rows:
    """The rows of several tables, walked as if they stood in one: what `kernel.pagination` asks of a queryset."""

    def __init__(self, querysets: Sequence[Any], order: Sequence[str] = ()) -> None:
        self.querysets, self.order = list(querysets), order

    def order_by(self, *names: str) -> "Rows":
        return Rows([rows.order_by(*names) for rows in self.querysets], names)

    def filter(self, *conditions: Q, **lookups: Any) -> "Rows":
        return Rows([rows.filter(*conditions, **lookups) for rows in self.querysets], self.order)

    def __getitem__(self, part: slice) -> list[Any]:
        """Up to `part.stop` rows from the front. All order by one field, which is unique over the tables: the uid."""
        (name,) = self.order
        found = [row for rows in self.querysets for row in rows[: part.stop]]
        return sorted(found, key=lambda row: getattr(row, name.lstrip("-")), reverse=name.startswith("-"))[part]


def in_sight(user: Any) -> list[Any]:
    """The grants that `user` may read, one queryset for each table."""
    return [
        permitted(table._default_manager.all(), user, "grants:read").select_related(
            "content_object", "permission", "granted_by", "user" if hasattr(table, "user_id") else "group"
        )
        for table in tables()
    ]


def given_to(person: User, on: type[models.Model]) -> list[Any]:
    """The grants on objects of one model to a person and to their groups, whatever their dates; two querysets."""
    to_users, to_groups = grant_tables[on]
    return [
        to_users._default_manager.filter(user=person).select_related("content_object", "permission"),
        to_groups._default_manager.filter(group__user=person).select_related("content_object", "permission", "group"),
    ]


def held_by(person: User, *, at: datetime) -> list[Any]:
    """The valid grants to a person and to their groups, those that end soonest first."""
    found = [grant for model in grant_tables for rows in given_to(person, model) for grant in rows.valid(at=at)]
    return sorted(found, key=lambda grant: (grant.valid_until is None, grant.valid_until or at, grant.pk))
