from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from audit.models import AuditEntry
from opssight.kernel.admin import GuardedAdmin
from opssight.kernel.events import registry


class EventFilter(admin.SimpleListFilter):
    """The registered events; Django's own filter would read every row for its choices."""

    title, parameter_name = "event", "event"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in sorted(registry)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        return queryset.filter(event=self.value()) if self.value() else queryset


class ActionFilter(admin.SimpleListFilter):
    title, parameter_name = "action", "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(number), str(word)) for number, word in AuditEntry.Action.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        value = self.value() or ""
        return queryset.filter(action=int(value)) if value.isdigit() and len(value) == 1 else queryset


@admin.register(AuditEntry)
class AuditEntryAdmin(GuardedAdmin):
    """Read-only, and so by the database itself."""

    resource = "trail"
    task = "Evidence"
    console = "trail-entry"
    list_display = ["id", "timestamp", "who", "what", "about", "success", "request_id"]
    list_display_links = ["id"]
    list_filter = ["success", EventFilter, ActionFilter]
    list_select_related = ["personal"]
    search_fields = ["=request_id", "=resource_id"]
    search_help_text = "An exact request id or object id"
    ordering = ["-id"]
    fields = (
        "id", "uid", "timestamp", "who", "actor_kind", "address", "user_agent", "event", "action", "resource_type",
        "resource_id", "about", "changed", "details", "success", "error_message", "request_id", "mac",
    )  # fmt: skip
    readonly_fields = fields

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return {}

    @admin.display(description="actor")
    def who(self, entry: AuditEntry) -> str:
        return entry.actor_label

    @admin.display(description="object")
    def about(self, entry: AuditEntry) -> str:
        return entry.object_repr

    @admin.display(description="what")
    def what(self, entry: AuditEntry) -> str:
        return entry.what

    @admin.display(description="old and new values")
    def changed(self, entry: AuditEntry) -> dict[str, Any]:
        return entry.old_and_new

    @admin.display
    def details(self, entry: AuditEntry) -> dict[str, Any]:
        return entry.details

    @admin.display
    def address(self, entry: AuditEntry) -> str:
        return str(entry.person.get("address") or "")

    @admin.display
    def user_agent(self, entry: AuditEntry) -> str:
        return str(entry.person.get("user_agent", ""))
