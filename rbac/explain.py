"""Why somebody may or may not: the path to a yes, and for a no what came close and what would change it."""

import uuid
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Model, Q
from django.utils import timezone

from accounts.models import User
from opssight.kernel.access import decide, is_registered, resources
from opssight.kernel.errors import Refusal
from rbac import grants
from rbac.access.gate import conditions_on
from rbac.decide import unit_id, who_can_grant
from rbac.holdings import read_holdings
from rbac.models import DenyRule, RoleAssignment, RoleEffect, Unit, UnitPath


class NothingToExplain(Refusal):
    """The question names a permission or an object that does not exist."""

    status = 400


class NoSuchObject(NothingToExplain):
    status = 404


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
        misses = [
            *_inactive(user),
            *_dated(user, permission, now),
            *_dated_grants(user, permission, obj, now),
            *_elsewhere(user, permission, place),
        ]
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


def find_object(text: str, permission: str, *, asker: Any = None) -> Model | None:
    """The object that `text` names: its uid, or resource/uid. Raises NothingToExplain where there is none, and where it
    is out of the asker's sight: an explanation must not tell of one."""
    if not text:
        return None
    name, _, uid = text.rpartition("/")
    resource = resources.get(name or permission.partition(":")[0])
    if resource is None or resource.model is None:
        raise NothingToExplain(f"{permission} is not about single objects; leave the object out.")
    try:
        found = resource.model._default_manager.filter(uid=uuid.UUID(uid)).first()
    except ValueError:
        raise NothingToExplain(f"{text!r} is no uid.") from None
    if found is None or (asker is not None and not _sees(asker, found)):
        raise NoSuchObject(f"There is no object {uid} of {resource.name}.")
    return found


def _sees(asker: Any, obj: Model) -> bool:
    return any(
        decide(asker, f"{resource.name}:read", obj).allowed
        for resource in resources.values()
        if resource.model is type(obj) and "read" in resource.actions
    )


@dataclass(frozen=True)
class Held:
    """One permission that somebody holds, or is denied, and where it comes from. `at` is a unit, or one object."""

    permission: str
    denied: bool
    at: str
    role: str = ""
    via: str = ""
    group: str = ""
    until: datetime | None = None
    reason: str = ""


def effective(user: User) -> list[Held]:
    """Everything that `user` holds now with its origin: denies, which beat the rest, roles, single objects."""
    now = timezone.now()
    held = read_holdings(user, at=now)
    denied = [
        Held(rule.permission, True, str(rule.unit), group=_name(rule.group), until=rule.valid_until, reason=rule.reason)
        for rule in DenyRule.objects.of(user).valid(at=now).select_related("unit", "group").order_by("permission", "pk")
    ]
    by_role = [
        Held(permission, False, place.unit_name, role, via, place.group or "", place.until)
        for permission in held.permissions()
        for _, role, via, place in held.for_permission(permission)
    ]
    singly = [
        Held(
            grant.permission.codename, False, f"{grant.content_object} alone", until=grant.valid_until,
            group=_name(getattr(grant, "group", None)), reason=grant.reason,
        )
        for grant in grants.held_by(user, at=now)
    ]  # fmt: skip
    return [*denied, *by_role, *singly]


def _name(group: Any) -> str:
    return group.name if group is not None else ""


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


def _dated(user: User, permission: str, now: datetime) -> list[str]:
    rows = _giving(user, permission).exclude(Q(valid_from__lte=now) & (Q(valid_until=None) | Q(valid_until__gt=now)))
    return [f"role {row.role} at {row.unit} {_when(row, now)}" for row in rows]


def _dated_grants(user: User, permission: str, obj: Model | None, now: datetime) -> list[str]:
    """Grants on this one object that have ended, or not begun."""
    resource = resources[permission.partition(":")[0]]
    if obj is None or type(obj) is not resource.model or resource.granting_model is None:
        return []
    carrier = obj if resource.granted_on == "pk" else getattr(obj, resource.granted_on)
    about = {"permission__codename": permission, "content_object": carrier}
    rows = [row for given in grants.given_to(user, resource.granting_model) for row in given.filter(**about)]
    return [f"a grant on {carrier} alone {_when(row, now)}" for row in rows if not row.holds(at=now)]


def _when(row: Any, now: datetime) -> str:
    moment, at = ("begins", row.valid_from) if row.valid_from > now else ("ended", row.valid_until)
    return f"{moment} {at:%Y-%m-%d %H:%M} UTC"


def _elsewhere(user: User, permission: str, place: Unit | None) -> list[str]:
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
