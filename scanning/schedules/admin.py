from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from opssight.kernel.admin import ServedAdmin
from scanning.schedules import services
from scanning.schedules.models import Schedule


@admin.register(Schedule)
class ScheduleAdmin(ServedAdmin):
    resource = "schedules"
    task = "Code and findings"
    verbs = {"view": "read", "add": "create", "change": "update", "delete": "delete"}
    list_display = ["asset", "scanner", "every", "is_active", "next_at", "last_at", "made_by"]
    list_filter = ["is_active", "every", "asset"]
    list_select_related = ["asset", "made_by"]
    search_fields = ["asset__name", "scanner"]
    ordering = ["next_at", "id"]
    fields = ["asset", "scanner", "every", "hours", "minute", "weekday", "is_active"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["asset"] if obj is not None else []

    def save_model(self, request: HttpRequest, obj: Schedule, form: Any, change: bool) -> None:
        services.save_schedule(obj, by=request.user)

    def take_away(self, request: HttpRequest, obj: Schedule) -> None:
        services.delete_schedule(obj, by=request.user)
