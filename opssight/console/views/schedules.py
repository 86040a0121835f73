"""When an asset is scanned: a new schedule, paused, going on again, and deleted."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from opssight.kernel.access import check
from opssight.kernel.errors import Refusal
from opssight.kernel.guards import guarded
from opssight.kernel.validation import StrictForm
from scanning.models import Asset
from scanning.scanners import base
from scanning.schedules import services
from scanning.schedules.models import Every, Schedule, Weekday


class ScheduleForm(StrictForm):
    """`at` is a time of day, UTC. What `every` does not need is left alone."""

    scanner = forms.ChoiceField(label="Tool", required=False)
    every = forms.ChoiceField(label="How often", choices=Every.choices, initial=Every.DAY)
    hours = forms.IntegerField(label="Every how many hours", min_value=1, max_value=168, initial=24, required=False)
    at = forms.TimeField(label="Time of day, UTC", initial="03:00", input_formats=["%H:%M"], required=False)
    weekday = forms.TypedChoiceField(label="Day of the week", choices=Weekday.choices, coerce=int, required=False)

    def __init__(self, data: Any, asset: Asset) -> None:
        super().__init__(data)
        tool: Any = self.fields["scanner"]
        tool.choices = [("", "Every tool that fits"), *((name, name) for name in base.tools_for(asset.kind))]

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        every = data.get("every")
        needed = {Every.HOURS: ("hours",), Every.DAY: ("at",), Every.WEEK: ("at", "weekday")}
        for name in needed.get(Every(every), ()) if every else ():
            if data.get(name) in (None, "") and name not in self.errors:
                self.add_error(name, "This field is required.")
        return data

    def row(self, asset: Asset) -> Schedule:
        data = self.cleaned_data
        row = Schedule(asset=asset, scanner=data["scanner"], every=data["every"])
        if row.every == Every.HOURS:
            row.hours = data["hours"]
        else:
            row.minute = data["at"].hour * 60 + data["at"].minute
        if row.every == Every.WEEK:
            row.weekday = data["weekday"]
        return row


@guarded("schedules:create")
@require_http_methods(["GET", "POST"])
def new_schedule(request: HttpRequest, uid: UUID) -> HttpResponse:
    asset = get_object_or_404(Asset.objects.permitted(request.user, "assets:read").select_related("unit"), uid=uid)
    check(request.user, "schedules:create", Schedule(asset=asset), about=asset)
    form = ScheduleForm(request.POST or None, asset)
    if request.method == "POST" and form.is_valid():
        try:
            row = services.save_schedule(form.row(asset), by=request.user)
        except services.Taken as refusal:
            form.add_error("scanner", refusal.detail)
        except ValidationError as error:
            form.add_error(None, error.messages)
        else:
            messages.success(request, f"Scheduled: {row}.")
            return redirect("asset", asset.uid)
    page = {"form": form, "asset": asset}
    return render(request, "scanning/schedule_form.html", page, status=400 if form.errors else 200)


def _found(request: HttpRequest, uid: UUID) -> Schedule:
    rows = Schedule.objects.permitted(request.user, "schedules:read").select_related("asset__unit")
    row: Schedule = get_object_or_404(rows, uid=uid)
    return row


@guarded("schedules:update")
@require_POST
def set_active(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Paused, or going on: its next run is counted from now."""
    row = _found(request, uid)
    row.is_active = request.POST.get("active") == "yes"
    try:
        services.save_schedule(row, by=request.user)
    except Refusal as refusal:
        if refusal.status == 403:
            raise
        messages.error(request, refusal.detail)
    else:
        messages.success(request, f"{row}: {'goes on' if row.is_active else 'paused'}.")
    return redirect("asset", row.asset.uid)


@guarded("schedules:delete")
@require_POST
def delete(request: HttpRequest, uid: UUID) -> HttpResponse:
    row = _found(request, uid)
    services.delete_schedule(row, by=request.user)
    messages.success(request, f"No longer scheduled: {row}.")
    return redirect("asset", row.asset.uid)
