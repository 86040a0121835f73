from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from opssight.kernel.access import decide
from opssight.kernel.rest.filters import FilterSet, UidFilter
from opssight.kernel.rest.serializers import StrictModelSerializer, StrictSerializer
from opssight.kernel.rest.views import Delete, Writes, changed
from rbac.models import Unit
from scanning.sla import services
from scanning.sla.models import WORDS, SlaPolicy


class OwnUnit(serializers.SlugRelatedField[Unit]):
    """A unit for which the caller may make a policy; another one does not exist for them."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(slug_field="uid", queryset=Unit.objects.all(), **kwargs)

    def get_queryset(self) -> QuerySet[Unit]:
        user = self.context["request"].user
        units = Unit.objects.all()
        mine = [unit.pk for unit in units if decide(user, "sla-policies:create", SlaPolicy(unit=unit)).allowed]
        return units.filter(pk__in=mine)


class SlaPolicySerializer(StrictModelSerializer):
    unit = OwnUnit(help_text="Where it holds, and below.")

    class Meta:
        model = SlaPolicy
        fields = ["uid", "unit", *reversed(WORDS), "created_at"]
        read_only_fields = ["uid", "created_at"]
        validators: list[Any] = []  # that the unit has one already is a conflict, which the service tells


class InForce(serializers.Serializer[Any]):
    unit = serializers.UUIDField()
    set_at = serializers.UUIDField(allow_null=True, help_text="The unit whose policy it is; null: the built-in one.")
    critical = serializers.IntegerField(allow_null=True, help_text="Hours; null: no deadline.")
    high = serializers.IntegerField(allow_null=True)
    medium = serializers.IntegerField(allow_null=True)
    low = serializers.IntegerField(allow_null=True)
    info = serializers.IntegerField(allow_null=True)


class AskedUnit(StrictSerializer):
    unit = serializers.UUIDField()


class SlaPolicyFilter(FilterSet):
    unit = UidFilter(field_name="unit__uid")


class SlaPolicyViewSet(Writes, Delete):
    """Hours to fix a finding, by severity. The nearest unit above that has a policy decides."""

    resource = "sla-policies"
    queryset = SlaPolicy.objects.select_related("unit")
    serializer_class = SlaPolicySerializer
    filterset_class = SlaPolicyFilter
    takes: ClassVar[dict[str, set[str]]] = {"in_force": {"unit"}}

    def _save(self, serializer: Any, instance: Any = None) -> SlaPolicy:
        if instance is not None and serializer.validated_data.get("unit", instance.unit) != instance.unit:
            raise serializers.ValidationError({"unit": "stays as it is: make another policy."})
        return services.save_policy(changed(serializer, instance, SlaPolicy))

    def perform_destroy(self, policy: SlaPolicy) -> None:
        services.delete_policy(policy)

    @extend_schema(responses=InForce, parameters=[OpenApiParameter("unit", str, required=True)], filters=False)
    @action(detail=False, methods=["get"], url_path="in-force", pagination_class=None)
    def in_force(self, request: Request) -> Response:
        """The deadlines that hold in a unit, and whose they are."""
        asked = AskedUnit(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        unit = Unit.objects.filter(uid=asked.validated_data["unit"]).first()
        if unit is None or not decide(request.user, "sla-policies:read", SlaPolicy(unit=unit)).allowed:
            raise Http404
        policy = services.policies_in([unit.pk])[unit.pk]
        hours = policy.hours() if policy else services.BUILT_IN
        told = {word: hours[severity] for severity, word in enumerate(WORDS)}
        return Response(InForce({"unit": unit.uid, "set_at": policy and policy.unit.uid, **told}).data)

    @classmethod
    def permission_for(cls, action: str) -> str:
        return "sla-policies:read" if action == "in_force" else super().permission_for(action)


routes = [("sla-policies", SlaPolicyViewSet)]
