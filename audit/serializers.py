from typing import Any

from rest_framework import serializers

from audit.models import AuditEntry
from audit.search import ACTIONS
from opssight.kernel.rest.serializers import StrictModelSerializer


class EntrySerializer(StrictModelSerializer):
    """An entry under the seed's names: old_values and new_values are {field: value}.

    `position` is its place in the sealed log, null while it waits.
    """

    number = serializers.IntegerField(source="pk", read_only=True)
    position = serializers.SerializerMethodField()
    quarantined = serializers.SerializerMethodField()
    user_id = serializers.SerializerMethodField()
    user = serializers.CharField(source="actor_label", read_only=True)
    action = serializers.SerializerMethodField()
    old_values = serializers.SerializerMethodField()
    new_values = serializers.SerializerMethodField()
    object = serializers.CharField(source="object_repr", read_only=True)
    ip_address = serializers.SerializerMethodField()
    user_agent = serializers.SerializerMethodField()
    impersonator_id = serializers.SerializerMethodField()
    compliance_tags: "serializers.ListField" = serializers.ListField(child=serializers.CharField(), read_only=True)
    data = serializers.DictField(source="details", read_only=True)  # type: ignore[assignment]  # taken by DRF's metaclass

    class Meta:
        model = AuditEntry
        fields = [
            "uid", "number", "position", "quarantined", "timestamp", "user_id", "user", "actor_kind", "impersonator_id",
            "action", "event", "resource_type",
            "resource_id", "object", "old_values", "new_values", "data", "ip_address", "user_agent", "session",
            "request_id",
            "success", "error_message", "compliance_tags", "tags_version",
        ]  # fmt: skip
        read_only_fields = fields

    def get_position(self, entry: AuditEntry) -> int | None:
        return leaf.position if (leaf := getattr(entry, "leaf", None)) else None

    def get_quarantined(self, entry: AuditEntry) -> bool:
        return bool(getattr(getattr(entry, "leaf", None), "quarantined", False))

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
