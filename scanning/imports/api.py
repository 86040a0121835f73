from typing import Any

import django_filters
from django.db.models import F, Sum
from django.http import Http404
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from opssight.kernel.rest.filters import FilterSet, UidFilter
from opssight.kernel.rest.parsers import file_parser
from opssight.kernel.rest.serializers import StrictModelSerializer, StrictSerializer
from opssight.kernel.rest.views import List, Resource, Retrieve
from scanning import reports
from scanning.imports import services
from scanning.imports.models import Import
from scanning.imports.services import COUNTS
from scanning.models import Asset, Scan, Severity
from scanning.reports.base import MAX_BYTES


class ImportSerializer(StrictModelSerializer):
    asset = serializers.UUIDField(source="asset_uid", read_only=True)
    new = serializers.IntegerField(read_only=True)
    same = serializers.IntegerField(read_only=True)
    fixed = serializers.IntegerField(read_only=True)
    reopened = serializers.IntegerField(read_only=True)

    class Meta:
        model = Import
        fields = ["uid", "asset", "name", "digest", "is_partial", *COUNTS, "created_at", "undone_at"]
        read_only_fields = fields


class OneImport(ImportSerializer):
    scans = serializers.SlugRelatedField[Scan](slug_field="uid", many=True, read_only=True)

    class Meta(ImportSerializer.Meta):
        fields = [*ImportSerializer.Meta.fields, "scans"]
        read_only_fields = fields


class NewImport(StrictSerializer):
    asset = serializers.UUIDField()
    file = serializers.FileField(max_length=200, help_text="The report, as it is or gzipped.")
    format = serializers.ChoiceField(sorted(reports.FORMATS), default="", allow_blank=True)
    is_partial = serializers.BooleanField(
        default=False, help_text="It is about a part of the asset: close only in the files that it says it read."
    )
    dry_run = serializers.BooleanField(default=False, help_text="Only say what would happen.")


class Counts(serializers.Serializer[Any]):
    new = serializers.IntegerField()
    same = serializers.IntegerField()
    fixed = serializers.IntegerField()
    reopened = serializers.IntegerField()


class ScannerDiff(Counts):
    scan = serializers.UUIDField(source="uid", help_text="Of no use after a trial.")
    scanner = serializers.CharField()
    scanner_version = serializers.CharField()
    state = serializers.CharField()
    reason = serializers.CharField()


class Raised(serializers.Serializer[Any]):
    scanner = serializers.CharField()
    rule = serializers.CharField()
    title = serializers.CharField()
    severity = serializers.ChoiceField([severity.word for severity in Severity])
    path = serializers.CharField()
    line = serializers.IntegerField()
    cwe = serializers.IntegerField(allow_null=True)
    help_url = serializers.CharField()
    fingerprint = serializers.CharField()


class DiffSerializer(Counts):
    uid = serializers.UUIDField(allow_null=True, help_text="None after a trial.")
    dry_run = serializers.BooleanField()
    scanners = ScannerDiff(many=True)
    raised = Raised(many=True, help_text="After a trial: what would be new or reopened; the most severe 1000.")

    @classmethod
    def told(cls, diff: services.Diff) -> dict[str, Any]:
        row, scans = diff.row, diff.scans
        told = {"uid": row and row.uid, "dry_run": row is None, "scanners": scans, "raised": diff.raised}
        return dict(cls({**told, **diff.counts()}).data)


class UndoneSerializer(serializers.Serializer[Any]):
    withdrawn = serializers.IntegerField()
    restored = serializers.IntegerField()
    kept = serializers.IntegerField()


class ImportFilter(FilterSet):
    asset = UidFilter(field_name="asset__uid")
    digest = django_filters.CharFilter(help_text="SHA-256 of the bytes that came, 64 hex characters.")


class ImportViewSet(Resource, List, Retrieve):
    resource = "imports"
    queryset = Import.objects.annotate(asset_uid=F("asset__uid"), **{name: Sum(f"scans__{name}") for name in COUNTS})
    serializer_class = ImportSerializer
    filterset_class = ImportFilter
    parser_classes = [file_parser(lambda: MAX_BYTES)]

    def get_serializer_class(self) -> type[ImportSerializer]:
        return OneImport if self.action == "retrieve" else ImportSerializer

    @extend_schema(request=NewImport, responses={201: DiffSerializer, 200: DiffSerializer})
    def create(self, request: Request) -> Response:
        """Take in a report that was made elsewhere, and say what it changed; with `dry_run` what it would change."""
        asked = NewImport(data=request.data)
        asked.is_valid(raise_exception=True)
        given: dict[str, Any] = asked.validated_data
        asset = Asset.objects.permitted(request.user, "assets:read").filter(uid=given.pop("asset")).first()
        if asset is None:
            raise Http404
        file = given.pop("file")
        diff = services.import_report(asset, file, name=file.name, by=request.user, **given)
        data = DiffSerializer.told(diff)
        if diff.row is None:
            return Response(data)
        address = reverse("imports-detail", args=[diff.row.uid])
        return Response(data, status=status.HTTP_201_CREATED, headers={"Location": address})

    @extend_schema(request=None, responses=UndoneSerializer)
    @action(detail=True, methods=["post"])
    def undo(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Take the import back: what people decided and other scans saw since stays."""
        return Response(UndoneSerializer(services.undo(self.get_object(), by=request.user)).data)


routes = [("imports", ImportViewSet)]
