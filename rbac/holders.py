"""Who holds a permission where: the question of `decide`, asked from the other side."""

from collections import defaultdict
from collections.abc import Callable, Iterable

from django.contrib.auth import get_user_model
from django.utils import timezone

from accounts.models import User
from rbac.models import Role, RoleAssignment, UnitPath

MOST = 50


def nearest_holders(permission: str, units: Iterable[int], may: Callable[[User, int], bool]) -> dict[int, list[User]]:
    """For each unit the people whose role gives `permission` there: those assigned at the unit itself, or, where nobody
    is, at the nearest unit above that has some. At most MOST, who hold it longest. `may` has the last word on each.
    """
    wanted = list(dict.fromkeys(units))
    paths = UnitPath.objects.filter(descendant__in=wanted).order_by("depth").values_list("descendant", "ancestor")
    above: dict[int, list[int]] = defaultdict(list)
    for unit, ancestor in paths:
        above[unit].append(ancestor)
    assigned = _assigned(permission, {ancestor for places in above.values() for ancestor in places})
    found: dict[int, list[User]] = {}
    for unit in wanted:
        levels = ([person for person in assigned[place] if may(person, unit)] for place in above[unit])
        found[unit] = next((people for people in levels if people), [])[:MOST]
    return found


def _assigned(permission: str, units: set[int]) -> dict[int, list[User]]:
    """By unit the active people whom a valid assignment there gives it, directly or through a group. Three queries."""
    rows = RoleAssignment.objects.valid(at=timezone.now()).filter(
        unit__in=units, role__in=Role.objects.filter(effects__permission=permission)
    )
    held = list(rows.order_by("valid_from", "pk").values_list("unit", "user", "group"))
    groups: dict[int, list[int]] = defaultdict(list)
    membership = get_user_model().groups.through._default_manager
    of_groups = membership.filter(group__in={group for *_, group in held if group}).order_by("pk")
    for group, user in of_groups.values_list("group", "user"):
        groups[group].append(user)
    ids = {user for _, user, _ in held if user}.union(*groups.values())
    people = {person.pk: person for person in User.objects.people().filter(pk__in=ids)}
    found: dict[int, dict[int, User]] = defaultdict(dict)
    for unit, user, group in held:
        for pk in [user] if user else groups[group]:
            if pk in people:
                found[unit][pk] = people[pk]
    return defaultdict(list, {unit: list(persons.values()) for unit, persons in found.items()})
