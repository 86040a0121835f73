"""Keeping and removing one's own views of the queue."""

from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from opssight.console.filters import Asked
from opssight.console.views import findings
from opssight.kernel.errors import Refusal
from opssight.kernel.guards import guarded
from opssight.kernel.validation import StrictForm
from scanning.models import Finding
from scanning.triage.models import SavedView
from scanning.triage.saved_views import save_view


class ViewForm(StrictForm):
    name = forms.CharField(label="Name", max_length=60)
    query = forms.CharField(label="Filters", max_length=2000, required=False)


@guarded("findings:read")
@require_POST
def save(request: HttpRequest) -> HttpResponse:
    """Keeps what the queue shows; filters that the queue does not know are refused."""
    form = ViewForm(request.POST)
    if not form.is_valid():
        told = [
            f"{form[name].label if name in form.fields else 'View'}: {' '.join(map(str, why))}"
            for name, why in form.errors.items()
        ]
        messages.error(request, f"The view is not kept. {' '.join(told)}")
        return redirect("findings")
    asked = Asked(QueryDict(form.cleaned_data["query"].removeprefix("?")))
    try:
        findings.narrowed(Finding.objects.permitted(request.user, "findings:read"), asked, request.user)
    except Http404:
        messages.error(request, "The view is not kept: one of its filters has a value that the queue does not know.")
        return redirect("findings")
    if asked.unknown:
        messages.error(request, f"The view is not kept: the queue has no filter {', '.join(asked.unknown)[:200]}.")
        return redirect("findings")
    query = asked.address()
    try:
        view = save_view(form.cleaned_data["name"], query.removeprefix("?"), by=request.user)
    except Refusal as refusal:
        messages.error(request, refusal.detail)
    else:
        messages.success(request, f"The view {view.name} is kept.")
    return redirect(reverse("findings") + query)


@guarded("findings:read")
@require_POST
def remove(request: HttpRequest, uid: UUID) -> HttpResponse:
    view = get_object_or_404(SavedView, owner=request.user, uid=uid)
    view.delete()
    messages.success(request, f"The view {view.name} is removed.")
    return redirect("findings")
