"""One rule set in two forms: `decide` for one question, `permitted` for the rows of a query.

The rule: a valid assignment, held directly or through a group, of a role with the permission (its own or a parent's),
at the object's unit or above it; or a valid grant on the one object. A deny at the object's unit or above it beats all
of them. An object without a unit is reached from the root only, an own object by its owner only. What no rule allows
is denied; and what they allow, a policy may still refuse in this request (`rbac.access.gate`).
"""

from typing import Any

from django.db.models import Model, Q, QuerySet
from django.utils import timezone

from accounts.models import User
from opssight.kernel.access import Decision, Resource, grant_tables, resources
from rbac.access.factors import factor_needed, unmet
from rbac.access.gate import gate, is_asked
from rbac.holdings import Deny, Grant, Holdings, holdings
from rbac.models import RoleAssignment

__all__ = ["decide", "factor_needed", "permitted", "who_can_grant"]

NOBODY = Decision(False, ("nobody is signed in, or the account is not active",))


def decide(user: Any, permission: str, obj: Model | None, context: dict[str, Any]) -> Decision:
    if not _may_act(user):
        return NOBODY
    decision = answer(user, holdings(user), permission, obj)
    barred = _barred(user, permission) if decision.allowed else decision
    return decision if barred.allowed else barred


def _barred(user: Any, permission: str) -> Decision:
    """PASSED, or why this request may not do what roles allow: a policy refuses, or the second factor is too weak."""
    barred = gate(user, permission)
    if not barred.allowed or not is_asked(user, permission):
        return barred
    return unmet(user) or barred


def answer(user: Any, held: Holdings, permission: str, obj: Model | None) -> Decision:
    """The decision on what was read; without an object, whether there is any object it could hold for."""
    resource = resources[permission.partition(":")[0]]
    grants, denies = held.for_permission(permission), held.denies_of(permission)
    if obj is None:
        return _anywhere(user, held, resource, permission, grants, denies)
    if type(obj) is not resource.model:
        return Decision(False, (f"{permission} is not about {obj._meta.verbose_name}",))
    if resource.own and getattr(obj, f"{resource.own}_id") != user.pk:
        return Decision(False, (f"{permission} is about one's own, and this is somebody else's",))
    unit = unit_id(obj, resource)
    if refusing := [deny for deny in denies if held.reaches(deny.place, unit)]:
        return Decision(False, tuple(map(str, refusing)))
    if reaching := [grant for grant in grants if held.reaches(grant.place, unit)]:
        return Decision(True, tuple(map(str, reaching)))
    if _has_object_grants(held, resource) and (told := object_grants(user, permission, resource, obj)):
        return Decision(True, tuple(told))
    return Decision(False, (f"no role or grant gives {permission} here",))


def _may_act(user: Any) -> bool:
    return bool(user is not None and user.is_authenticated and user.is_active)


def _anywhere(
    user: Any, held: Holdings, resource: Resource, permission: str, grants: list[Grant], denies: list[Deny]
) -> Decision:
    """Whether it is worth asking further. A deny at the root closes everything; one below it only a part."""
    if closed := [deny for deny in denies if deny.place.at_root]:
        return Decision(False, tuple(map(str, closed)))
    if resource.model is not None and not resource.unit:
        grants = [grant for grant in grants if grant.place.at_root]
    denied = held.reached(denies)
    grants = [grant for grant in grants if grant.place.at_root or grant.place.unit not in denied]
    if grants:
        return Decision(True, tuple(map(str, grants)))
    if _has_object_grants(held, resource) and object_grants(user, permission, resource, None):
        return Decision(True, ("a grant on single objects",))
    return Decision(False, (f"no role or grant gives {permission}",))


def unit_id(obj: Model, resource: Resource) -> int | None:
    """Follow "asset__unit" from the object to the id of its unit."""
    if not resource.unit:
        return None
    *steps, last = resource.unit.split("__")
    place: Any = obj
    for step in steps:
        place = getattr(place, step)
    found: int | None = getattr(place, f"{last}_id")
    return found


# --- grants on single objects -------------------------------------------------------------------------------------


def _has_object_grants(held: Holdings, resource: Resource) -> bool:
    model = resource.granting_model
    return model is not None and model._meta.label_lower in held.granted_models


def _granted(user: Any, permission: str, resource: Resource) -> list[QuerySet[Any]]:
    """The valid rows for `user` that give `permission`: to them, and to their groups."""
    model = resource.granting_model
    if model is None or model not in grant_tables:
        return []
    now = timezone.now()
    to_users, to_groups = (table._default_manager.valid(at=now) for table in grant_tables[model])  # type: ignore[attr-defined]
    wanted = {"permission__codename": permission, "permission__content_type__app_label": model._meta.app_label}
    return [to_users.filter(user=user, **wanted), to_groups.filter(group__user=user, **wanted)]


def object_grants(user: Any, permission: str, resource: Resource, obj: Model | None) -> list[str]:
    """Reasons from single-object grants, on the object that carries them for `obj`, or on any."""
    for rows in _granted(user, permission, resource):
        if obj is not None:
            carrier = obj.pk if resource.granted_on == "pk" else getattr(obj, f"{resource.granted_on}_id")
            rows = rows.filter(content_object=carrier)
        for row in rows.select_related("content_object").order_by("pk")[:1]:  # the first is enough of a reason
            ends = f", until {row.valid_until:%Y-%m-%d %H:%M} UTC" if row.valid_until else ""
            return [f"a grant on {row.content_object} alone{ends}: {row.reason}"]
    return []


# --- rows ---------------------------------------------------------------------------------------------------------


def permitted(queryset: QuerySet[Any], user: Any, permission: str) -> QuerySet[Any]:
    resource = resources[permission.partition(":")[0]]
    if queryset.model is not resource.model or not _may_act(user):
        return queryset.none()
    held = holdings(user)
    grants, denies = held.for_permission(permission), held.denies_of(permission)
    if any(deny.place.at_root for deny in denies) or not _barred(user, permission).allowed:
        return queryset.none()
    if resource.own:
        queryset = queryset.filter(**{resource.own: user})
    if not any(grant.place.at_root for grant in grants):  # from the root everything is reached, without a condition
        reached = _reached(user, held, resource, permission, grants)
        if reached is None:
            return queryset.none()
        queryset = queryset.filter(reached)
    if resource.unit and denies:
        queryset = queryset.exclude(**{f"{resource.unit}__in": held.reached(denies)})
    return queryset


def _reached(user: Any, held: Holdings, resource: Resource, permission: str, grants: list[Grant]) -> Q | None:
    """At or below a unit of a grant, or granted singly; None where neither can be."""
    reached = Q()
    if grants and resource.unit:
        reached |= Q(**{f"{resource.unit}__in": held.reached(grants)})
    if _has_object_grants(held, resource):
        # One list of both tables: two of them, joined by OR, made PostgreSQL read every row.
        direct, shared = (rows.order_by().values("content_object_id") for rows in _granted(user, permission, resource))
        reached |= Q(**{f"{resource.granted_on}__in": direct.union(shared, all=True)})
    return reached or None


# --- who can give -------------------------------------------------------------------------------------------------


def who_can_grant(permission: str) -> list[str]:
    """Up to three active people who assign roles for the whole organisation."""
    rows = RoleAssignment.objects.valid(at=timezone.now()).filter(
        unit__parent=None, role__effects__permission="assignments:create"
    )
    people = User.objects.people().filter(Q(assignments__in=rows) | Q(groups__assignments__in=rows))
    return [str(person) for person in people.distinct().order_by("pk")[:3]]
