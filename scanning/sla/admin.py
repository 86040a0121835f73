from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from opssight.kernel.access import check
from opssight.kernel.admin import ServedAdmin
from scanning.sla import services
from scanning.sla.models import SlaPolicy


@admin.register(SlaPolicy)
class SlaPolicyAdmin(ServedAdmin):
    resource = "sla-policies"
    task = "Code and findings"
    verbs = {"view": "read", "add": "create", "change": "update", "delete": "delete"}
    list_display = ["unit", "critical", "high", "medium", "low", "info"]
    list_select_related = ["unit"]
    search_fields = ["unit__name"]
    ordering = ["id"]
    fields = ["unit", "critical", "high", "medium", "low", "info"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ["unit"] if obj else []

    def save_model(self, request: HttpRequest, obj: SlaPolicy, form: Any, change: bool) -> None:
        check(request.user, "sla-policies:update" if change else "sla-policies:create", obj)
        services.save_policy(obj)

    def take_away(self, request: HttpRequest, obj: SlaPolicy) -> None:
        services.delete_policy(obj)
