"""One rule set in two forms: `decide` for one question, `permitted` for the rows of a query.

The rule: a valid assignment, held directly or through a group, of a role with the permission (its own or a parent's),
at the object's unit or above it; or a valid grant on the one object. A deny at the object's unit or above it beats all
of them. An object without a unit is reached from the root only, an own object by its owner only. What no rule allows
is denied; and what they allow, a policy may still refuse in this request (`rbac.access.gate`).
"""

from typing import Any

from django.db.models import ForeignKey, Lookup, Model, Q, QuerySet
from django.utils import timezone

from accounts.models import User
from opssight.kernel.access import Decision, Resource, grant_tables, resource_of, resources, rollups
from rbac.access.factors import factor_needed, unmet
from rbac.access.gate import gate, is_asked
from rbac.holdings import Deny, Grant, Holdings, holdings, object_grant
from rbac.models import RoleAssignment, Unit

__all__ = ["covers", "decide", "factor_needed", "holds", "permitted", "who_can_grant"]

NOBODY = Decision(False, ("nobody is signed in, or the account is not active",))


def decide(user: Any, permission: str, obj: Model | None, context: dict[str, Any]) -> Decision:
    if not _may_act(user):
        return NOBODY
    decision = answer(user, holdings(user), permission, obj)
    barred = _barred(user, permission) if decision.allowed else decision
    return decision if barred.allowed else barred


def holds(user: Any, permission: str) -> bool:
    return _may_act(user) and answer(user, holdings(user), permission, None).allowed


def _barred(user: Any, permission: str) -> Decision:
    """PASSED, or why this request may not do what roles allow: a policy refuses, or the second factor is too weak."""
    barred = gate(user, permission)
    if not barred.allowed or not is_asked(user, permission):
        return barred
    return unmet(user) or barred


def answer(user: Any, held: Holdings, permission: str, obj: Model | None) -> Decision:
    """The decision on what was read; without an object, whether there is any object it could hold for."""
    resource = resource_of(permission, None if obj is None else type(obj))
    grants, denies = held.for_permission(permission), held.denies_of(permission)
    if obj is None:
        return _anywhere(held, resource, permission, grants, denies)
    if type(obj) is not resource.model:
        return Decision(False, (f"{permission} is not about {obj._meta.verbose_name}",))
    if resource.own and getattr(obj, f"{resource.own}_id") != user.pk:
        return Decision(False, (f"{permission} is about one's own, and this is somebody else's",))
    unit = unit_id(obj, resource)
    if refusing := [deny for deny in denies if held.reaches(deny.place, unit)]:
        return Decision(False, tuple(map(str, refusing)))
    if reaching := [grant for grant in grants if held.reaches(grant.place, unit)]:
        return Decision(True, tuple(map(str, reaching)))
    if permission in held.granted and (told := _granted_singly(user, permission, resource, obj)):
        return Decision(True, (told,))
    return Decision(False, (f"no role or grant gives {permission} here",))


def _may_act(user: Any) -> bool:
    return bool(user is not None and user.is_authenticated and user.is_active)


def _anywhere(held: Holdings, resource: Resource, permission: str, grants: list[Grant], denies: list[Deny]) -> Decision:
    """Whether it is worth asking further. A deny at the root closes everything; one below it only a part."""
    if closed := [deny for deny in denies if deny.place.at_root]:
        return Decision(False, tuple(map(str, closed)))
    if resource.model is not None and not resource.unit:
        grants = [grant for grant in grants if grant.place.at_root]
    denied = held.reached(denies)
    grants = [grant for grant in grants if grant.place.at_root or grant.place.unit not in denied]
    if grants:
        return Decision(True, tuple(map(str, grants)))
    if permission in held.granted:
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


def _granted_singly(user: Any, permission: str, resource: Resource, obj: Model) -> str | None:
    """The reason from a grant on the object that carries them for `obj`, if there is one."""
    model = resource.granting_model
    if model is None:
        return None
    carrier = obj if resource.granted_on == "pk" else getattr(obj, resource.granted_on)
    told = object_grant(user, permission, model, carrier.pk)
    return None if told is None else f"a grant on {carrier} alone{told}"


