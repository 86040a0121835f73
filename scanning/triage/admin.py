from django.contrib import admin

from scanning.admin import ReadOnly
from scanning.triage.models import Decision


@admin.register(Decision)
class DecisionAdmin(ReadOnly):
    resource = "decisions"
    task = "Code and findings"
    list_display = ["decided_at", "finding", "was", "status", "decided_by", "until", "is_approved", "answered_by"]
    list_filter = ["status", "asset"]
    list_select_related = ["finding", "decided_by", "answered_by"]
    search_fields = ["reason", "answer"]
    ordering = ["-id"]
