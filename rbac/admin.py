from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from opssight.kernel.admin import GuardedAdmin
from rbac import services
from rbac.models import Role, RoleAssignment, Unit


@admin.register(Unit)
class UnitAdmin(GuardedAdmin):
    resource = "units"
    task = "Who may do what"
    verbs = {"view": "read", "add": "create", "change": "update"}
    list_display = ["name", "kind", "parent"]
    ordering = ["name"]
    list_filter = ["kind"]
    list_select_related = ["parent"]
    search_fields = ["name"]
    fields = ["name", "kind", "parent"]

    def get_readonly_fields(self, request: HttpRequest, obj: Unit | None = None) -> list[str]:
        return ["kind", "parent"] if obj else []

    def save_model(self, request: HttpRequest, obj: Unit, form: Any, change: bool) -> None:
        services.save_unit(obj)


@admin.register(Role)
class RoleAdmin(GuardedAdmin):
    resource = "roles"
    task = "Who may do what"
    list_display = ["name", "key", "description", "builtin"]
    ordering = ["name"]
    search_fields = ["name", "key"]
    fields = ["name", "key", "description", "builtin", "grants"]
    readonly_fields = ["builtin", "grants"]

    @admin.display(description="permissions")
    def grants(self, role: Role) -> str:
        return ", ".join(role.permissions.order_by("permission").values_list("permission", flat=True))


@admin.register(RoleAssignment)
class RoleAssignmentAdmin(GuardedAdmin):
    resource = "assignments"
    task = "Who may do what"
    verbs = {"view": "read", "add": "create", "change": "update", "delete": "delete"}
    list_display = ["user", "group", "role", "unit", "valid_from", "valid_until", "source"]
    list_filter = ["role", "source"]
    list_select_related = ["user", "group", "role", "unit"]
    search_fields = ["user__email", "group__name", "reason"]
    fields = ["user", "group", "role", "unit", "valid_from", "valid_until", "reason", "source"]
    readonly_fields = ["source"]

    def save_model(self, request: HttpRequest, obj: RoleAssignment, form: Any, change: bool) -> None:
        services.save_assignment(obj)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for assignment in queryset:  # one by one, so that each leaves its entry
            assignment.delete()
