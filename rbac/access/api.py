from typing import Any

import django_filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from opssight.kernel.rest.filters import ChoiceIn, FilterSet, UidFilter, choices
from opssight.kernel.rest.serializers import StrictModelSerializer, StrictSerializer, Text, uid
from opssight.kernel.rest.views import Delete, List, Resource, Retrieve, Writes, changed
from rbac.access import services
from rbac.access.models import MAX_NETWORKS, AccessTrace, Policy, Zone


class Condition(serializers.JSONField):
    """A tree of JSON objects; the model checks it and names the place of a fault."""


class PolicySerializer(StrictModelSerializer):
    condition = Condition(
        help_text='{"fact", "op", "value"}, or {"all": […]}, {"any": […]}, {"not": {…}} of such; see `POST …/test`.'
    )

    class Meta:
        model = Policy
        fields = ["uid", "name", "enabled", "resource", "action", "effect", "condition", "reason", "created_at"]
        read_only_fields = ["uid", "created_at"]


class ZoneSerializer(StrictModelSerializer):
    networks = serializers.ListField(child=Text(max_length=64), min_length=1, max_length=MAX_NETWORKS)

    class Meta:
        model = Zone
        fields = ["uid", "name", "networks", "created_at"]
        read_only_fields = ["uid", "created_at"]


class TraceSerializer(StrictModelSerializer):
    user = uid()
    steps = serializers.ListField(child=serializers.DictField(), read_only=True)

    class Meta:
        model = AccessTrace
        fields = ["uid", "at", "user", "permission", "outcome", "policy", "steps", "request_id", "address"]
        read_only_fields = fields


class ConditionTest(StrictSerializer):
    condition = Condition()


class ConditionAnswer(serializers.Serializer[Any]):
    result = serializers.BooleanField(allow_null=True, help_text="null: a fact that decides is missing.")
    nodes = serializers.ListField(child=serializers.DictField(), help_text="What each part said, outer ones first.")
    facts = serializers.DictField(help_text="Every fact as it is in this request; null: missing.")


class PolicyFilter(FilterSet):
    enabled = django_filters.BooleanFilter()
    resource = django_filters.CharFilter()
    effect = ChoiceIn(choices=choices(Policy.Effect))


class TraceFilter(FilterSet):
    user = UidFilter(field_name="user__uid")
    permission = django_filters.CharFilter()
    outcome = ChoiceIn(choices=choices(AccessTrace.Outcome))
    policy = django_filters.CharFilter()
    request_id = django_filters.CharFilter()
    since = django_filters.IsoDateTimeFilter(field_name="at", lookup_expr="gte")
    until = django_filters.IsoDateTimeFilter(field_name="at", lookup_expr="lt")


class PolicyViewSet(Writes, Delete):
    resource = "policies"
    queryset = Policy.objects.all()
    serializer_class = PolicySerializer
    filterset_class = PolicyFilter

    def _save(self, serializer: Any, instance: Any = None) -> Policy:
        return services.save_policy(changed(serializer, instance, Policy))

    def perform_destroy(self, policy: Policy) -> None:
        services.delete_policy(policy)

    @extend_schema(request=ConditionTest, responses=ConditionAnswer)
    @action(detail=False, methods=["post"], url_path="test")
    def test(self, request: Request) -> Response:
        """Try a condition on the caller's own request: whether it holds, what each part said, what every fact is."""
        asked = ConditionTest(data=request.data)
        asked.is_valid(raise_exception=True)
        trial = services.try_condition(asked.validated_data["condition"])
        return Response({"result": trial.answer.result, "nodes": trial.answer.nodes, "facts": trial.facts})

    @classmethod
    def permission_for(cls, action: str) -> str:
        return "policies:read" if action == "test" else super().permission_for(action)


class ZoneViewSet(Writes, Delete):
    resource = "zones"
    queryset = Zone.objects.all()
    serializer_class = ZoneSerializer

    def _save(self, serializer: Any, instance: Any = None) -> Zone:
        return services.save_zone(changed(serializer, instance, Zone))

    def perform_destroy(self, zone: Zone) -> None:
        services.delete_zone(zone)


class TraceViewSet(Resource, List, Retrieve):
    """Why policies refused a request. Kept for 30 days."""

    resource = "traces"
    queryset = AccessTrace.objects.select_related("user")
    serializer_class = TraceSerializer
    filterset_class = TraceFilter


routes = [("policies", PolicyViewSet), ("zones", ZoneViewSet), ("traces", TraceViewSet)]
