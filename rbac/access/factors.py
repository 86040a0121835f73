"""What roles ask of the second factor of those who hold them, and who would be shut out if they asked for more.

Privileged roles always ask for more than a code by message: a telephone number can be moved by a stranger, and whoever
reads somebody's mail can reset their password already. Further demands are `FactorRule` rows.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.logins.models import Login
from accounts.mfa.services import enrolled
from accounts.models import User
from accounts.sso.factors import people_with
from accounts.strength import DEMANDS, LEVELS, is_enough
from opssight.kernel.access import STEP_UP, Decision, FactorNeeded
from opssight.kernel.actor import current_request, request_memory
from opssight.kernel.errors import Refusal
from rbac.access import events, gate
from rbac.access.models import FactorRule
from rbac.holdings import Holdings, forget, holdings
from rbac.models import Role, RoleAssignment
from rbac.roles import PRIVILEGED

LEAST_FOR_PRIVILEGED = "otp"


class ShutsOut(Refusal):
    """Switched on like this, the rule would shut out whoever switches it on."""


@dataclass(frozen=True)
class Asked:
    role: str
    level: str
    due_at: datetime | None = None  # None: always has been
    max_age: timedelta | None = None


def _asked(held: Holdings, demands: dict[int, gate.Demand]) -> list[Asked]:
    privileged = {role for permission in PRIVILEGED for role, _ in held.effects.get(permission, ())}
    asked = [Asked(held.roles[role][0], LEAST_FOR_PRIVILEGED) for role in privileged]
    for role, (name, _) in held.roles.items():
        if demand := demands.get(role):
            asked.append(Asked(name, demand.level, demand.due_at, demand.max_age))
    return asked


def _strictest(asked: list[Asked]) -> str:
    return max((one.level for one in asked), key=LEVELS.index, default="")


def needed_of(held: Holdings, demands: dict[int, gate.Demand], *, at: datetime) -> FactorNeeded:
    """What these roles ask for at a moment. Pure."""
    asked = _asked(held, demands)
    due = [one for one in asked if one.due_at is None or one.due_at <= at]
    level = _strictest(due)
    ahead = [one for one in asked if one not in due and not is_enough(level or "message", one.level)]
    ages = [one.max_age for one in due if one.max_age is not None]
    coming = _strictest(ahead)
    return FactorNeeded(
        level=level,
        roles=tuple(sorted({one.role for one in due if one.level == level})),
        max_age=min(ages, default=None),
        coming=coming,
        coming_at=min((one.due_at for one in ahead if one.level == coming and one.due_at), default=None),
    )


def factor_needed(user: Any) -> FactorNeeded:
    """Read once a request and account, like what the account holds."""
    memory, key = request_memory(), ("rbac.holdings", user.pk, "factors")
    if key not in memory:
        memory[key] = needed_of(holdings(user), gate.court().book.demands, at=timezone.now())
    kept: FactorNeeded = memory[key]
    return kept


def unmet(user: Any) -> Decision | None:
    """The refusal of a sign-in whose factor is too weak or too old for the roles held; None where it will do.

    Of the console or for JWTs. An API token was made by one, and what it may be used for is for policies to say.
    """
    login: Login | None = getattr(current_request(), "login", None)
    if login is None:
        return None
    needed = factor_needed(user)
    roles = ", ".join(needed.roles[:3])
    if not is_enough(login.level, needed.level):
        return _refused(user, f"As {roles} you sign in with {DEMANDS[needed.level]}.", f"second factor of {roles}")
    if needed.max_age is not None and timezone.now() - login.stepped_up_at > needed.max_age:
        minutes = int(needed.max_age.total_seconds() // 60)
        sentence = f"In your role the second factor is asked for every {minutes} minutes."
        return _refused(user, sentence, "age of the second factor")
    return None


def _refused(user: Any, sentence: str, policy: str) -> Decision:
    """No JWT can step up; its account signs in anew."""
    if user.by_token:
        return Decision(False, (f"{sentence} Sign in anew.",), policy=policy)
    return Decision(False, (sentence,), (STEP_UP,), policy, factor_needed(user).level)


# --- rules --------------------------------------------------------------------------------------------------------


@transaction.atomic
def save_rule(rule: FactorRule, *, by: User | None = None) -> FactorRule:
    """Write a new or changed rule. Grace counts anew when it is switched on or made stricter.

    ShutsOut where `by` would be refused at once and has no factor that would do.
    """
    before = FactorRule.objects.filter(pk=rule.pk).first() if rule.pk else None
    stricter = before is None or not before.enabled or not is_enough(before.level, rule.level)
    if not rule.enabled:
        rule.enabled_at = None
    elif stricter or rule.enabled_at is None:
        rule.enabled_at = timezone.now()
    rule.full_clean()
    if by is not None and rule.enabled and rule.grace_days == 0 and _is_blocked(by, rule):
        raise ShutsOut(
            f"You hold {rule.role} yourself and have no factor of this strength. Set one up first, or give some days."
        )
    rule.save()
    change = "created" if before is None else "updated"
    events.FACTOR_RULE_CHANGED.emit(target=rule, change=change, **_summary(rule))
    gate.forget()
    forget()
    return rule


@transaction.atomic
def delete_rule(rule: FactorRule) -> None:
    events.FACTOR_RULE_CHANGED.emit(target=rule, change="deleted", **_summary(rule))
    rule.delete()
    gate.forget()
    forget()


def _summary(rule: FactorRule) -> dict[str, Any]:
    return {
        "role": rule.role.key,
        "level": rule.level,
        "max_age": rule.max_age,
        "grace_days": rule.grace_days,
        "enabled": rule.enabled,
    }


def _is_blocked(user: User, rule: FactorRule) -> bool:
    return rehearse(rule.role, rule.level).filter(pk=user.pk).exists()


# --- rehearsal ----------------------------------------------------------------------------------------------------


def holders(role: Role) -> Any:
    """Active people who hold the role now, directly or through a group."""
    rows = RoleAssignment.objects.valid(at=timezone.now()).filter(role=role)
    return User.objects.people().filter(Q(assignments__in=rows) | Q(groups__assignments__in=rows)).distinct()


def rehearse(role: Role, level: str) -> Any:
    """The holders who have no factor of `level`, here or at their provider: whom a rule that asks for it would stop at
    their next sign-in."""
    return holders(role).exclude(enrolled(level)).exclude(pk__in=people_with(level)).order_by("email")
