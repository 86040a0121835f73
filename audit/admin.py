from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from audit.models import AuditEntry
from opssight.kernel.guards import GuardedAdmin


@admin.register(AuditEntry)
class AuditEntryAdmin(GuardedAdmin):
    """Read-only, and so by the database itself."""

    resource = "trail"
    list_display = ["id", "timestamp", "who", "what", "about", "success", "request_id"]
    list_display_links = ["id"]
    list_filter = ["success", "actor_kind", "event"]
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
