from typing import Any

import django_filters
from django.db.models import QuerySet
from rest_framework import serializers

from audit.models import AuditEntry
from opssight.kernel.rest.filters import ChoiceIn, FilterSet
from opssight.kernel.rest.serializers import StrictModelSerializer
from opssight.kernel.rest.views import List, Resource, Retrieve

ACTIONS = {0: "CREATE", 1: "UPDATE", 2: "DELETE", 3: "READ"}


class EntrySerializer(StrictModelSerializer):
    """An entry under the seed's names: old_values and new_values are {field: value}."""

    number = serializers.IntegerField(source="pk", read_only=True)
    user_id = serializers.SerializerMethodField()
    user = serializers.CharField(source="actor_label", read_only=True)
    action = serializers.SerializerMethodField()
    old_values = serializers.SerializerMethodField()
    new_values = serializers.SerializerMethodField()
    object = serializers.CharField(source="object_repr", read_only=True)
    ip_address = serializers.SerializerMethodField()
    user_agent = serializers.SerializerMethodField()
    impersonator_id = serializers.SerializerMethodField()
    data = serializers.DictField(source="details", read_only=True)  # type: ignore[assignment]  # taken by DRF's metaclass

    class Meta:
        model = AuditEntry
        fields = [
            "uid", "number", "timestamp", "user_id", "user", "actor_kind", "impersonator_id", "action", "event",
            "resource_type", "resource_id", "object", "old_values", "new_values", "data", "ip_address", "user_agent",
            "session", "request_id", "success", "error_message",
        ]  # fmt: skip
        read_only_fields = fields

    def get_user_id(self, entry: AuditEntry) -> str | None:
        return str(entry.actor_id) if entry.actor_id else None

    def get_impersonator_id(self, entry: AuditEntry) -> str | None:
        return str(entry.impersonator_id) if entry.impersonator_id else None

    def get_action(self, entry: AuditEntry) -> str | None:
        return ACTIONS[entry.action] if entry.action is not None else None

    def get_old_values(self, entry: AuditEntry) -> dict[str, Any]:
        return _side(entry, 0)

    def get_new_values(self, entry: AuditEntry) -> dict[str, Any]:
        return _side(entry, 1)

    def get_ip_address(self, entry: AuditEntry) -> str | None:
        return entry.person.get("address")

    def get_user_agent(self, entry: AuditEntry) -> str:
        return str(entry.person.get("user_agent", ""))


def _side(entry: AuditEntry, which: int) -> dict[str, Any]:
    """Pairs of an ordinary change; a many-to-many change is told whole, as what is new."""
    values: dict[str, Any] = {}
    for name, change in entry.old_and_new.items():
        if isinstance(change, list) and len(change) == 2:
            values[name] = change[which]
        elif which == 1:
            values[name] = change
    return values


class TrailFilter(FilterSet):
    """Which entries: by actor, event, action, object, result, request and time."""

    user_id = django_filters.NumberFilter(field_name="actor_id")
    event = django_filters.CharFilter()
    action = ChoiceIn(choices=[(name, name) for name in ACTIONS.values()], method="by_action")
    resource_type = django_filters.CharFilter()
    resource_id = django_filters.CharFilter()
    success = django_filters.BooleanFilter()
    request_id = django_filters.CharFilter()
    since = django_filters.IsoDateTimeFilter(field_name="timestamp", lookup_expr="gte")
    until = django_filters.IsoDateTimeFilter(field_name="timestamp", lookup_expr="lt")

    def by_action(self, queryset: QuerySet[AuditEntry], name: str, words: list[str]) -> QuerySet[AuditEntry]:
        numbers = {word: number for number, word in ACTIONS.items()}
        return queryset.filter(action__in=[numbers[word] for word in words])


class TrailViewSet(Resource, List, Retrieve):
    resource = "trail"
    queryset = AuditEntry.objects.select_related("personal")
    serializer_class = EntrySerializer
    filterset_class = TrailFilter


routes = [("trail", TrailViewSet)]
