from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import Model, Prefetch
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from accounts.models import User
from compliance import services
from compliance.models import Contribution, Control, ControlQuerySet, Framework, Requirement, Result, State
from compliance.services import NamedRow, Reading
from opssight.console.filters import Asked
from opssight.console.lists import links, page_of
from opssight.console.navigation import Shell, shell_of
from opssight.kernel.access import decide
from opssight.kernel.guards import guarded
from scanning.models import Asset

# Unknown in three kinds, since each asks for something else: look at the reason, evaluate again, evaluate at all.
KINDS = [
    ("pass", "Met"),
    ("fail", "Not met"),
    ("error", "Test failed"),
    ("unknown", "Unknown"),
    ("stale", "Stale"),
    ("never", "Never evaluated"),
]
ROW_ORDER = ["-failed", "id"]
HISTORY = 24


@dataclass(frozen=True)
class Line:
    """A control as the list shows it: how it reads, and its requirements by framework."""

    reading: Reading
    serves: list[tuple[Framework, list[Requirement]]]


@dataclass(frozen=True)
class Evidence:
    """A row behind a result; `address` leads to the record where the reader may see it."""

    row: NamedRow
    address: str


@guarded("controls:read")
def controls(request: HttpRequest) -> HttpResponse:
    asked, at = Asked(request.GET), timezone.now()
    known = services.readings(_controls(request).with_latest().order_by("key"), at=at)
    lines = [Line(reading, _serves(reading.control)) for reading in known]
    frameworks = {framework.key: framework.name for line in lines for framework, _ in line.serves}
    kinds = asked.among("state", "State", KINDS)
    chosen = asked.among("framework", "Framework", frameworks.items(), names=True)
    counts = Counter(reading.kind for reading in known)
    page = {
        "asked": asked,
        "now": at,
        "total": len(known),
        "frameworks": len(frameworks),
        "counts": [(kind, counts[kind]) for kind, _ in KINDS],
        "lines": [
            line
            for line in lines
            if (not kinds or line.reading.kind in kinds) and (not chosen or {f.key for f, _ in line.serves} & {*chosen})
        ],
        "may_evaluate": decide(request.user, "controls:evaluate").allowed,
    }
    return render(request, "compliance/controls.html", page)


@guarded("controls:read")
def control(request: HttpRequest, key: str) -> HttpResponse:
    """A control as it reads now, with the rows of its newest result, or with `?result=` those of an earlier one."""
    row = get_object_or_404(_controls(request).with_latest().named(key))
    (reading,) = services.readings([row], at=timezone.now())
    decision = decide(request.user, "results:read")
    results = row.results.all() if decision.allowed else row.results.none()
    results = results.select_related("row_set").order_by("-id")
    uid = Asked(request.GET).uid("result")
    shown = get_object_or_404(results, uid=uid) if uid else results.first()
    history = list(results.filter(pk__lte=shown.pk)[: HISTORY + 1]) if shown else []
    page = {
        "reading": reading,
        "serves": _serves(row),
        "shown": shown,
        "why_not": " ".join(decision.reasons) if decision.policy else "The rows need the permission results:read.",
        "earlier": shown is not None and shown != reading.result,
        "history": history[:HISTORY],
        "older_result": history[HISTORY] if len(history) > HISTORY else None,
        "may_evaluate": decide(request.user, "controls:evaluate", row).allowed,
        **(_evidence(request, row, shown) if shown else {}),
    }
    return render(request, "compliance/control.html", page)


@guarded("controls:evaluate")
@require_POST
def evaluate(request: HttpRequest, key: str) -> HttpResponse:
    row = get_object_or_404(Control.objects.permitted(request.user, "controls:evaluate").named(key))
    result = services.evaluate(row)
    messages.success(request, f"Evaluated: {State(result.state).label.lower()}.")
    return redirect("control", row.key)


@guarded("controls:evaluate")
@require_POST
def evaluate_all(request: HttpRequest) -> HttpResponse:
    results = services.evaluate_all()
    met = sum(result.state == State.PASS for result in results)
    messages.success(request, f"Evaluated: {met} of {len(results)} controls are met.")
    return redirect("controls")


def _controls(request: HttpRequest) -> ControlQuerySet:
    served = Contribution.objects.select_related("requirement__framework").order_by("requirement_id")
    rows = Control.objects.permitted(request.user, "controls:read")
    return rows.prefetch_related(Prefetch("contributions", served))


def _serves(control: Control) -> list[tuple[Framework, list[Requirement]]]:
    requirements = [contribution.requirement for contribution in control.contributions.all()]
    return [(framework, list(group)) for framework, group in groupby(requirements, key=lambda one: one.framework)]


def _evidence(request: HttpRequest, control: Control, result: Result) -> dict[str, Any]:
    page = page_of(request, result.row_set.rows.all(), ROW_ORDER)
    shell = shell_of(request)
    rows = [Evidence(row, _address(control, row.record, shell)) for row in services.named(page.rows, request.user)]
    return {"page": page, "rows": rows, **links(request, page)}


def _address(control: Control, record: Model | None, shell: Shell) -> str:
    """Where the record can be looked at; for a control over findings, its findings that failed it."""
    match record:
        case User() if shell.admin:
            return reverse("admin:accounts_user_change", args=[record.pk])
        case Asset() if control.key == "vuln.sla.critical" and shell.findings:
            return f"{reverse('findings')}?{urlencode({'asset': record.uid, 'severity': 'critical', 'due': 'over'})}"
        case Asset() if shell.scans:
            return f"{reverse('scans')}?{urlencode({'asset': record.uid})}"
    return ""
