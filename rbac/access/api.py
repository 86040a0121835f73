from typing import Any, ClassVar

import django_filters
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.caller import caller
from accounts.models import User
from opssight.kernel.rest.filters import ChoiceIn, FilterSet, UidFilter, YesNo, choices
from opssight.kernel.rest.serializers import StrictModelSerializer, StrictSerializer, Text, uid
from opssight.kernel.rest.views import Delete, List, Resource, Retrieve, Writes, changed
from rbac.access import factors, services
from rbac.access.models import MAX_NETWORKS, STRENGTHS, AccessTrace, FactorRule, Policy, Zone
from rbac.models import Role


class Condition(serializers.JSONField):
    """A tree of JSON objects; the model checks it and names the place of a fault."""


class PolicySerializer(StrictModelSerializer):
    condition = Condition(
        help_text='{"fact", "op", "value"}, or {"all": […]}, {"any": […]}, {"not": {…}} of such; see `POST …/test`.'
    )

    class Meta:
        model = Policy
        fields = [
            "uid",
            "name",
            "enabled",
            "resource",
            "action",
            "effect",
            "condition",
            "reason",
            "level",
            "max_age",
            "created_at",
        ]
        read_only_fields = ["uid", "created_at"]


class FactorRuleSerializer(StrictModelSerializer):
    role = serializers.SlugRelatedField(slug_field="key", queryset=Role.objects.all())
    due_at = serializers.DateTimeField(read_only=True, help_text="From when a weaker factor is refused.")

    class Meta:
        model = FactorRule
        fields = ["uid", "role", "level", "max_age", "grace_days", "enabled", "due_at", "created_at"]
        read_only_fields = ["uid", "due_at", "created_at"]


class Blocked(serializers.Serializer[Any]):
    uid = serializers.UUIDField()
    email = serializers.EmailField()
    name = serializers.CharField()


class Rehearsal(serializers.Serializer[Any]):
    role = serializers.CharField()
    level = serializers.CharField()
    holders = serializers.IntegerField(help_text="People who hold the role.")
    blocked = Blocked(many=True, help_text="Those of them without a factor that strong.")


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


class AskedRehearsal(StrictSerializer):
    role = serializers.SlugRelatedField(slug_field="key", queryset=Role.objects.all())
    level = serializers.ChoiceField(STRENGTHS)


class ConditionTest(StrictSerializer):
    condition = Condition()


class ConditionAnswer(serializers.Serializer[Any]):
    result = serializers.BooleanField(allow_null=True, help_text="null: a fact that decides is missing.")
    nodes = serializers.ListField(child=serializers.DictField(), help_text="What each part said, outer ones first.")
    facts = serializers.DictField(help_text="Every fact as it is in this request; null: missing.")


class PolicyFilter(FilterSet):
    enabled = YesNo()
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


class FactorRuleViewSet(Writes, Delete):
    """What roles ask of the second factor. Try a rule with `rehearsal` before you switch it on."""

    resource = "factor-rules"
    queryset = FactorRule.objects.select_related("role")
    serializer_class = FactorRuleSerializer
    takes: ClassVar[dict[str, set[str]]] = {"rehearsal": {"role", "level"}}

    def _save(self, serializer: Any, instance: Any = None) -> FactorRule:
        return factors.save_rule(changed(serializer, instance, FactorRule), by=caller(self.request))

    def perform_destroy(self, rule: FactorRule) -> None:
        factors.delete_rule(rule)

    @extend_schema(
        responses=Rehearsal, parameters=[OpenApiParameter("role", str), OpenApiParameter("level", str)], filters=False
    )
    @action(detail=False, methods=["get"], pagination_class=None)
    def rehearsal(self, request: Request) -> Response:
        """Whom a rule would stop at their next sign-in: holders of the role without a factor of that level."""
        asked = AskedRehearsal(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        role, level = asked.validated_data["role"], asked.validated_data["level"]
        people = User.objects.permitted(request.user, "users:read")
        blocked = factors.rehearse(role, level).filter(pk__in=people)
        answer = {"role": role.key, "level": level, "holders": factors.holders(role).count(), "blocked": blocked}
        return Response(Rehearsal(answer).data)

    @classmethod
    def permission_for(cls, action: str) -> str:
        return "factor-rules:read" if action == "rehearsal" else super().permission_for(action)


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


routes = [
    ("policies", PolicyViewSet),
    ("zones", ZoneViewSet),
    ("factor-rules", FactorRuleViewSet),
    ("traces", TraceViewSet),
]
