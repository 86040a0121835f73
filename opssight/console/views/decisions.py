"""Deciding about a finding, and answering an acceptance."""

from datetime import UTC, datetime, time
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from opssight.console.filters import Asked
from opssight.console.fragments import htmx
from opssight.console.views import findings
from opssight.kernel import reads
from opssight.kernel.access import check
from opssight.kernel.errors import Refusal
from opssight.kernel.guards import guarded
from opssight.kernel.validation import StrictForm
from scanning.models import Finding, Status
from scanning.triage import services
from scanning.triage.models import Decision


class DecideForm(StrictForm):
    status = forms.ChoiceField(label="It is")
    reason = forms.CharField(label="Why", max_length=1000, required=False)
    until = forms.DateField(label="Accepted until", required=False)
    original = forms.CharField(label="Duplicate of", max_length=24, required=False)

    def __init__(self, data: Any, finding: Finding) -> None:
        super().__init__(data)
        follows = services.FOLLOWS[finding.status]
        choices: Any = self.fields["status"]  # the stubs know it as any field
        choices.choices = [(status.value, status.label) for status in Status if status in follows]

    def clean_until(self) -> datetime | None:
        """The end of the day, in UTC as all days here."""
        day = self.cleaned_data["until"]
        return datetime.combine(day, time.max, UTC) if day else None


@guarded("findings:triage")
@require_http_methods(["GET", "POST"])
def decide_about(request: HttpRequest, uid: UUID) -> HttpResponse:
    """A page, or the form in the panel beside the queue; `next` is the finding that the script wants there after it."""
    rows = Finding.objects.permitted(request.user, "findings:read").select_related("asset")
    finding = get_object_or_404(rows, uid=uid)
    check(request.user, "findings:triage", finding)
    reads.note_object(finding)
    form = DecideForm(request.POST or None, finding)
    if request.method == "POST" and form.is_valid():
        given = dict(form.cleaned_data)
        named = given.pop("original").strip()
        try:
            original = labelled(rows, named) if named else None
            decision = services.decide(finding, given.pop("status"), by=request.user, original=original, **given)
        except services.Incomplete as refusal:
            form.add_error(refusal.field or None, refusal.detail)
        except Refusal as refusal:
            form.add_error(None, refusal.detail)
        else:
            said = "waits for a second person" if decision.is_waiting else f"is kept: {decision.get_status_display()}"
            messages.success(request, f"Your decision about {finding.label} {said}.")
            return _beside(request, finding) if htmx(request) else redirect(finding)
    page = {"finding": finding, "form": form}
    template = "scanning/decide_panel.html" if htmx(request) else "scanning/decide.html"
    return render(request, template, page, status=400 if form.errors else 200)


def _beside(request: HttpRequest, decided: Finding) -> HttpResponse:
    """The panel of the finding that is next, the decided one's row as it is now, or that the queue has it no more."""
    may_see = findings.whole(Finding.objects.permitted(request.user, "findings:read"))
    following = _uid(request.POST.get("next", ""))
    shown = (may_see.filter(uid=following).first() if following else None) or may_see.get(pk=decided.pk)
    reads.note_object(shown)
    queue = urlsplit(htmx(request).current_url_abs_path or "")
    asked = Asked(QueryDict(queue.query if queue.path == reverse("findings") else ""))
    try:
        row = findings.narrowed(may_see, asked, request.user).filter(pk=decided.pk).first()
    except Http404:  # what the queue was narrowed to is out of sight by now; the decision stands
        row = None
    page = {"asked": asked, "decided": decided, "row": row, "may_choose": True, **findings.opened(request, shown)}
    answer = render(request, "scanning/decided.html", page)
    answer["HX-Retarget"], answer["HX-Reswap"] = "#panel", "outerHTML"
    answer["HX-Push-Url"] = f"{reverse('findings')}{asked.here}&open={shown.uid}"
    return answer


def _uid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def labelled(rows: Any, label: str) -> Finding:
    number = label.upper().removeprefix("F-")
    found = rows.filter(pk=int(number)).first() if number.isascii() and number.isdigit() and len(number) < 19 else None
    if found is None:
        raise services.Incomplete(
            f"There is no finding {label} that you may see. Its number reads like F-123.", "original"
        )
    return found


@guarded("decisions:approve")
@require_POST
def answer(request: HttpRequest, uid: UUID) -> HttpResponse:
    """`approve` where it is in the form, else a refusal with its reason."""
    rows = Decision.objects.permitted(request.user, "decisions:read").select_related("finding__asset")
    decision = get_object_or_404(rows, uid=uid)
    approve = "approve" in request.POST
    try:
        services.answer(decision, approve=approve, by=request.user, reason=request.POST.get("reason", "")[:1000])
    except Refusal as refusal:
        if refusal.status == 403:
            raise
        messages.error(request, refusal.detail)
    else:
        messages.success(request, "The risk is accepted." if approve else "The acceptance is refused.")
    return redirect(decision.finding)
