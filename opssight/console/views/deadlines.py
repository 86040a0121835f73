"""Until when findings are to be fixed, by whose policy, and how much is fixed in time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from opssight.console.counting import ask
from opssight.console.filters import Asked
from opssight.console.lists import links, page_of
from opssight.console.navigation import shell_of
from opssight.kernel.guards import guarded
from rbac.models import Unit
from scanning.deadlines.share import Period, within
from scanning.models import Asset, Finding, Severity
from scanning.sla.models import SlaPolicy
from scanning.sla.services import BUILT_IN, policies_in

LEVELS = sorted(Severity, reverse=True)
PERIODS = [(str(days), f"the last {days} days") for days in (7, 30, 90, 365)]
WORDS = {
    "no_deadline": "no deadline", "accepted": "accepted", "false_positive": "false positive", "duplicate": "duplicate",
    "inactive": "of inactive assets",
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A unit, the deadlines that hold in it, most severe first, and whose they are: None for the built-in ones."""

    unit: Unit
    hours: list[int | None]
    policy: SlaPolicy | None


@guarded("findings:read")
def deadlines(request: HttpRequest) -> HttpResponse:
    """Units that have active assets in sight, fifty a page, by name."""
    asked, now, user = Asked(request.GET), timezone.now(), request.user
    (days,) = asked.among("days", "Period", PERIODS, default=["30"], several=False) or ["30"]
    found = Finding.objects.permitted(user, "findings:read")
    page = page_of(request, _units(user), ["name", "id"])
    policies = policies_in(unit.pk for unit in page.rows)
    figure = within(user, Period.of_days(int(days), until=now))
    context: dict[str, Any] = {
        "now": now,
        "periods": [(value, words, value == days) for value, words in PERIODS],
        "period": dict(PERIODS)[days],
        "levels": LEVELS,
        "figure": figure,
        "left_out": [(WORDS[name], n) for name, n in figure.left_out.items() if n],
        "lines": [Line(unit, _hours(policies[unit.pk]), policies[unit.pk]) for unit in page.rows],
        "page": page,
        **ask(user, over=found.overdue(at=now), soon=found.due_soon(at=now)),
        **links(request, page),
    }
    context["may_change"] = shell_of(request).admin and shell_of(request).policies
    return render(request, "scanning/deadlines.html", context)


def _units(user: Any) -> Any:
    seen = Asset.objects.active().permitted(user, "assets:read")
    return Unit.objects.filter(pk__in=seen.values("unit"))


def _hours(policy: SlaPolicy | None) -> list[int | None]:
    hours: Mapping[int, int | None] = policy.hours() if policy else BUILT_IN
    return [hours[level] for level in LEVELS]
