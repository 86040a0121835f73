"""Who can do what, and why: the question box, what one person holds, and rights that end or were never used."""

from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from accounts.models import User, normalise_email
from opssight.kernel.access import permissions
from opssight.kernel.guards import guarded
from rbac.explain import NothingToExplain, effective, explain, find_object
from rbac.models import DenyRule, RoleAssignment

SOON = timedelta(days=30)
STALE = timedelta(days=90)
SHOWN = 20


@guarded("access:explain")
def access(request: HttpRequest) -> HttpResponse:
    """The answer stands in the address, so that it can be sent to somebody."""
    now = timezone.now()
    email, action, about = (request.GET.get(name, "").strip() for name in ("user", "action", "object"))
    page: dict[str, Any] = {
        "email": email,
        "action": action,
        "about": about,
        "permissions": permissions(),
        "ending": _ending(request.user, now + SOON),
        "stale": _stale(request.user, now - STALE),
        "now": now,
    }
    if email:
        page |= _answered(request.user, email, action, about)
    return render(request, "console/access.html", page)


def _answered(asker: Any, email: str, action: str, about: str) -> dict[str, Any]:
    person = User.objects.permitted(asker, "users:read").filter(email=normalise_email(email)).first()
    if person is None:
        return {"problem": f"There is no account {email} that you may see."}
    answer: dict[str, Any] = {"person": person, "holds": effective(person), "denied": _denies(person)}
    if action:
        try:
            answer["explanation"] = explain(person, action, find_object(about, action))
        except NothingToExplain as refusal:
            answer["problem"] = refusal.detail
    return answer


def _denies(person: User) -> list[DenyRule]:
    return list(DenyRule.objects.of(person).valid(at=timezone.now()).select_related("unit", "group"))


def _ending(user: Any, before: Any) -> list[Any]:
    """Rights that end within a month, the nearest first."""
    now = timezone.now()
    rows = RoleAssignment.objects.permitted(user, "assignments:read").valid(at=now).ending(before=before)
    return list(rows.select_related("user", "group", "role", "unit").order_by("valid_until")[:SHOWN])


def _stale(user: Any, since: Any) -> list[Any]:
    """Roles beyond the first one of people who have not signed in for long, or never: the first to take away."""
    rows = RoleAssignment.objects.permitted(user, "assignments:read").valid(at=timezone.now())
    rows = rows.exclude(role__key="employee").filter(user__isnull=False, valid_from__lt=since)
    idle = rows.filter(user__last_login__lt=since) | rows.filter(user__last_login=None)
    return list(idle.select_related("user", "role", "unit").order_by("user__last_login", "pk")[:SHOWN])
