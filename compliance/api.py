from typing import Any

import django_filters
from django.db.models import QuerySet
from django.http import Http404
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from compliance import services
from compliance.models import Contribution, Control, Framework, Requirement, Result, State
from compliance.services import Reading
from opssight.kernel.rest.filters import ChoiceIn, FilterSet, choices
from opssight.kernel.rest.serializers import StrictModelSerializer, StrictSerializer
from opssight.kernel.rest.views import List, Resource, Retrieve


class ContributionSerializer(StrictModelSerializer):
    framework = serializers.CharField(source="requirement.framework.key", read_only=True)
    requirement = serializers.CharField(source="requirement.ref", read_only=True)
    title = serializers.CharField(source="requirement.title", read_only=True)

    class Meta:
        model = Contribution
        fields = ["framework", "requirement", "title"]


class ControlSerializer(StrictSerializer):
    """A `Reading`: a control with its state as it reads now. Figures and times are its newest result's, or null."""

    uid = serializers.UUIDField(source="control.uid", read_only=True)
    key = serializers.CharField(source="control.key", read_only=True)
    title = serializers.CharField(source="control.title", read_only=True)
    description = serializers.CharField(source="control.description", read_only=True)
    kind = serializers.ChoiceField(Control.Kind.choices, source="control.kind", read_only=True)
    weight = serializers.IntegerField(source="control.weight", read_only=True)
    max_age_hours = serializers.IntegerField(source="control.max_age_hours", read_only=True)
    params = serializers.JSONField(source="control.params", read_only=True)
    contributes_to = ContributionSerializer(source="control.contributions", many=True, read_only=True)
    state = serializers.ChoiceField(State.choices, read_only=True)
    reason = serializers.CharField(read_only=True)
    population = serializers.IntegerField(source="result.population", read_only=True, allow_null=True)
    failed = serializers.IntegerField(source="result.failed", read_only=True, allow_null=True)
    evaluated_at = serializers.DateTimeField(source="result.evaluated_at", read_only=True, allow_null=True)
    valid_until = serializers.DateTimeField(source="result.valid_until", read_only=True, allow_null=True)
    result = serializers.UUIDField(source="result.uid", read_only=True, allow_null=True)

    class Meta:
        fields: list[str] = []  # declared above, all of them


class RowSerializer(StrictSerializer):
    """A `NamedRow`."""

    resource_type = serializers.CharField(source="row.resource_type", read_only=True)
    uid = serializers.UUIDField(source="row.resource_uid", read_only=True)
    name = serializers.CharField(read_only=True, help_text="The record's name, as far as the caller may know it.")
    label = serializers.CharField(  # type: ignore[assignment]  # DRF's metaclass takes it
        source="row.label", read_only=True, help_text="As stored and covered by the digest; empty for accounts."
    )
    failed = serializers.BooleanField(source="row.failed", read_only=True)
    detail = serializers.CharField(source="row.detail", read_only=True)


class ResultSerializer(StrictModelSerializer):
    """`state` and `reason` are as they read now, so that an old pass is none; `recorded_state` is what was found."""

    control = serializers.CharField(source="control.key", read_only=True)
    state = serializers.SerializerMethodField()
    reason = serializers.SerializerMethodField()
    recorded_state = serializers.ChoiceField(State.choices, source="state", read_only=True)
    recorded_reason = serializers.CharField(source="reason", read_only=True)
    digest = serializers.CharField(source="row_set.digest", read_only=True)

    class Meta:
        model = Result
        fields = [
            "uid", "control", "state", "reason", "recorded_state", "recorded_reason", "population", "failed",
            "evaluated_at", "valid_until", "params", "digest",
        ]  # fmt: skip
        read_only_fields = fields

    def get_state(self, result: Result) -> State:
        return result.state_at(timezone.now())

    def get_reason(self, result: Result) -> str:
        return result.read_at(timezone.now())[1]


class ResultWithRowsSerializer(ResultSerializer):
    """The whole population, failing rows first; from `_with_rows`."""

    rows = RowSerializer(source="named_rows", many=True, read_only=True)

    class Meta(ResultSerializer.Meta):
        fields = [*ResultSerializer.Meta.fields, "rows"]
        read_only_fields = fields


class RequirementSerializer(StrictModelSerializer):
    controls: "serializers.SlugRelatedField[Any]" = serializers.SlugRelatedField(
        slug_field="key", many=True, read_only=True
    )

    class Meta:
        model = Requirement
        fields = ["ref", "title", "controls"]


class FrameworkSerializer(StrictModelSerializer):
    requirements = RequirementSerializer(many=True, read_only=True)

    class Meta:
        model = Framework
        fields = ["uid", "key", "name", "version", "requirements"]
        read_only_fields = fields


class ResultFilter(FilterSet):
    control = django_filters.CharFilter(method="of_control", help_text="The key or uid of a control.")
    recorded_state = ChoiceIn(field_name="state", choices=choices(State))
    since = django_filters.IsoDateTimeFilter(field_name="evaluated_at", lookup_expr="gte")
    until = django_filters.IsoDateTimeFilter(field_name="evaluated_at", lookup_expr="lt")

    def of_control(self, queryset: QuerySet[Result], name: str, value: str) -> QuerySet[Result]:
        control = Control.objects.named(value).first()
        if control is None:
            raise serializers.ValidationError({name: "is not the key or uid of a control."})
        return queryset.filter(control=control)


def _with_rows(result: Result, reader: Any) -> Result:
    """Gives the result its `named_rows`, as `reader` may see them."""
    rows = services.named(result.row_set.rows.order_by("-failed", "id"), reader)
    result.named_rows = rows  # type: ignore[attr-defined]
    return result


class ControlViewSet(Resource, List, Retrieve):
    resource = "controls"
    queryset = Control.objects.with_latest().prefetch_related("contributions__requirement__framework")
    serializer_class = ControlSerializer
    page_order = ["key"]
    lookup_url_kwarg = "key"  # or a uid
    lookup_value_converter = "str"

    def paginate_queryset(self, queryset: Any) -> Any:
        return services.readings(super().paginate_queryset(queryset) or [], at=timezone.now())

    def get_object(self) -> Reading:
        controls: Any = self.get_queryset()
        control: Control | None = controls.named(self.kwargs["key"]).first()
        if control is None:
            raise Http404
        self.check_object_permissions(self.request, control)
        return services.readings([control], at=timezone.now())[0]

    @extend_schema(request=None, responses={201: ResultWithRowsSerializer})
    @action(detail=True, methods=["post"])
    def evaluate(self, request: Request, key: str) -> Response:
        """Run the control's test on the data of now. 201 with the result and the rows behind it."""
        result = _with_rows(services.evaluate(self.get_object().control), request.user)
        address = reverse("results-detail", args=[result.uid])
        return Response(ResultWithRowsSerializer(result).data, status.HTTP_201_CREATED, headers={"Location": address})


class ResultViewSet(Resource, List, Retrieve):
    resource = "results"
    queryset = Result.objects.select_related("control", "row_set")
    filterset_class = ResultFilter

    def get_serializer_class(self) -> type[ResultSerializer]:
        return ResultSerializer if self.action == "list" else ResultWithRowsSerializer

    def get_object(self) -> Result:
        return _with_rows(super().get_object(), self.request.user)


class FrameworkViewSet(Resource, List, Retrieve):
    resource = "frameworks"
    queryset = Framework.objects.prefetch_related("requirements__controls")
    serializer_class = FrameworkSerializer


routes = [("frameworks", FrameworkViewSet), ("controls", ControlViewSet), ("results", ResultViewSet)]
