from typing import Any

from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from opssight.kernel.rest.bulk import BulkAnswer, BulkRequest, each
from opssight.kernel.rest.filters import ChoiceIn, FilterSet, UidFilter, YesNo, choices
from opssight.kernel.rest.serializers import StrictModelSerializer, StrictSerializer, Text, uid
from opssight.kernel.rest.views import List, Resource, Retrieve
from scanning.models import Status
from scanning.triage import bulk_api, comments_api, services
from scanning.triage.comments_api import finding_named
from scanning.triage.models import Decision


class DecisionSerializer(StrictModelSerializer):
    finding = uid()
    original = uid()
    decided_by = uid()
    answered_by = uid()

    class Meta:
        model = Decision
        fields = [
            "uid", "finding", "was", "status", "reason", "until", "original", "decided_by", "decided_at", "is_approved",
            "answered_by", "answered_at", "answer", "woken_at", "undone_at",
        ]  # fmt: skip
        read_only_fields = fields


class NewDecision(StrictSerializer):
    finding = serializers.UUIDField()
    status = serializers.ChoiceField(Status.choices)
    reason = Text(max_length=1000, default="", allow_blank=True)
    until = serializers.DateTimeField(default=None, allow_null=True, help_text="Of an acceptance, which runs out.")
    original = serializers.UUIDField(default=None, allow_null=True, help_text="What a duplicate is one of.")


class Answer(StrictSerializer):
    reason = Text(max_length=1000, default="", allow_blank=True)


class DecisionFilter(FilterSet):
    finding = UidFilter(field_name="finding__uid")
    status = ChoiceIn(choices=choices(Status))
    waiting = YesNo(field_name="is_approved", method="by_waiting", help_text="Acceptances that nobody has answered.")

    def by_waiting(self, rows: Any, name: str, waiting: bool) -> Any:
        asked = Decision.objects.waiting().values("pk")
        return rows.filter(pk__in=asked) if waiting else rows.exclude(pk__in=asked)


class DecisionViewSet(Resource, List, Retrieve):
    resource = "decisions"
    queryset = Decision.objects.select_related("finding", "original", "decided_by", "answered_by")
    serializer_class = DecisionSerializer
    filterset_class = DecisionFilter

    @classmethod
    def permission_for(cls, action: str) -> str:
        if action in ("create", "bulk"):
            return "findings:triage"
        return super().permission_for("approve" if action == "refuse" else action)

    @extend_schema(request=NewDecision, responses={201: DecisionSerializer})
    def create(self, request: Request) -> Response:
        """Decide about a finding. An acceptance counts once a second person approved it."""
        decision = self._decide(request.data, request)
        address = reverse("decisions-detail", args=[decision.uid])
        data = self.get_serializer(decision).data
        return Response(data, status=status.HTTP_201_CREATED, headers={"Location": address})

    @extend_schema(request=BulkRequest, responses=BulkAnswer)
    @action(detail=False, methods=["post"])
    def bulk(self, request: Request) -> Response:
        """Up to 100 different decisions, each by itself. The same one about many findings: `/bulk-actions`."""
        return each(request, self._decide)

    def _decide(self, data: Any, request: Request, *, dry_run: bool = False) -> Decision:
        asked = NewDecision(data=data)
        asked.is_valid(raise_exception=True)
        given: dict[str, Any] = asked.validated_data
        finding, original = finding_named(request, given.pop("finding")), given.pop("original")
        return services.decide(
            finding, given.pop("status"), by=request.user, original=original and finding_named(request, original),
            **given,
        )  # fmt: skip

    @extend_schema(request=None, responses=DecisionSerializer)
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """A second person accepts the risk."""
        decision = services.answer(self.get_object(), approve=True, by=request.user)
        return Response(self.get_serializer(decision).data)

    @extend_schema(request=Answer, responses=DecisionSerializer)
    @action(detail=True, methods=["post"])
    def refuse(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        asked = Answer(data=request.data)
        asked.is_valid(raise_exception=True)
        decision = services.answer(self.get_object(), approve=False, by=request.user, **asked.validated_data)
        return Response(self.get_serializer(decision).data)


routes = [("decisions", DecisionViewSet), *bulk_api.routes, *comments_api.routes]
