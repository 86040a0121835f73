"""What the claims of a person mean for the groups they are in. Roles are given to groups, elsewhere."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import Group
from django.db import transaction

from accounts.sso import events
from accounts.sso.models import ClaimRule, Identity, Membership


def values_of(claims: dict[str, Any], name: str) -> set[str]:
    """Of the claim with this name, or of one inside another where it has dots; of a list each."""
    found: Any = claims.get(name)
    if found is None and "." in name:
        found = claims
        for step in name.split("."):
            found = found.get(step) if isinstance(found, dict) else None
    return {value for value in (found if isinstance(found, list) else [found]) if isinstance(value, str)}


def groups_by(rules: Iterable[ClaimRule], claims: dict[str, Any]) -> set[Group]:
    return {rule.group for rule in rules if rule.value in values_of(claims, rule.claim)}


@dataclass(frozen=True)
class Change:
    gained: set[Group]
    lost: set[Group]

    def __bool__(self) -> bool:
        return bool(self.gained or self.lost)


def change_for(identity: Identity, claims: dict[str, Any] | None, *, rehearsal: bool = False) -> Change:
    """What the rules would change, those that are not enabled included where it is a rehearsal. A place in a group that
    was given by hand is neither given again nor taken."""
    rules = ClaimRule.objects.filter(provider=identity.provider_id).select_related("group")
    if not rehearsal:
        rules = rules.filter(is_enabled=True)
    wanted = set() if claims is None else groups_by(rules, claims)
    managed = {place.group for place in identity.memberships.select_related("group")}
    there = set(identity.user.groups.all())
    return Change(gained=wanted - there, lost=(managed & there) - wanted)


@transaction.atomic
def apply_rules(identity: Identity, claims: dict[str, Any] | None) -> Change:
    """Whoever joins or leaves a group has all other sessions ended, as by hand."""
    change = change_for(identity, claims)
    if change:
        user = identity.user
        if change.gained:
            user.groups.add(*change.gained)
        if change.lost:
            user.groups.remove(*change.lost)
        identity.memberships.filter(group__in=change.lost).delete()
        Membership.objects.bulk_create(Membership(identity=identity, group=group) for group in change.gained)
        events.GROUPS_CHANGED.emit(
            target=user,
            provider=identity.provider.slug,
            gained=sorted(group.name for group in change.gained),
            lost=sorted(group.name for group in change.lost),
        )
    return change
