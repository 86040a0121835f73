"""One rule set in two forms: `decide` for one question, `permitted` for the rows of a query.

The rule: a valid assignment, held directly or through a group, of a role with the permission, at the object's unit
or above it. An object without a unit is reached from the root only, an own object by its owner only.
"""

from typing import Any

from django.db.models import Exists, Model, Q, QuerySet, Value
from django.utils import timezone

from opssight.kernel.access import Decision, resources
from rbac.models import RoleAssignment, UnitPath


def _assignments(user: Any, permission: str) -> QuerySet[RoleAssignment]:
    return RoleAssignment.objects.of(user).valid(at=timezone.now()).filter(role__permissions__permission=permission)


def _may_act(user: Any) -> bool:
    return bool(user is not None and user.is_authenticated and user.is_active)


def decide(user: Any, permission: str, obj: Model | None, context: dict[str, Any]) -> Decision:
    if not _may_act(user):
        return Decision(False, ("nobody is signed in, or the account is not active",))
    resource = resources[permission.partition(":")[0]]
    if obj is None:
        held = _somewhere(user, permission)
    else:
        held = _assignments(user, permission)
        if type(obj) is not resource.model:
            return Decision(False, (f"{permission} is not about {obj._meta.verbose_name}",))
        if resource.own and getattr(obj, f"{resource.own}_id") != user.pk:
            return Decision(False, (f"{permission} is about one's own, and this is somebody else's",))
        unit_id = _unit_id(obj, resource.unit)
        above = UnitPath.objects.filter(descendant=unit_id).values("ancestor") if unit_id else None
        held = held.filter(unit__in=above) if above is not None else held.filter(unit__parent=None)
    row = held.select_related("role", "unit").first()
    if row is None:
        return Decision(False, (f"no role of yours gives {permission} here",))
    return Decision(
        True, (f"role {row.role} at {row.unit}" + (f", through group {row.group}" if row.group_id else ""),)
    )


def _somewhere(user: Any, permission: str) -> QuerySet[RoleAssignment]:
    resource, held = resources[permission.partition(":")[0]], _assignments(user, permission)
    return held.filter(unit__parent=None) if not resource.unit and resource.model is not None else held


def condition(user: Any, permission: str) -> Exists | Value:
    return Exists(_somewhere(user, permission)) if _may_act(user) else Value(False)


def _unit_id(obj: Model, path: str) -> int | None:
    """Follow "asset__unit" from the object to the id of its unit."""
    if not path:
        return None
    *steps, last = path.split("__")
    for step in steps:
        obj = getattr(obj, step)
    unit_id: int = getattr(obj, f"{last}_id")
    return unit_id


def permitted(queryset: QuerySet[Any], user: Any, permission: str) -> QuerySet[Any]:
    if not _may_act(user):
        return queryset.none()
    resource = resources[permission.partition(":")[0]]
    if queryset.model is not resource.model:
        return queryset.none()
    held = _assignments(user, permission)
    if resource.own:
        queryset = queryset.filter(**{resource.own: user})
    if not resource.unit:
        return queryset.filter(Q(Exists(held.filter(unit__parent=None))))
    reached = UnitPath.objects.filter(ancestor__in=held.values("unit")).values("descendant")
    return queryset.filter(**{f"{resource.unit}__in": reached})
