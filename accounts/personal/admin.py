from django.contrib import admin
from django.http import HttpRequest

from accounts.personal import services
from accounts.personal.models import Collection, PersonalDetails
from opssight.kernel.admin import GuardedAdmin


@admin.register(PersonalDetails)
class PersonalDetailsAdmin(GuardedAdmin):
    """Masked. One is revealed from the account's own page, or by the API, with a reason; each time is recorded."""

    resource = "personal-details"
    task = "People"
    list_display = ["user", "shown_phone_number", "shown_ssn", "changed_at"]
    list_select_related = ["user"]
    search_fields = ["user__email"]
    ordering = ["-id"]
    fields = ["user", "shown_phone_number", "shown_ssn", "changed_at"]
    readonly_fields = ["shown_phone_number", "shown_ssn", "changed_at"]


@admin.register(Collection)
class CollectionAdmin(GuardedAdmin):
    resource = "collections"
    task = "People"
    verbs = {"view": "read", "add": "create", "change": "update"}
    list_display = ["name", "enabled", "reason"]
    ordering = ["name"]
    fields = ["name", "enabled", "reason"]

    def save_model(self, request: HttpRequest, obj: Collection, form: object, change: bool) -> None:
        services.save_collection(obj)
