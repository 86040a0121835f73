"""Who can do what, and why: the question box, what one person holds, and rights that end or were never used."""

from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from accounts.models import User, normalise_email
from opssight.kernel.access import decide, permissions, permitted
from opssight.kernel.guards import guarded
from rbac import grants
from rbac.explain import NothingToExplain, effective, explain, find_object
from rbac.models import RoleAssignment

SOON = timedelta(days=30)
STALE = timedelta(days=90)
SHOWN = 20


@guarded("access:explain")
def access(request: HttpRequest) -> HttpResponse:
    """The answer stands in the address, so that it can be sent to somebody."""
    now = timezone.now()
    email, action, about = (request.GET.get(name, "").strip() for name in ("user", "action", "object"))
    pages = _group_pages(request.user)
    page: dict[str, Any] = {
        "email": email,
        "action": action,
        "about": about,
        "permissions": permissions(),
        "ending": [(row, _page_of(row, pages)) for row in _ending(request.user, now + SOON)],
        "stale": _stale(request.user, now - STALE),
        "now": now,
    }
    if email:
        page |= _answered(request.user, email, action, about)
        page["holds"] = [(row, pages.get(row.group, "")) for row in page.get("holds", ())]
    return render(request, "console/access.html", page)


def _answered(asker: Any, email: str, action: str, about: str) -> dict[str, Any]:
    person = User.objects.permitted(asker, "users:read").filter(email=normalise_email(email)).first()
    if person is None:
        return {"problem": f"There is no account {email} that you may see."}
    answer: dict[str, Any] = {"person": person, "holds": effective(person)}
    if action:
        try:
            answer["explanation"] = explain(person, action, find_object(about, action, asker=asker))
        except NothingToExplain as refusal:
            answer["problem"] = refusal.detail
    return answer


def _group_pages(user: Any) -> dict[str, str]:
    """The admin's page of each group, by name, for those who may open it."""
    if not decide(user, "admin:enter").allowed:
        return {}
    rows = permitted(Group.objects.all(), user, "groups:read").values_list("name", "pk")
    return {name: reverse("admin:auth_group_change", args=[pk]) for name, pk in rows}


def _page_of(row: Any, pages: dict[str, str]) -> str:
    group = getattr(row, "group", None)
    return pages.get(group.name, "") if group is not None else ""


def _ending(user: Any, before: datetime) -> list[Any]:
    """Roles and grants that end within a month, the nearest first."""
    now = timezone.now()
    roles = RoleAssignment.objects.permitted(user, "assignments:read").select_related("user", "group", "role", "unit")
    tables = [roles, *grants.in_sight(user)]
    found = [row for rows in tables for row in rows.valid(at=now).ending(before=before).order_by("valid_until")[:SHOWN]]
    return sorted(found, key=lambda row: row.valid_until)[:SHOWN]


def _stale(user: Any, since: datetime) -> list[Any]:
    """The first to take away."""
    rows = RoleAssignment.objects.permitted(user, "assignments:read").valid(at=timezone.now()).unused(since=since)
    return list(rows.select_related("user", "role", "unit").order_by("user__last_login", "pk")[:SHOWN])
