"""What the claims of a person mean for the groups they are in. Roles are given to groups, elsewhere."""

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import Group
from django.db import transaction

from accounts.sso import events
from accounts.sso.models import ClaimRule, Identity, Membership, Provider
from opssight.kernel.crypto import Undecryptable

log = logging.getLogger("opssight.sso")


def claims_of(identity: Identity) -> dict[str, Any] | None:
    """As last seen; None where no key reads them, which proves no place in any group."""
    try:
        return dict(json.loads(identity.claims))
    except Undecryptable as error:
        log.error("%s: %s", identity, error)
        return None


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


def rehearsal(provider: Provider, given: dict[str, Any] | None = None) -> list[str]:
    """In words, what all rules of the provider would change for those it knows, by the claims last seen of each; or for
    somebody with these claims."""
    rules = list(ClaimRule.objects.filter(provider=provider).select_related("group"))
    if given is not None:
        return [f"in {group.name}" for group in sorted(groups_by(rules, given), key=str)]
    told = []
    for identity in provider.identities.select_related("user", "provider").order_by("user__email"):
        claims = claims_of(identity)
        if claims is None:
            told.append(f"{identity.user.email}: what was claimed last can't be read")
        elif change := change_for(identity, claims, rehearsal=True):
            gained, lost = (", ".join(sorted(map(str, some))) for some in (change.gained, change.lost))
            told.append(
                f"{identity.user.email}" + (f" joins {gained}" if gained else "") + (f" leaves {lost}" if lost else "")
            )
    return told
