from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers

from opssight.kernel.rest.filters import FilterSet, UidFilter
from opssight.kernel.rest.serializers import StrictModelSerializer
from opssight.kernel.rest.views import Delete, Writes, changed
from scanning.models import Asset
from scanning.schedules import services
from scanning.schedules.models import Schedule, Weekday


class PermittedAsset(serializers.SlugRelatedField[Asset]):
    """An asset in sight; another one does not exist for the caller."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(slug_field="uid", queryset=Asset.objects.all(), **kwargs)

    def get_queryset(self) -> QuerySet[Asset]:
        return Asset.objects.permitted(self.context["request"].user, "assets:read")


class ScheduleSerializer(StrictModelSerializer):
    asset = PermittedAsset()
    # Said here, as the columns' own limits differ from one database to the other.
    hours = serializers.IntegerField(
        min_value=1, max_value=168, required=False, help_text="Every few hours: how many, from 1 to 168."
    )
    minute = serializers.IntegerField(
        min_value=0,
        max_value=24 * 60 - 1,
        required=False,
        help_text="Daily and weekly: minutes after midnight, UTC; 180 is 03:00.",
    )
    weekday = serializers.ChoiceField(Weekday.choices, required=False)

    class Meta:
        model = Schedule
        fields = [
            "uid", "asset", "scanner", "every", "hours", "minute", "weekday", "is_active", "next_at", "last_at",
            "created_at",
        ]  # fmt: skip
        read_only_fields = ["uid", "next_at", "last_at", "created_at"]
        validators: list[Any] = []  # what is taken already is a conflict, which the service tells

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        if self.instance is not None and "asset" in fields:
            fields["asset"] = serializers.SlugRelatedField(slug_field="uid", read_only=True)
        return fields


class ScheduleFilter(FilterSet):
    asset = UidFilter(field_name="asset__uid")


class ScheduleViewSet(Writes, Delete):
    """When assets are scanned. Times are UTC; what was missed runs once."""

    resource = "schedules"
    queryset = Schedule.objects.select_related("asset")
    serializer_class = ScheduleSerializer
    filterset_class = ScheduleFilter

    def _save(self, serializer: Any, instance: Any = None) -> Schedule:
        return services.save_schedule(changed(serializer, instance, Schedule), by=self.request.user)

    def perform_destroy(self, row: Schedule) -> None:
        services.delete_schedule(row, by=self.request.user)


routes = [("schedules", ScheduleViewSet)]
