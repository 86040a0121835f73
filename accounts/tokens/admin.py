from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.models import User, normalise_email
from accounts.tokens import service_accounts, services
from accounts.tokens.models import ServiceAccount, Token
from opssight.kernel.access import decide
from opssight.kernel.admin import GuardedAdmin
from opssight.kernel.errors import Refusal


@admin.register(Token)
class TokenAdmin(GuardedAdmin):
    """Everybody's API tokens, and their end. Nobody makes one here: its text would pass through another's hands."""

    resource = "credentials"
    task = "People"
    list_display = ["name", "user", "key", "created_at", "expires_at", "last_used_at", "revoked_at"]
    list_select_related = ["user"]
    search_fields = ["name", "key", "user__email"]
    ordering = ["-id"]
    fields = [
        "name",
        "user",
        "key",
        "scopes",
        "addresses",
        "created_at",
        "expires_at",
        "last_used_at",
        "revoked_at",
        "replaced_by",
    ]
    readonly_fields = ["replaced_by"]
    actions = ["revoke"]

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return decide(request.user, "credentials:revoke").allowed

    @admin.action(description="Revoke selected tokens", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Token]) -> None:
        tokens = list(queryset.filter(revoked_at=None))
        for token in tokens:
            services.revoke_token(token)
        messages.success(request, f"{len(tokens)} tokens revoked.")


class ServiceAccountForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    class Meta:
        model = ServiceAccount
        fields = ["email", "name", "is_active"]

    def clean_email(self) -> str:
        return normalise_email(self.cleaned_data["email"])


@admin.register(ServiceAccount)
class ServiceAccountAdmin(GuardedAdmin):
    """Accounts for programs. Their roles are assignments, their tokens come from the API."""

    resource = "service-accounts"
    task = "People"
    verbs = {"view": "read", "add": "create", "change": "update"}
    form = ServiceAccountForm
    list_display = ["email", "name", "is_active", "created_at"]
    list_filter = ["is_active"]
    search_fields = ["email", "name"]
    ordering = ["email"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["email"] if obj else ["is_active"]

    def save_model(self, request: HttpRequest, obj: User, form: ServiceAccountForm, change: bool) -> None:
        try:
            if change:
                service_accounts.change_service_account(obj, name=obj.name, is_active=obj.is_active)
            else:
                obj.pk = service_accounts.create_service_account(obj.email, name=obj.name).pk
                obj._state.adding = False
        except Refusal as refusal:
            messages.error(request, refusal.detail)

    def save_related(self, request: Any, form: Any, formsets: Any, change: bool) -> None:
        """No related rows are edited here."""
