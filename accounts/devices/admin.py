from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.devices import services
from accounts.devices.models import Device
from opssight.kernel.access import decide
from opssight.kernel.admin import GuardedAdmin


@admin.register(Device)
class DeviceAdmin(GuardedAdmin):
    """Everybody's devices, what they last reported, and their end."""

    resource = "managed-devices"
    task = "People"
    list_display = ["name", "user", "platform", "os_version", "is_sound", "reported_at", "revoked_at"]
    list_filter = ["platform", "disk_encryption", "firewall", "screen_lock"]
    list_select_related = ["user"]
    search_fields = ["user__email", "name"]
    ordering = ["-id"]
    fields = [
        "name",
        "user",
        "platform",
        "os_version",
        "disk_encryption",
        "firewall",
        "screen_lock",
        "reported_at",
        "registered_at",
        "revoked_at",
        "public_key",
    ]
    actions = ["revoke"]

    @admin.display(boolean=True, description="sound")
    def is_sound(self, device: Device) -> bool:
        return device.is_sound

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return decide(request.user, "managed-devices:revoke").allowed

    @admin.action(description="Revoke selected devices", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Device]) -> None:
        devices = list(queryset.filter(revoked_at=None).select_related("user"))
        for device in devices:
            services.revoke(device)
        messages.success(request, f"{len(devices)} devices revoked.")
