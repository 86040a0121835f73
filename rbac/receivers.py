"""What a new account may do, decided here since accounts names no role."""

from typing import Any

from django.dispatch import receiver

from accounts.events import ACCOUNT_CREATED, ACCOUNT_DEACTIVATED, SETUP_LINK_USED
from accounts.models import User
from opssight.kernel.events import Occurrence, happened
from rbac import services
from rbac.models import RoleAssignment


@receiver(happened)
def account_happened(occurrence: Occurrence, **kwargs: Any) -> None:
    user = occurrence.target
    if not isinstance(user, User):
        return
    if occurrence.event is ACCOUNT_CREATED:
        services.assign_role(user, "employee", reason="every account", source=RoleAssignment.Source.DEFAULT)
    elif occurrence.event is ACCOUNT_DEACTIVATED:
        services.refuse_without_administrator()
    elif occurrence.event is SETUP_LINK_USED and occurrence.data["first"] and not services.has_administrator():
        for key in ("officer", "administrator"):
            services.assign_role(user, key, reason="first account", source=RoleAssignment.Source.SETUP)
