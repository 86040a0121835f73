"""What a new account may do, and who may let a provider give rights: decided here, since accounts names no role."""

from typing import Any

from django.db.models.signals import m2m_changed
from django.dispatch import receiver

from accounts.events import ACCOUNT_CREATED, ACCOUNT_DEACTIVATED, SETUP_LINK_USED
from accounts.logins.services import end_everything
from accounts.models import User
from accounts.sso.events import RULE_CHANGED
from opssight.kernel.events import Occurrence, happened
from rbac import services
from rbac.events import ASSIGNMENT_CHANGED, DENY_LIFTED, PERMISSION_DENIED, ROLE_ASSIGNED, ROLE_REVOKED
from rbac.models import RoleAssignment

CHANGES = (ROLE_ASSIGNED, ROLE_REVOKED, ASSIGNMENT_CHANGED, PERMISSION_DENIED, DENY_LIFTED)


@receiver(happened)
def account_happened(occurrence: Occurrence, **kwargs: Any) -> None:
    user = occurrence.target
    if not isinstance(user, User):
        return
    if occurrence.event is ACCOUNT_CREATED:
        services.assign_role(user, "employee", reason="every account", source=RoleAssignment.Source.DEFAULT)
    elif occurrence.event is ACCOUNT_DEACTIVATED and user.kind == User.Kind.PERSON:
        services.refuse_without_administrator(but=user)
    elif occurrence.event is SETUP_LINK_USED and occurrence.data["first"] and not services.has_administrator():
        for key in ("officer", "administrator"):
            services.assign_role(user, key, reason="first account", source=RoleAssignment.Source.SETUP)


@receiver(happened)
def rights_changed(occurrence: Occurrence, **kwargs: Any) -> None:
    """Whose rights were changed signs in anew; whoever changed them does not."""
    if occurrence.event not in CHANGES:
        return
    rule: Any = occurrence.target
    for user in [rule.user] if rule.user else User.objects.filter(groups=rule.group):
        end_everything(user)


@receiver(happened)
def claim_rule_changed(occurrence: Occurrence, **kwargs: Any) -> None:
    """A rule gives what its group gives, so whoever writes it must hold that."""
    if occurrence.event is RULE_CHANGED and occurrence.actor.user is not None and "removed" not in occurrence.data:
        rule: Any = occurrence.target
        services.may_give_by_group(rule.group, occurrence.actor.user)


@receiver(m2m_changed, sender=User.groups.through)
def membership_changed(instance: Any, action: str, reverse: bool, pk_set: set[int] | None, **kwargs: Any) -> None:
    """Whoever joins or leaves a group, from either end of the relation."""
    if action not in ("post_add", "post_remove", "pre_clear"):
        return
    if not reverse:
        people = [instance]
    else:
        people = list(instance.user_set.all() if pk_set is None else User.objects.filter(pk__in=pk_set))
    for user in people:
        end_everything(user)
