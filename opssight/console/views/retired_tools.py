"""Saying that an asset does without a tool, and that it is used again."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from opssight.kernel.access import check
from opssight.kernel.guards import guarded
from opssight.kernel.validation import StrictForm
from scanning import retired
from scanning.models import Asset, Finding


class RetireForm(StrictForm):
    reason = forms.CharField(label="Reason", max_length=500)


def _found(request: HttpRequest, uid: UUID) -> Asset:
    row = get_object_or_404(Asset.objects.permitted(request.user, "assets:read").select_related("unit"), uid=uid)
    check(request.user, "assets:update", row)
    return row


@guarded("assets:update")
@require_http_methods(["GET", "POST"])
def retire_tool(request: HttpRequest, uid: UUID) -> HttpResponse:
    """The address names the tool; its findings that stay open are told."""
    asset, tool = _found(request, uid), request.GET.get("tool", "")
    if not tool:
        return redirect("asset", asset.uid)
    form = RetireForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            retired.retire(asset, tool, reason=form.cleaned_data["reason"], by=request.user)
        except retired.NotRetired as refusal:
            form.add_error(None, refusal.detail)
        else:
            messages.success(request, f"{tool} is not used on {asset.name}. What it found stays open.")
            return redirect("asset", asset.uid)
    found = Finding.objects.permitted(request.user, "findings:read").filter(asset=asset, scanner=tool)
    page: dict[str, Any] = {"form": form, "asset": asset, "tool": tool, "open": found.unresolved().count()}
    return render(request, "scanning/retire_tool.html", page, status=400 if form.errors else 200)


@guarded("assets:update")
@require_POST
def return_tool(request: HttpRequest, uid: UUID) -> HttpResponse:
    asset, tool = _found(request, uid), request.POST.get("scanner", "")
    try:
        retired.take_back(asset, tool, by=request.user)
    except retired.NotRetired as refusal:
        messages.error(request, refusal.detail)
    else:
        messages.success(request, f"{tool} is used on {asset.name} again; its last run counts.")
    return redirect("asset", asset.uid)
