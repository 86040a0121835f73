"""The one door: permissions are registered here, asked here, and answered by the decider the settings name.

`OPSSIGHT_DECIDER` is a module with `decide(user, action, obj, context)` and `permitted(queryset, user, action)`;
without one, everything is denied. Models and services ask here; views, API and admin through `kernel.guards`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from importlib import import_module
from typing import Any, Self, TypeVar, cast

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import models

from opssight.kernel.errors import Refusal
from opssight.kernel.events import register as register_event

ACCESS_DENIED = register_event("access:denied", severity="low", security=True)
STEP_UP_ASKED = register_event("access:step_up_asked", security=True)
STEP_UP = "step_up"  # the obligation: prove the second factor again
STEP_UP_VALID = timedelta(minutes=15)

M = TypeVar("M", bound=models.Model)


# --- the registry -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Resource:
    """What permissions exist on a kind of object, and how to find the unit it sits in.

    `unit` is the lookup from the model to its unit ("asset__unit"); "" means the object belongs to no unit, so that
    only an assignment at the root reaches it. Where `own` names the lookup to a user, the permissions are about that
    user's own objects and reach no others. `granted_on` is the lookup to the object whose single-object grants reach
    it too: "pk" for the object itself, "asset" for what belongs to an asset, "" for none.
    """

    name: str
    model: type[models.Model] | None
    actions: tuple[str, ...]
    unit: str = ""
    own: str = ""
    granted_on: str = ""

    @property
    def granting_model(self) -> type[models.Model] | None:
        """The model that carries the single-object grants for this resource."""
        if self.model is None or not self.granted_on:
            return None
        if self.granted_on == "pk":
            return self.model
        related: type[models.Model] = self.model._meta.get_field(self.granted_on).related_model  # type: ignore[assignment]
        return related


resources: dict[str, Resource] = {}


def register(
    name: str,
    model: type[models.Model] | None,
    actions: Iterable[str],
    *,
    unit: str = "",
    own: str = "",
    granted_on: str = "",
) -> Resource:
    """Register `name:action` for each action. A second registration of the name is a ValueError."""
    if name in resources:
        raise ValueError(f"resource {name} is registered twice")
    resources[name] = resource = Resource(name, model, tuple(actions), unit, own, granted_on)
    return resource


# Tables of single-object grants, (to users, to groups), by the model they are about; declared beside that model.
grant_tables: dict[type[models.Model], tuple[type[models.Model], type[models.Model]]] = {}


def register_grants(model: type[models.Model], to_users: type[models.Model], to_groups: type[models.Model]) -> None:
    if model in grant_tables:
        raise ValueError(f"the grants on {model._meta.label} are registered twice")
    grant_tables[model] = (to_users, to_groups)


# Rollups by the name of the resource whose rows they count: seen by whoever may see those, by the same lookups.
rollups: dict[type[models.Model], str] = {}


def register_rollup(resource: str, *counted_in: type[models.Model]) -> None:
    for model in counted_in:
        if model in rollups:
            raise ValueError(f"{model._meta.label} is registered twice as a rollup")
        rollups[model] = resource


def resource_of(permission: str, model: Any) -> Resource:
    """The resource of a registered permission. Grants stand in two tables for each kind of object that carries them."""
    resource = resources[permission.partition(":")[0]]
    return _grants_in(model) if resource.name == "grants" and model is not None else resource


@cache
def _grants_in(table: Any) -> Resource:
    """A grant sits in the unit of its object."""
    for carrier, tables in grant_tables.items():
        if table in tables:
            unit = next(r.unit for r in resources.values() if r.model is carrier and r.granted_on == "pk")
            return replace(resources["grants"], model=table, unit=f"content_object__{unit}")
    return resources["grants"]


def grantable(model: type[models.Model]) -> list[str]:
    """The permissions that a grant on one object of `model` can give."""
    return sorted(
        f"{resource.name}:{action}"
        for resource in resources.values()
        if resource.granting_model is model
        for action in resource.actions
    )


def permissions() -> list[str]:
    return sorted(f"{resource.name}:{action}" for resource in resources.values() for action in resource.actions)


def is_registered(permission: str) -> bool:
    name, _, action = permission.partition(":")
    return name in resources and action in resources[name].actions


# --- asking -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Decision:
    """The answer to one question, with its reasons.

    `obligations` are what would turn this refusal into a yes (step_up). While one is unmet `allowed` is false, so that
    code which asks for nothing but `allowed` is on the safe side. `policy` names the policy that refused, where it was
    one and not the roles. `level` is how strong a factor the step-up takes (of the fact "factor"; "" for any).
    """

    allowed: bool
    reasons: tuple[str, ...] = ()
    obligations: tuple[str, ...] = ()
    policy: str = ""
    level: str = ""


@dataclass(frozen=True)
class FactorNeeded:
    """How strong and fresh a second factor an account must use: a level of the fact "factor", "" where any will do.

    `roles` are those that ask for it. From `coming_at` on, they will ask for `coming`.
    """

    level: str = ""
    roles: tuple[str, ...] = ()
    max_age: timedelta | None = None
    coming: str = ""
    coming_at: datetime | None = None


class Forbidden(PermissionDenied):
    """A refusal that names the permission that was missing."""

    def __init__(self, permission: str, target: models.Model | None = None) -> None:
        super().__init__(f"You don't have the permission {permission}.")
        self.permission = permission
        self.target = target


class RefusedByPolicy(Refusal):
    """The roles allow it, and a policy does not, as things are now."""

    status = 403

    def __init__(self, detail: str, permission: str = "", target: models.Model | None = None, policy: str = "") -> None:
        super().__init__(detail)
        self.permission, self.target, self.policy = permission, target, policy
        told = {"missing_permission": permission, "policy": policy}
        self.more = {**type(self).more, **{name: value for name, value in told.items() if value}}


class StepUpNeeded(RefusedByPolicy):
    """It is allowed once the second factor was proved again."""

    more = {"step_up": "/step-up"}


def step_up_address(level: str) -> str:
    return f"/step-up?level={level}" if level else "/step-up"


def refusal(
    user: Any, decision: Decision, permission: str, target: models.Model | None = None
) -> Forbidden | RefusedByPolicy:
    """The exception that tells of a decision against `user`."""
    if not decision.policy:
        return Forbidden(permission, target)
    detail = " ".join(decision.reasons)
    if STEP_UP not in decision.obligations:
        return RefusedByPolicy(detail, permission, target, decision.policy)
    by_token = getattr(user, "by_token", False)
    address = step_up_address(decision.level)
    how = "Sign in to the console for it: no token can." if by_token else f"Open {address}, then repeat the request."
    needed = StepUpNeeded(f"{detail} {how}", permission, target, decision.policy)
    if decision.level:
        needed.more = {**needed.more, "step_up": address, "strength": decision.level}
    return needed


@cache
def _decider(name: str) -> Any:
    return import_module(name) if name else None


def decide(
    user: Any, permission: str, obj: models.Model | None = None, context: dict[str, Any] | None = None
) -> Decision:
    """May `user` do `permission` (on `obj`, or on anything)? Unknown permissions and missing deciders deny."""
    decider = _decider(settings.OPSSIGHT_DECIDER)
    if decider is None or not is_registered(permission):
        return Decision(False, (f"{permission} is not a registered permission" if decider else "no decider",))
    if not in_scope(user, permission):
        return Decision(False, (f"the token's scopes leave out {permission}",))
    return cast(Decision, decider.decide(user, permission, obj, context or {}))


def in_scope(user: Any, permission: str) -> bool:
    """A token narrows its account: `scopes` is set on the user that it brought in, and on no other."""
    scopes: frozenset[str] | None = getattr(user, "scopes", None)
    return scopes is None or permission in scopes


def covers(user: Any, other: Any, permission: str) -> bool:
    """Whether `user` holds `permission` wherever `other` does, so that acting as the other gives them nothing."""
    decider = _decider(settings.OPSSIGHT_DECIDER)
    return decider is not None and cast(bool, decider.covers(user, other, permission))


def holds(user: Any, permission: str) -> bool:
    """Whether roles and grants give it to `user` at all, whatever policies say of this request; for the way in, where
    nobody is signed in yet. It opens no door."""
    decider = _decider(settings.OPSSIGHT_DECIDER)
    return decider is not None and bool(decider.holds(user, permission))


def factor_needed(user: Any) -> FactorNeeded:
    """What the roles of `user` ask of the second factor, as `decide` will hold it against each request."""
    decider = _decider(settings.OPSSIGHT_DECIDER)
    return cast(FactorNeeded, decider.factor_needed(user)) if decider else FactorNeeded()


def who_can_grant(permission: str) -> list[str]:
    """Names of a few people who may give it; for the answer to somebody who lacks it."""
    decider = _decider(settings.OPSSIGHT_DECIDER)
    return cast("list[str]", decider.who_can_grant(permission)) if decider else []


def check(user: Any, permission: str, obj: models.Model | None = None, *, about: models.Model | None = None) -> None:
    """Raises the refusal; its entry is about `about`, where `obj` is not what people know."""
    decision = decide(user, permission, obj)
    if not decision.allowed:
        raise refusal(user, decision, permission, about or obj)


def permitted(queryset: models.QuerySet[M], user: Any, permission: str) -> models.QuerySet[M]:
    """The rows of `queryset` on which `decide(user, permission, row)` allows, in one query."""
    decider = _decider(settings.OPSSIGHT_DECIDER)
    if decider is None or not is_registered(permission) or not in_scope(user, permission):
        return queryset.none()
    return cast("models.QuerySet[M]", decider.permitted(queryset, user, permission))


class GuardedQuerySet(models.QuerySet[M]):
    def permitted(self, user: Any, permission: str) -> Self:
        return cast(Self, permitted(self, user, permission))


def record_denial(error: Exception | None) -> None:
    """A denial outlives its rollback: written by the exception handlers, outside the failed transaction."""
    match error:
        case Forbidden():
            ACCESS_DENIED.emit(target=error.target, success=False, error=str(error), permission=error.permission)
        case StepUpNeeded() if error.policy:
            STEP_UP_ASKED.emit(target=error.target, permission=error.permission, policy=error.policy)
        case RefusedByPolicy() if error.policy:
            ACCESS_DENIED.emit(
                target=error.target,
                success=False,
                error=error.detail,
                permission=error.permission,
                policy=error.policy,
            )
