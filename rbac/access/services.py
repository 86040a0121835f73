"""Changing policies and zones, with a guard against shutting oneself out; trying a condition; the age of traces."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from opssight.kernel import facts
from opssight.kernel.actor import current_request
from opssight.kernel.errors import Refusal
from opssight.kernel.http import proved_address
from rbac.access import conditions, events, gate
from rbac.access.conditions import Answer, BadCondition
from rbac.access.gate import Court, RuleBook
from rbac.access.models import AccessTrace, Policy, Zone

KEEP_TRACES = timedelta(days=30)
# The way back: who is refused these can undo nothing.
WAY_BACK = ("policies:read", "policies:update", "admin:enter")


class SelfLockout(Refusal):
    """Saved like this, the rules would keep out the person who saves them."""


class ZoneInUse(Refusal):
    pass


# --- policies -----------------------------------------------------------------------------------------------------


@transaction.atomic
def save_policy(policy: Policy) -> Policy:
    """Write a new or changed policy. ValidationError names its fault; SelfLockout where it would shut the saver out."""
    change = "created" if policy._state.adding else "updated"
    policy.full_clean()
    check_policy(policy)
    policy.save()
    events.POLICY_CHANGED.emit(target=policy, change=change, **_summary(policy))
    gate.forget()
    return policy


def check_policy(policy: Policy) -> None:
    """SelfLockout where it would shut the saver out."""
    refuse_lockout(gate.load().with_policy(policy))


@transaction.atomic
def delete_policy(policy: Policy) -> None:
    """Remove it. Also this can shut out: of two `allow` policies the one that holds."""
    refuse_lockout(gate.load().without_policy(policy))
    events.POLICY_CHANGED.emit(target=policy, change="deleted", **_summary(policy))
    policy.delete()
    gate.forget()


@transaction.atomic
def disable_policies(names: list[str] | None = None) -> list[str]:
    """Switch off the named policies, or all: the way out from the server's own shell. Returns those that were on."""
    rows = Policy.objects.enabled().select_for_update()
    disabled = []
    for policy in rows if names is None else rows.filter(name__in=names):
        policy.enabled = False
        policy.save(update_fields=["enabled"])
        events.POLICY_CHANGED.emit(target=policy, change="disabled", **_summary(policy))
        disabled.append(policy.name)
    gate.forget()
    return disabled


def _summary(policy: Policy) -> dict[str, Any]:
    return {"effect": policy.effect, "covers": policy.covered, "enabled": policy.enabled}


def refuse_lockout(book: RuleBook) -> None:
    """SelfLockout where these rules deny the way back in the very request that saves them, and today's do not.

    Without a request nobody is shut out: commands are not gated.
    """
    request = current_request()
    if request is None:
        return
    address = proved_address(request)
    then = Court(book, lambda name: book.zones_of(address) if name == "zone" else facts.read(name))
    now = gate.court()
    for permission in WAY_BACK:
        verdict = then.judge(permission)
        if verdict.outcome == gate.Outcome.DENY and now.judge(permission).outcome != gate.Outcome.DENY:
            raise SelfLockout(
                f"This would refuse {permission} to you from now on, by “{verdict.policy}”, and you could not undo it. "
                "Let its condition leave a way in for where you are now."
            )


# --- zones --------------------------------------------------------------------------------------------------------


def policies_using(name: str) -> list[str]:
    """The policies, enabled or not, whose condition names this zone."""
    known = list(Zone.objects.values_list("name", flat=True))
    rows = Policy.objects.order_by("name").values_list("name", "condition")
    return [policy for policy, condition in rows if name in conditions.zones_used(condition, known)]


@transaction.atomic
def save_zone(zone: Zone) -> Zone:
    """Write a new or changed zone. A zone keeps its name while policies use it."""
    change = "created" if zone._state.adding else "updated"
    zone.full_clean()
    check_zone(zone)
    zone.save()
    events.ZONE_CHANGED.emit(target=zone, change=change, networks=zone.networks)
    gate.forget()
    return zone


def check_zone(zone: Zone) -> None:
    """ValidationError for a new name that policies don't know; SelfLockout where its networks shut the saver out."""
    if not zone._state.adding:
        before = Zone.objects.get(pk=zone.pk).name
        if before != zone.name and (using := policies_using(before)):
            raise ValidationError({"name": f"It is used as {before} by: {', '.join(using[:5])}."})
    refuse_lockout(gate.load().with_zone(zone))


@transaction.atomic
def delete_zone(zone: Zone) -> None:
    """ZoneInUse while a policy names it: without it the policy could not be read, and would refuse."""
    if using := policies_using(zone.name):
        raise ZoneInUse(f"The zone {zone.name} is used by: {', '.join(using[:5])}. Change these policies first.")
    events.ZONE_CHANGED.emit(target=zone, change="deleted", networks=zone.networks)
    zone.delete()
    gate.forget()


# --- trying, and traces -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    answer: Answer
    facts: dict[str, Any]


def try_condition(condition: Any) -> Trial:
    """What a condition would say in this request, and every fact of it. ValidationError names its fault."""
    book = gate.court().book
    try:
        tree = conditions.compiled(condition, book.known_zones)
    except BadCondition as error:
        raise ValidationError({"condition": f"{error}."}) from None
    return Trial(conditions.evaluate(tree, facts.read), conditions.facts_read(facts.read, facts.registry))


def purge_traces() -> int:
    return AccessTrace.purge(before=timezone.now() - KEEP_TRACES)
