"""Which deadline holds in a unit, and changing that."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from django.db import transaction

from opssight.kernel.errors import Refusal
from rbac.models import Unit, UnitPath
from scanning.sla import events
from scanning.sla.models import WORDS, Renewal, SlaPolicy

Hours = Mapping[int, int | None]
BUILT_IN: Hours = {4: 24, 3: 7 * 24, 2: 30 * 24, 1: 90 * 24, 0: None}


class PolicyExists(Refusal):
    status = 409


def policies_in(units: Iterable[int]) -> dict[int, SlaPolicy | None]:
    """The policy in force in each unit: its own, or that of the nearest unit above that has one. Two queries."""
    wanted = dict.fromkeys(units)
    paths = UnitPath.objects.filter(descendant__in=wanted).order_by("-depth").values_list("descendant", "ancestor")
    policies = {policy.unit_id: policy for policy in SlaPolicy.objects.select_related("unit")}
    nearest: dict[int, SlaPolicy | None] = dict.fromkeys(wanted)
    for unit, ancestor in paths:  # the farthest first, so that the nearest is what stays
        if ancestor in policies:
            nearest[unit] = policies[ancestor]
    return nearest


def hours_in(units: Iterable[int]) -> dict[int, Hours]:
    """Hours by severity in each unit."""
    return {unit: policy.hours() if policy else BUILT_IN for unit, policy in policies_in(units).items()}


def hours_of(unit: int) -> Hours:
    return hours_in([unit])[unit]


def due_at(hours: Hours, severity: int, found: datetime) -> datetime | None:
    """When a finding must be fixed, of which the clock began at `found`; None is never."""
    allowed = hours.get(severity)
    return None if allowed is None else found + timedelta(hours=allowed)


def began(hours: Hours, severity: int, due: datetime | None) -> datetime | None:
    """When the clock of a deadline began, by what holds today; None where that can't be told."""
    allowed = hours.get(severity)
    return due - timedelta(hours=allowed) if due and allowed else None


@transaction.atomic
def save_policy(policy: SlaPolicy) -> SlaPolicy:
    """Write a new or changed policy; a job gives the findings below its unit their new deadlines.

    ValidationError names its fault; PolicyExists where the unit has another.
    """
    change = "created" if policy._state.adding else "updated"
    Unit.objects.select_for_update().get(pk=policy.unit_id)
    if SlaPolicy.objects.filter(unit=policy.unit_id).exclude(pk=policy.pk).exists():
        raise PolicyExists(f"{policy.unit} has deadlines of its own already: change those.")
    policy.full_clean()
    policy.save()
    _told(policy, change)
    return policy


@transaction.atomic
def delete_policy(policy: SlaPolicy) -> None:
    """From now on, what holds above its unit holds in it."""
    _told(policy, "deleted")
    policy.delete()


def _told(policy: SlaPolicy, change: str) -> None:
    told = {word: getattr(policy, word) for word in WORDS}
    events.POLICY_CHANGED.emit(target=policy, change=change, unit=policy.unit.name, **told)
    Renewal.objects.create(unit=policy.unit).dispatch()
