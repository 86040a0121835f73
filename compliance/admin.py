from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from compliance import services
from compliance.models import Control, Framework, Result
from opssight.kernel.access import decide
from opssight.kernel.admin import GuardedAdmin


class ReadOnly(GuardedAdmin):
    """The catalogue is written by migrations, results by evaluations; nobody edits either."""

    task = "Evidence"

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return {}


@admin.register(Framework)
class FrameworkAdmin(ReadOnly):
    resource = "frameworks"
    list_display = ["name", "version", "key"]
    ordering = ["key"]
    fields = ["name", "version", "key", "asks"]
    readonly_fields = ["asks"]

    @admin.display(description="requirements")
    def asks(self, framework: Framework) -> str:
        return ", ".join(framework.requirements.order_by("id").values_list("ref", flat=True))


@admin.register(Control)
class ControlAdmin(GuardedAdmin):
    resource = "controls"
    task = "Evidence"
    console = "control"
    list_display = ["key", "title", "kind", "weight", "max_age_hours"]
    list_filter = ["kind"]
    search_fields = ["key", "title"]
    ordering = ["key"]
    fields = ["key", "title", "description", "kind", "weight", "max_age_hours", "params", "serves"]
    readonly_fields = ["serves"]
    actions = ["evaluate"]

    def has_evaluate_permission(self, request: HttpRequest) -> bool:
        return decide(request.user, "controls:evaluate").allowed

    @admin.action(description="Evaluate selected controls", permissions=["evaluate"])
    def evaluate(self, request: HttpRequest, queryset: QuerySet[Control]) -> None:
        for control in queryset:
            result = services.evaluate(control)
            messages.success(request, f"{control.key}: {result.get_state_display().lower()}.")

    @admin.display
    def serves(self, control: Control) -> str:
        return ", ".join(str(r) for r in control.requirements.select_related("framework").order_by("id"))


@admin.register(Result)
class ResultAdmin(ReadOnly):
    """As recorded. How a control stands now, and the rows behind, are on its page in the console."""

    resource = "results"
    list_display = ["id", "control", "state", "failed", "population", "evaluated_at", "valid_until"]
    list_filter = ["state", "control"]
    list_select_related = ["control"]
    ordering = ["-id"]
    fields = [
        "uid", "control", "state", "reason", "failed", "population", "params", "evaluated_at", "valid_until", "digest",
    ]  # fmt: skip
    readonly_fields = ["uid", "digest"]

    @admin.display
    def digest(self, result: Result) -> str:
        return result.row_set.digest
