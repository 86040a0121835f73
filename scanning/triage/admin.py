from django.contrib import admin

from scanning.admin import ReadOnly
from scanning.triage.models import BulkAction, Comment, Decision


@admin.register(Decision)
class DecisionAdmin(ReadOnly):
    resource = "decisions"
    task = "Code and findings"
    list_display = ["decided_at", "finding", "was", "status", "decided_by", "until", "is_approved", "answered_by"]
    list_filter = ["status", "asset"]
    list_select_related = ["finding", "decided_by", "answered_by"]
    search_fields = ["reason", "answer"]
    ordering = ["-id"]


@admin.register(Comment)
class CommentAdmin(ReadOnly):
    resource = "comments"
    task = "Code and findings"
    list_display = ["written_at", "finding", "author", "text", "edited_at"]
    list_filter = ["asset"]
    list_select_related = ["finding", "author"]
    search_fields = ["text"]
    ordering = ["-id"]


@admin.register(BulkAction)
class BulkActionAdmin(ReadOnly):
    resource = "bulk-log"
    task = "Code and findings"
    list_display = ["done_at", "done_by", "kind", "said", "changed", "left_count", "undone_at"]
    list_filter = ["kind", "status"]
    list_select_related = ["done_by", "owner"]
    search_fields = ["reason", "word"]
    ordering = ["-id"]
