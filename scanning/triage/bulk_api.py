from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from django.http import QueryDict
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from opssight.kernel.rest.serializers import StrictModelSerializer, StrictSerializer, Text, uid
from opssight.kernel.rest.views import List, Resource, Retrieve
from scanning.finding_api import FindingFilter
from scanning.models import Finding, Status
from scanning.triage import bulk, ownership, undo
from scanning.triage.comments_api import finding_named
from scanning.triage.models import BulkAction


class LeftSerializer(serializers.Serializer[Any]):
    why = serializers.CharField()
    count = serializers.IntegerField()
    findings = serializers.ListField(child=serializers.UUIDField(), help_text="The first 1,000.")


class BulkActionSerializer(StrictModelSerializer):
    original = uid()
    owner = uid()
    tag = serializers.CharField(source="word", read_only=True)
    left = LeftSerializer(many=True, read_only=True)
    undo_until = serializers.DateTimeField(read_only=True)

    class Meta:
        model = BulkAction
        fields = [
            "uid", "kind", "status", "reason", "until", "original", "owner", "tag", "done_at", "changed", "left",
            "undo_until", "undone_at", "restored", "kept",
        ]  # fmt: skip
        read_only_fields = fields


class NewBulkAction(StrictSerializer):
    findings = serializers.ListField(
        child=serializers.UUIDField(), required=False, min_length=1, max_length=bulk.MOST_NAMED
    )
    filter = serializers.DictField(
        child=serializers.CharField(max_length=4096), required=False,
        help_text="In place of `findings`: all that GET /findings shows with these parameters.",
    )  # fmt: skip
    count = serializers.IntegerField(
        required=False, min_value=0, help_text="How many the filter shows. Where it is another number by now: a 409."
    )
    kind = serializers.ChoiceField(BulkAction.Kind.choices)
    status = serializers.ChoiceField(Status.choices, required=False)
    reason = Text(max_length=1000, default="", allow_blank=True)
    until = serializers.DateTimeField(default=None, allow_null=True)
    original = serializers.UUIDField(default=None, allow_null=True)
    owner = serializers.UUIDField(required=False, allow_null=True, help_text="null for nobody.")
    tag = Text(max_length=200, required=False)

    NEEDED = {"decide": "status", "assign": "owner", "tag": "tag", "untag": "tag"}

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        if ("findings" in data) == ("filter" in data):
            raise ValidationError("Send either findings or filter.")
        if ("filter" in data) != ("count" in data):
            raise ValidationError({"count": "goes with filter: how many findings it shows."})
        needed = self.NEEDED[data["kind"]]
        if needed not in data:
            raise ValidationError({needed: f"is needed to {data['kind']}."})
        return data


class BulkActionViewSet(Resource, List, Retrieve):
    resource = "bulk-actions"
    queryset = BulkAction.objects.select_related("original", "owner")
    serializer_class = BulkActionSerializer

    @classmethod
    def permission_for(cls, action: str) -> str:
        return "findings:triage" if action == "create" else super().permission_for("read")

    @extend_schema(request=NewBulkAction, responses={201: BulkActionSerializer})
    def create(self, request: Request) -> Response:
        """Do one thing to many findings, and say which were left and why. It can be undone for ten minutes."""
        asked = NewBulkAction(data=request.data)
        asked.is_valid(raise_exception=True)
        given: dict[str, Any] = asked.validated_data
        doing = BulkAction(
            kind=given["kind"], status=given.get("status", ""), reason=given["reason"], until=given["until"],
            original=given["original"] and finding_named(request, given["original"]),
            owner=given.get("owner") and ownership.person(uid=given["owner"]), word=given.get("tag", ""),
        )  # fmt: skip
        if "findings" in given:
            done = bulk.run(doing, by=request.user, uids=given["findings"])
        else:
            keys = bulk.shown(filtered(request, given["filter"]), given["count"])
            done = bulk.run(doing, by=request.user, keys=keys)
        address = reverse("bulk-actions-detail", args=[done.uid])
        return Response(self.get_serializer(done).data, status=201, headers={"Location": address})

    @extend_schema(request=None, responses=BulkActionSerializer)
    @action(detail=True, methods=["post"])
    def undo(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Give back what it changed, but for what somebody changed since. Within ten minutes, once, by who did it."""
        return Response(self.get_serializer(undo.undo(self.get_object(), by=request.user)).data)


def filtered(request: Request, asked: Mapping[str, str]) -> QuerySet[Finding]:
    """What GET /findings shows with these parameters."""
    if unknown := sorted(set(asked) - set(FindingFilter.base_filters)):
        known = ", ".join(sorted(FindingFilter.base_filters))
        raise ValidationError({"filter": f"unknown: {', '.join(unknown)[:200]}. There are: {known}."})
    query = QueryDict(mutable=True)
    query.update(dict(asked))
    rows = Finding.objects.permitted(request.user, "findings:read")
    narrowed = FindingFilter(query, queryset=rows, request=request)
    if not narrowed.is_valid():
        raise ValidationError({"filter": narrowed.errors})
    found: QuerySet[Finding] = narrowed.qs
    return found


routes = [("bulk-actions", BulkActionViewSet)]
