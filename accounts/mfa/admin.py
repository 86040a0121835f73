from django.contrib import admin

from accounts.mfa.models import TOTPDevice
from opssight.kernel.admin import GuardedAdmin


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
