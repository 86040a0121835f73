from typing import Any

from django.http import Http404
from django.utils import timezone
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ReadOnlyModelViewSet

from compliance import services
from compliance.models import Contribution, Control, Framework, Requirement, Result
from opssight.kernel.guards import GuardedMixin


class ContributionSerializer(serializers.ModelSerializer[Contribution]):
    framework = serializers.CharField(source="requirement.framework.key", read_only=True)
    requirement = serializers.CharField(source="requirement.ref", read_only=True)
    title = serializers.CharField(source="requirement.title", read_only=True)

    class Meta:
        model = Contribution
        fields = ["framework", "requirement", "title"]


class ReadingSerializer(serializers.Serializer[Any]):
    """A `Reading`: a control with its state as it reads now. Figures and times are its newest result's, or null."""

    uid = serializers.UUIDField(source="control.uid")
    key = serializers.CharField(source="control.key")
    title = serializers.CharField(source="control.title")
    description = serializers.CharField(source="control.description")
    kind = serializers.CharField(source="control.kind")
    weight = serializers.IntegerField(source="control.weight")
    max_age_hours = serializers.IntegerField(source="control.max_age_hours")
    params = serializers.JSONField(source="control.params")
    contributes_to = ContributionSerializer(source="control.contributions", many=True)
    state = serializers.CharField()
    reason = serializers.CharField()
    population = serializers.IntegerField(source="result.population", default=None)
    failed = serializers.IntegerField(source="result.failed", default=None)
    evaluated_at = serializers.DateTimeField(source="result.evaluated_at", default=None)
    valid_until = serializers.DateTimeField(source="result.valid_until", default=None)
    result = serializers.UUIDField(source="result.uid", default=None)


class RowSerializer(serializers.Serializer[Any]):
    """A `NamedRow`."""

    resource_type = serializers.CharField(source="row.resource_type")
    uid = serializers.UUIDField(source="row.resource_uid")
    label = serializers.CharField(source="name")  # type: ignore[assignment]  # taken by DRF's metaclass
    failed = serializers.BooleanField(source="row.failed")
    detail = serializers.CharField(source="row.detail")


class ResultSerializer(serializers.ModelSerializer[Result]):
    """`state` and `reason` are as they read now, so that an old pass is none; `recorded_state` is what was found."""

    control = serializers.CharField(source="control.key", read_only=True)
    state = serializers.SerializerMethodField()
    reason = serializers.SerializerMethodField()
    recorded_state = serializers.CharField(source="state", read_only=True)
    recorded_reason = serializers.CharField(source="reason", read_only=True)
    digest = serializers.CharField(source="row_set.digest", read_only=True)

    class Meta:
        model = Result
        fields = [
            "uid", "control", "state", "reason", "recorded_state", "recorded_reason", "population", "failed",
            "evaluated_at", "valid_until", "params", "digest",
        ]  # fmt: skip

    def get_state(self, result: Result) -> str:
        return result.state_at(timezone.now())

    def get_reason(self, result: Result) -> str:
        return result.read_at(timezone.now())[1]


class ResultWithRowsSerializer(ResultSerializer):
    rows = serializers.SerializerMethodField()

    class Meta(ResultSerializer.Meta):
        fields = [*ResultSerializer.Meta.fields, "rows"]

    def get_rows(self, result: Result) -> Any:
        rows = services.named(result.row_set.rows.order_by("-failed", "id"), self.context["request"].user)
        return RowSerializer(rows, many=True).data


class RequirementSerializer(serializers.ModelSerializer[Requirement]):
    controls: "serializers.SlugRelatedField[Any]" = serializers.SlugRelatedField(
        slug_field="key", many=True, read_only=True
    )

    class Meta:
        model = Requirement
        fields = ["ref", "title", "controls"]


class FrameworkSerializer(serializers.ModelSerializer[Framework]):
    requirements = RequirementSerializer(many=True, read_only=True)

    class Meta:
        model = Framework
        fields = ["uid", "key", "name", "version", "requirements"]


class ControlViewSet(GuardedMixin, ReadOnlyModelViewSet[Control]):
    resource = "controls"
    queryset = Control.objects.with_latest().prefetch_related("contributions__requirement__framework")
    serializer_class = ReadingSerializer
    page_order = ["key"]
    lookup_value_converter = "str"  # a key or a uid

    def paginate_queryset(self, queryset: Any) -> Any:
        return services.readings(super().paginate_queryset(queryset) or [], at=timezone.now())

    def get_object(self) -> Control:
        controls: Any = self.get_queryset()
        control: Control | None = controls.named(self.kwargs["uid"]).first()
        if control is None:
            raise Http404
        self.check_object_permissions(self.request, control)
        return control

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        (reading,) = services.readings([self.get_object()], at=timezone.now())
        return Response(self.get_serializer(reading).data)

    @action(detail=True, methods=["post"])
    def evaluate(self, request: Request, uid: str) -> Response:
        result = services.evaluate(self.get_object())
        answer = ResultWithRowsSerializer(result, context=self.get_serializer_context())
        return Response(answer.data, status=status.HTTP_201_CREATED)


class ResultViewSet(GuardedMixin, ReadOnlyModelViewSet[Result]):
    resource = "results"
    queryset = Result.objects.select_related("control", "row_set")

    def get_serializer_class(self) -> type[ResultSerializer]:
        return ResultSerializer if self.action == "list" else ResultWithRowsSerializer

    def get_queryset(self) -> Any:
        """`?control=` takes a key or a uid."""
        results, name = super().get_queryset(), self.request.query_params.get("control")
        if name is None:
            return results
        control = Control.objects.named(name).first()
        if control is None:
            raise ValidationError({"control": "is not the key or uid of a control"})
        return results.filter(control=control)


class FrameworkViewSet(GuardedMixin, ReadOnlyModelViewSet[Framework]):
    resource = "frameworks"
    queryset = Framework.objects.prefetch_related("requirements__controls")
    serializer_class = FrameworkSerializer


routes = [("frameworks", FrameworkViewSet), ("controls", ControlViewSet), ("results", ResultViewSet)]
