from dataclasses import replace
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import PAGE_VAR
from django.db.models import QuerySet
from django.http import HttpRequest

from audit.filters import TrailForm
from audit.models import AuditEntry
from audit.search import ACTIONS, Search
from opssight.kernel.admin import GuardedAdmin, KeysetChangeList
from opssight.kernel.events import registry
from opssight.kernel.pagination import Page


class Narrowing(admin.SimpleListFilter):
    """A filter that `TrailChangeList` answers by the trail's own search, like console and API."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        return queryset


class EventFilter(Narrowing):
    """The registered events; Django's own filter would read every row for its choices."""

    title, parameter_name = "event", "event"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in sorted(registry)]


class ActionFilter(Narrowing):
    title, parameter_name = "action", "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(word, word.lower()) for word in ACTIONS.values()]


class ResultFilter(Narrowing):
    title, parameter_name = "result", "success"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("true", "done"), ("false", "refused or failed")]


class TrailChangeList(KeysetChangeList):
    """Read off an index however many entries there are; a page that ends before it is full says so."""

    def page(self, request: HttpRequest, order: list[str]) -> Page[AuditEntry]:
        wanted = {name: value for name, value in self.params.items() if name in TrailForm.base_fields}
        form = TrailForm(wanted)
        if not form.is_valid():
            raise IncorrectLookupParameters
        asked, found = form.conditions(), self.queryset
        if word := self.query.strip():  # of a request, or of an object
            asked = replace(asked, request_id=word)
            if not Search(found, asked).page(None, 1).rows:
                asked = replace(asked, request_id="", resource_id=word)
        page = Search(found, asked).page(request.GET.get(PAGE_VAR), self.list_per_page)
        if page.reached:
            messages.info(
                request, f"Searched to {page.reached[0]:%Y-%m-%d %H:%M} UTC so far. The next page goes on from there."
            )
        return page


@admin.register(AuditEntry)
class AuditEntryAdmin(GuardedAdmin):
    """Read-only, and so by the database itself."""

    resource = "trail"
    task = "Evidence"
    console = "trail-entry"
    list_display = ["id", "timestamp", "who", "what", "about", "success", "request_id"]
    list_display_links = ["id"]
    list_filter = [ResultFilter, EventFilter, ActionFilter]
    list_select_related = ["personal"]
    search_fields = ["request_id", "resource_id"]
    search_help_text = "An exact request id or object id"
    ordering = ["-timestamp", "-id"]
    fields = (
        "id", "uid", "timestamp", "who", "actor_kind", "address", "user_agent", "event", "action", "resource_type",
        "resource_id", "about", "changed", "details", "success", "error_message", "request_id", "mac",
    )  # fmt: skip
    readonly_fields = fields

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[TrailChangeList]:
        return TrailChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry], search_term: str
    ) -> tuple[QuerySet[AuditEntry], bool]:
        return queryset, False  # TrailChangeList does it

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return {}

    @admin.display(description="actor")
    def who(self, entry: AuditEntry) -> str:
        return entry.actor_label

    @admin.display(description="object")
    def about(self, entry: AuditEntry) -> str:
        return entry.object_repr

    @admin.display(description="what")
    def what(self, entry: AuditEntry) -> str:
        return entry.what

    @admin.display(description="old and new values")
    def changed(self, entry: AuditEntry) -> dict[str, Any]:
        return entry.old_and_new

    @admin.display
    def details(self, entry: AuditEntry) -> dict[str, Any]:
        return entry.details

    @admin.display
    def address(self, entry: AuditEntry) -> str:
        return str(entry.person.get("address") or "")

    @admin.display
    def user_agent(self, entry: AuditEntry) -> str:
        return str(entry.person.get("user_agent", ""))
