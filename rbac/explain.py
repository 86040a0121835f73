"""Why somebody may or may not: the path to a yes, and for a no what came close and what would change it."""

import uuid
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Model, Q
from django.utils import timezone

from accounts.models import User
from opssight.kernel.access import decide, is_registered, resources
from opssight.kernel.errors import Refusal
from rbac.access.gate import conditions_on
from rbac.decide import unit_id, who_can_grant
from rbac.holdings import Grant, read_holdings
from rbac.models import RoleAssignment, RoleEffect, Unit, UnitPath


class NothingToExplain(Refusal):
    """The question names a permission or an object that does not exist."""

    status = 400


@dataclass(frozen=True)
class Explanation:
    """`reasons` lead to the answer; `near_misses` came close; `would_change` says what to do; `conditions` are the
    policies that may refuse it by the request it is made in."""

    allowed: bool
    account: str
    permission: str
    object: str
    reasons: list[str] = field(default_factory=list)
    near_misses: list[str] = field(default_factory=list)
    would_change: list[str] = field(default_factory=list)
    obligations: list[str] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def explain(user: User, permission: str, obj: Model | None = None) -> Explanation:
    """Answer by the very function that decides, then look around it."""
    if not is_registered(permission):
        raise NothingToExplain(f"{permission!r} is no permission. It reads resource:action, such as findings:read.")
    now = timezone.now()
    decision = decide(user, permission, obj)
    place = _unit_of(obj, permission)
    misses: list[str] = []
    changes: list[str] = []
    if decision.policy:
        changes = [
            "prove the second factor again" if decision.obligations else "a request that the policy lets through"
        ]
    elif not decision.allowed:
        misses = [*_inactive(user), *_dated(user, permission, place, now), *_elsewhere(user, permission, obj, place)]
        changes = _changes(user, permission, obj, place, decision.reasons)
    return Explanation(
        allowed=decision.allowed,
        account=user.email,
        permission=permission,
        object=str(obj) if obj is not None else "",
        reasons=[_with_path(reason, place) for reason in decision.reasons],
        near_misses=misses,
        would_change=changes,
        obligations=list(decision.obligations),
        conditions=conditions_on(permission),
    )


def find_object(text: str, permission: str) -> Model | None:
    """The object that `text` names: its uid, or resource/uid. Raises NothingToExplain where there is none."""
    if not text:
        return None
    name, _, uid = text.rpartition("/")
    resource = resources.get(name or permission.partition(":")[0])
    if resource is None or resource.model is None:
        raise NothingToExplain(f"{permission} is not about single objects; leave the object out.")
    try:
        found = resource.model._default_manager.filter(uid=uuid.UUID(uid)).first()
    except (ValueError, ValidationError):
        found = None
    if found is None:
        raise NothingToExplain(f"There is no object {text} of {resource.name}. Give its uid.")
    return found


def effective(user: User) -> list[Grant]:
    """Everything `user` holds now, with its origin, by permission and place."""
    held = read_holdings(user, at=timezone.now())
    return [grant for permission in held.permissions() for grant in held.for_permission(permission)]


def _unit_of(obj: Model | None, permission: str) -> Unit | None:
    resource = resources[permission.partition(":")[0]]
    if obj is None or not resource.unit or type(obj) is not resource.model:
        return None
    return Unit.objects.filter(pk=unit_id(obj, resource) or 0).first()


def _with_path(reason: str, place: Unit | None) -> str:
    """Add where the object sits, so that "at Payments" can be followed."""
    if place is None or not reason.startswith(("role ", "denied")):
        return reason
    rows = UnitPath.objects.filter(descendant=place).order_by("-depth").values_list("ancestor__name", flat=True)
    return f"{reason}; the object is in {' > '.join(rows)}"


def _inactive(user: User) -> list[str]:
    return [] if user.is_active else ["the account is not active"]


def _giving(user: User, permission: str) -> Any:
    """Assignments of roles with the permission, whatever their dates and place."""
    rows = RoleAssignment.objects.of(user).filter(role__effects__permission=permission)
    return rows.select_related("role", "unit", "group").distinct()


def _dated(user: User, permission: str, place: Unit | None, now: datetime) -> list[str]:
    told = []
    for row in _giving(user, permission).exclude(
        Q(valid_from__lte=now) & (Q(valid_until=None) | Q(valid_until__gt=now))
    ):
        moment = "begins" if row.valid_from > now else "ended"
        at = row.valid_from if row.valid_from > now else row.valid_until
        told.append(f"role {row.role} at {row.unit} {moment} {at:%Y-%m-%d %H:%M} UTC")
    return told


def _elsewhere(user: User, permission: str, obj: Model | None, place: Unit | None) -> list[str]:
    """Held, but not where the object is."""
    held = read_holdings(user, at=timezone.now()).for_permission(permission)
    if place is not None:
        above = set(UnitPath.objects.filter(descendant=place).values_list("ancestor_id", flat=True))
        return [f"{grant}, but the object is in {place}" for grant in held if grant.place.unit not in above]
    resource = resources[permission.partition(":")[0]]
    if not resource.unit and resource.model is not None:
        return [f"{grant}, but it counts at the organisation only" for grant in held if not grant.place.at_root]
    return []


def _changes(user: User, permission: str, obj: Model | None, place: Unit | None, reasons: tuple[str, ...]) -> list[str]:
    if not user.is_active:
        return ["activate the account"]
    told = [f"lift the deny ({reason.removeprefix('denied: ')})" for reason in reasons if reason.startswith("denied")]
    if not told:
        resource = resources[permission.partition(":")[0]]
        if resource.own and obj is not None:
            return ["nothing: the permission is about one's own objects"]
        roles = (
            RoleEffect.objects.filter(permission=permission).order_by("role__name").values_list("role__name", flat=True)
        )
        where = f"at {place} or above" if place else ("at some unit" if resource.unit else "at the organisation")
        told.append(f"a role that gives {permission} {where}: {', '.join(roles) or 'no role gives it'}")
        if obj is not None and resource.granted_on:
            told.append("a grant on this object alone")
    if people := who_can_grant(permission):
        told.append(f"ask {', '.join(people)}")
    return told
