"""One rule set in two forms: `decide` for one question, `permitted` for the rows of a query.

The rule: a valid assignment, held directly or through a group, of a role with the permission, at the object's unit
or above it. An object without a unit is reached from the root only, an own object by its owner only.

What a user holds is read once a request, in one query: an answer never outlives the request it was given in.
"""

from dataclasses import dataclass
from typing import Any

from django.db.models import Model, QuerySet
from django.utils import timezone

from opssight.kernel.access import Decision, Resource, resources
from opssight.kernel.actor import request_memory
from rbac.models import RoleAssignment, UnitPath


@dataclass(frozen=True)
class Grant:
    """One permission at one unit, and where it comes from."""

    unit: int
    at_root: bool
    role: str
    unit_name: str
    group: str | None

    def __str__(self) -> str:
        return f"role {self.role} at {self.unit_name}" + (f", through group {self.group}" if self.group else "")


def grants(user: Any) -> dict[str, list[Grant]]:
    """What `user` holds now, by permission; the wider grants come first."""
    memory = request_memory()
    key = ("rbac.grants", user.pk)
    if key in memory:
        kept: dict[str, list[Grant]] = memory[key]
        return kept
    rows = (
        RoleAssignment.objects.of(user)
        .valid(at=timezone.now())
        .order_by()
        .values_list(
            "role__permissions__permission", "unit_id", "unit__parent_id", "role__name", "unit__name", "group__name"
        )
    )
    found: dict[str, list[Grant]] = {}
    for permission, unit, parent, role, unit_name, group in rows:
        found.setdefault(permission, []).append(Grant(unit, parent is None, role, unit_name, group))
    for held in found.values():
        held.sort(key=lambda grant: not grant.at_root)
    memory[key] = found
    return found


def _held(user: Any, permission: str) -> list[Grant]:
    if user is None or not user.is_authenticated or not user.is_active:
        return []
    return grants(user).get(permission, [])


def decide(user: Any, permission: str, obj: Model | None, context: dict[str, Any]) -> Decision:
    resource, held = resources[permission.partition(":")[0]], _held(user, permission)
    if not held:
        return Decision(False, (f"no role gives you {permission}",))
    if obj is None:
        # Whether it is worth asking further: at some unit, or for what has none, at the root.
        reached = held if resource.unit or resource.model is None else [grant for grant in held if grant.at_root]
    elif type(obj) is not resource.model:
        return Decision(False, (f"{permission} is not about {obj._meta.verbose_name}",))
    elif resource.own and getattr(obj, f"{resource.own}_id") != user.pk:
        return Decision(False, (f"{permission} is about one's own, and this is somebody else's",))
    else:
        reached = _reaching(held, obj, resource)
    if not reached:
        return Decision(False, (f"no role gives you {permission} here",))
    return Decision(True, (str(reached[0]),))


def _reaching(held: list[Grant], obj: Model, resource: Resource) -> list[Grant]:
    """The grants at the object's unit or above it."""
    if held[0].at_root:
        return held[:1]
    if not resource.unit:
        return []
    *steps, last = resource.unit.split("__")
    place: Any = obj
    for step in steps:
        place = getattr(place, step)
    unit = getattr(place, f"{last}_id")
    above = set(UnitPath.objects.filter(descendant=unit).values_list("ancestor_id", flat=True))
    return [grant for grant in held if grant.unit in above]


def permitted(queryset: QuerySet[Any], user: Any, permission: str) -> QuerySet[Any]:
    resource, held = resources[permission.partition(":")[0]], _held(user, permission)
    if not held or queryset.model is not resource.model:
        return queryset.none()
    if resource.own:
        queryset = queryset.filter(**{resource.own: user})
    if held[0].at_root:  # there is one root, and everything is below it
        return queryset
    if not resource.unit:
        return queryset.none()
    reached = UnitPath.objects.filter(ancestor__in={grant.unit for grant in held}).values("descendant")
    return queryset.filter(**{f"{resource.unit}__in": reached})
