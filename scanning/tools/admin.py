from django.contrib import admin

from scanning.admin import ReadOnly
from scanning.tools.models import Installation


@admin.register(Installation)
class InstallationAdmin(ReadOnly):
    resource = "scanners"
    task = "Code and findings"
    list_display = ["id", "tool", "version", "state", "requested_by", "started_at", "finished_at"]
    list_filter = ["state", "tool"]
    list_select_related = ["requested_by"]
    search_fields = ["tool", "reason"]
    ordering = ["-id"]