def _granted_objects(user: Any, permission: str, resource: Resource) -> QuerySet[Any]:
    """The ids of the objects on which a valid grant gives `permission` to `user` or to a group of theirs."""
    assert resource.granting_model is not None
    now = timezone.now()
    tables: Any = grant_tables[resource.granting_model]
    wanted = {"permission__codename": permission}
    to_users, to_groups = (
        table._default_manager.valid(at=now).filter(**wanted).order_by().values("content_object_id") for table in tables
    )
    # One list of both tables: two of them, joined by OR, made PostgreSQL read every row.
    ids: QuerySet[Any] = to_users.filter(user=user).union(to_groups.filter(group__user=user), all=True)
    return ids


# --- rows ---------------------------------------------------------------------------------------------------------


@ForeignKey.register_lookup
class Among(Lookup):
    """`unit__among={1, 2}`: IN, with the ids written into the SQL. As sixty parameters they cost as much as a page."""

    lookup_name = "among"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        left, values = self.process_lhs(compiler, connection)
        ids: set[int] = self.rhs
        return f"{left} IN ({', '.join(f'{number:d}' for number in sorted(ids))})", values


def permitted(queryset: QuerySet[Any], user: Any, permission: str) -> QuerySet[Any]:
    resource = resource_of(permission, queryset.model)
    is_of_it = queryset.model is resource.model or rollups.get(queryset.model) == resource.name
    if not is_of_it or not _may_act(user):
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
        queryset = queryset.exclude(**{f"{resource.unit}__among": held.reached(denies)})
    return queryset


def _reached(user: Any, held: Holdings, resource: Resource, permission: str, grants: list[Grant]) -> Q | None:
    """At or below a unit of a grant, or granted singly; None where neither can be."""
    reached = Q()
    if grants and resource.unit:
        reached |= Q(**{f"{resource.unit}__among": held.reached(grants)})
    if permission in held.granted:
        reached |= Q(**{f"{resource.granted_on}__in": _granted_objects(user, permission, resource)})
    return reached or None


# --- acting as another ---------------------------------------------------------------------------------------------


def covers(user: Any, other: Any, permission: str) -> bool:
    mine, theirs = holdings(user), holdings(other)
    reached = _places(mine, permission)
    if not _places(theirs, permission) <= reached:
        return False
    resource = resource_of(permission, None)
    if permission not in theirs.granted or resource.granting_model is None:
        return True
    objects: Any = resource.granting_model._default_manager.filter(
        pk__in=_granted_objects(other, permission, resource)
    ).exclude(pk__in=_granted_objects(user, permission, resource))
    (carrier,) = (r for r in resources.values() if r.model is resource.granting_model and r.granted_on == "pk")
    return all(unit_id(obj, carrier) in reached for obj in objects)


def _places(held: Holdings, permission: str) -> set[int | None]:
    """The ids of the units at which a role gives it and no deny takes it away; None among them for what has no unit."""
    grants, denies = held.for_permission(permission), held.denies_of(permission)
    if any(deny.place.at_root for deny in denies):
        return set()
    if any(grant.place.at_root for grant in grants):
        reached: set[int | None] = {None, *Unit.objects.values_list("pk", flat=True)}
    else:
        reached = set(held.reached(grants))
    return reached - held.reached(denies)


# --- who can give -------------------------------------------------------------------------------------------------


def who_can_grant(permission: str) -> list[str]:
    """Up to three active people who assign roles for the whole organisation."""
    rows = RoleAssignment.objects.valid(at=timezone.now()).filter(
        unit__parent=None, role__effects__permission="assignments:create"
    )
    people = User.objects.people().filter(Q(assignments__in=rows) | Q(groups__assignments__in=rows))
    return [str(person) for person in people.distinct().order_by("pk")[:3]]
