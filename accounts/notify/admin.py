from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join

from accounts.notify.models import Notice
from opssight.kernel.admin import GuardedAdmin


@admin.register(Notice)
class NoticeAdmin(GuardedAdmin):
    """What was sent to whom, and what was not. Texts are not shown: they held codes and links, and are erased."""

    resource = "notices"
    task = "People"
    list_display = ["address", "kind", "subject", "state", "attempts", "created_at", "finished_at"]
    list_filter = ["state", "kind"]
    search_fields = ["address", "subject"]
    ordering = ["-id"]
    fields = [
        "user",
        "address",
        "kind",
        "subject",
        "state",
        "reason",
        "attempts",
        "next_attempt",
        "created_at",
        "finished_at",
        "expires_at",
        "message_id",
        "log",
    ]
    readonly_fields = ["message_id", "log", "next_attempt"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Notice]:
        return super().get_queryset(request).defer("text_encrypted")

    @admin.display(description="next attempt from")
    def next_attempt(self, notice: Notice) -> object:
        return notice.due_at

    @admin.display(description="attempts made")
    def log(self, notice: Notice) -> str:
        rows = (
            (f"{d.began_at:%Y-%m-%d %H:%M:%S} UTC", d.attempt, d.get_outcome_display(), d.detail)
            for d in notice.deliveries.order_by("attempt")
        )
        return format_html_join("", "<div>{}: attempt {}. {}. {}</div>", rows) or "none yet"
