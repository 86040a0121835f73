"""Who may do what, where: units, roles, assignments, and the decision. `OPSSIGHT_DECIDER` names this package."""

from typing import Any

from django.db.models import Model, QuerySet

from opssight.kernel.access import Decision


def decide(user: Any, permission: str, obj: Model | None, context: dict[str, Any]) -> Decision:
    from rbac import decisions

    return decisions.decide(user, permission, obj, context)


def permitted(queryset: QuerySet[Any], user: Any, permission: str) -> QuerySet[Any]:
    from rbac import decisions

    return decisions.permitted(queryset, user, permission)
