from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.caller import caller
from accounts.mfa import resets
from accounts.mfa.models import FactorReset, MessageDevice, Passkey, TOTPDevice
from opssight.kernel.access import decide
from opssight.kernel.admin import GuardedAdmin
from opssight.kernel.errors import Refusal


@admin.register(TOTPDevice)
class TOTPDeviceAdmin(GuardedAdmin):
    """Who is enrolled. The secret is not shown to anybody."""

    resource = "mfa"
    task = "People"
    list_display = ["user", "confirmed", "created_at", "last_used_at", "throttling_failure_count"]
    list_filter = ["confirmed"]
    list_select_related = ["user"]
    search_fields = ["user__email"]
    fields = ["user", "name", "confirmed", "created_at", "last_used_at", "throttling_failure_count"]


@admin.register(Passkey)
class PasskeyAdmin(GuardedAdmin):
    resource = "passkeys"
    task = "People"
    list_display = ["user", "name", "created_at", "last_used_at", "backup_state"]
    list_select_related = ["user"]
    search_fields = ["user__email"]
    ordering = ["-id"]
    fields = ["user", "name", "created_at", "last_used_at", "aaguid", "transports", "backup_eligible", "backup_state"]


@admin.register(MessageDevice)
class MessageDeviceAdmin(GuardedAdmin):
    """Who gets codes by message. The address is not shown in full."""

    resource = "message-devices"
    task = "People"
    list_display = ["user", "channel", "shown_address", "confirmed", "created_at", "last_used_at"]
    list_filter = ["channel", "confirmed"]
    list_select_related = ["user"]
    search_fields = ["user__email"]
    ordering = ["-id"]
    fields = ["user", "channel", "shown_address", "confirmed", "created_at", "last_used_at", "sends"]


@admin.register(FactorReset)
class FactorResetAdmin(GuardedAdmin):
    """Lost phones: one person asks, another decides."""

    resource = "resets"
    task = "People"
    verbs = {"view": "read", "add": "create"}
    list_display = ["user", "state", "asked_by", "asked_at", "decided_by", "decided_at"]
    list_filter = ["state"]
    list_select_related = ["user", "asked_by", "decided_by"]
    search_fields = ["user__email"]
    ordering = ["-id"]
    fields = ["user", "note", "state", "asked_by", "asked_at", "decided_by", "decided_at"]
    readonly_fields = ["state", "asked_by", "asked_at", "decided_by", "decided_at"]
    actions = ["approve", "refuse"]

    def save_model(self, request: HttpRequest, obj: FactorReset, form: Any, change: bool) -> None:
        asked = resets.ask_reset(obj.user, note=obj.note, by=caller(request))
        obj.pk, obj._state.adding = asked.pk, False

    @admin.action(description="Approve: take the factors off", permissions=["approve"])
    def approve(self, request: HttpRequest, queryset: QuerySet[FactorReset]) -> None:
        self._decide(request, queryset, resets.approve_reset)

    @admin.action(description="Refuse", permissions=["approve"])
    def refuse(self, request: HttpRequest, queryset: QuerySet[FactorReset]) -> None:
        self._decide(request, queryset, resets.refuse_reset)

    @staticmethod
    def _decide(request: HttpRequest, rows: QuerySet[FactorReset], how: Callable[..., None]) -> None:
        for reset in rows:
            try:
                how(reset, by=request.user)
            except Refusal as refusal:
                messages.error(request, f"{reset}: {refusal.detail}")

    def has_approve_permission(self, request: HttpRequest) -> bool:
        return decide(request.user, "resets:approve").allowed
