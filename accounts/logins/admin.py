from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.logins import services
from accounts.logins.models import Login
from opssight.kernel.access import decide
from opssight.kernel.admin import GuardedAdmin


@admin.register(Login)
class LoginAdmin(GuardedAdmin):
    """Everybody's sessions, and their end."""

    resource = "logins"
    task = "People"
    list_display = [
        "user",
        "kind",
        "device",
        "level",
        "address",
        "is_new_device",
        "started_at",
        "last_seen_at",
        "is_open",
    ]
    list_filter = ["kind", "level", "is_new_device"]
    list_select_related = ["user"]
    search_fields = ["user__email", "address"]
    ordering = ["-id"]
    fields = [
        "user",
        "kind",
        "device",
        "user_agent",
        "address",
        "level",
        "factors",
        "is_new_device",
        "started_at",
        "stepped_up_at",
        "last_seen_at",
        "idle_ends_at",
        "ends_at",
        "ended_at",
    ]
    readonly_fields = ["device"]
    actions = ["end_sessions", "end_everything"]

    @admin.display(boolean=True, description="open")
    def is_open(self, login: Login) -> bool:
        return login.is_open

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return decide(request.user, "logins:revoke").allowed

    @admin.action(description="End selected sessions", permissions=["revoke"])
    def end_sessions(self, request: HttpRequest, queryset: QuerySet[Login]) -> None:
        messages.success(request, f"{services.revoke(queryset.select_related('user'))} sessions ended.")

    @admin.action(description="End every session and token of their accounts", permissions=["revoke"])
    def end_everything(self, request: HttpRequest, queryset: QuerySet[Login]) -> None:
        people = {login.user_id: login.user for login in queryset.select_related("user")}
        for user in people.values():
            services.revoke_everything(user)
        messages.success(request, f"Everything of {len(people)} accounts ended.")
