"""Assets, what covers them, and files that stand for them."""

from typing import Any

import django_filters
from django.conf import settings
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from opssight.kernel.rest.bulk import BulkAnswer, BulkRequest, each
from opssight.kernel.rest.filters import ChoiceIn, FilterSet, UidFilter, choices
from opssight.kernel.rest.parsers import file_parser
from opssight.kernel.rest.serializers import StrictModelSerializer, StrictSerializer, Text
from opssight.kernel.rest.views import List, Resource, Retrieve, Update
from rbac.models import Unit
from scanning import inventory, retired
from scanning.coverage import STATES, matrix
from scanning.models import Asset, Scan


class PermittedUnit(serializers.SlugRelatedField[Unit]):
    """A unit in which the caller may create assets; another one does not exist for them."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(slug_field="uid", queryset=Unit.objects.all(), **kwargs)

    def get_queryset(self) -> QuerySet[Unit]:
        return inventory.units_for_new_assets(self.context["request"].user)


class AssetSerializer(StrictModelSerializer):
    unit = PermittedUnit()
    kind = serializers.ChoiceField(
        [choice for choice in Asset.Kind.choices if choice[0] != Asset.Kind.INSTALLATION], default=Asset.Kind.FOLDER
    )
    location = Text(
        max_length=1000, allow_blank=True,
        help_text="The path of a folder or file on the server, a repository's address, an image's reference. "
        "None of an upload.",
    )  # fmt: skip
    secret = Text(
        max_length=10_000, write_only=True, required=False, allow_blank=True, lines=True, trim_whitespace=False,
        help_text="Of a repository or registry: password or token; for ssh a private key. Never shown again.",
    )  # fmt: skip
    has_secret = serializers.BooleanField(read_only=True)

    class Meta:
        model = Asset
        fields = [
            "uid", "name", "kind", "location", "unit", "is_active", "branch", "username", "secret", "has_secret",
            "upload_name", "upload_digest", "uploaded_at", "created_at",
        ]  # fmt: skip
        read_only_fields = ["uid", "upload_name", "upload_digest", "uploaded_at", "created_at"]
        validators: list[Any] = []  # what is taken already is a conflict, which the service tells

    def get_fields(self) -> dict[str, Any]:
        """What an asset is stays: findings are about it."""
        fields = super().get_fields()
        if self.instance is not None and "kind" in fields:
            fields["kind"] = serializers.ChoiceField(Asset.Kind.choices, read_only=True)
        return fields


class CoverageCellSerializer(serializers.Serializer[Any]):
    scanner = serializers.CharField()
    state = serializers.ChoiceField([*STATES])
    scan = serializers.UUIDField(source="scan.uid", default=None, allow_null=True)
    completed_at = serializers.DateTimeField(allow_null=True)
    reason = serializers.CharField(help_text="Why it is not used.")


class AssetCoverageSerializer(serializers.Serializer[Any]):
    asset = serializers.UUIDField()
    name = serializers.CharField()
    tools = CoverageCellSerializer(many=True)


class ToolToRetire(StrictSerializer):
    scanner = Text(max_length=32)
    reason = Text(max_length=500, help_text="Why the asset does without it.")


class ToolToReturn(StrictSerializer):
    scanner = Text(max_length=32)


class NewUpload(StrictSerializer):
    file = serializers.FileField(max_length=200, help_text="zip, tar, tar.gz, tar.bz2 or tar.xz; of an image, tar.")


class AssetFilter(FilterSet):
    is_active = django_filters.BooleanFilter()
    kind = ChoiceIn(choices=choices(Asset.Kind))
    unit = UidFilter(field_name="unit__uid")
    name = django_filters.CharFilter(lookup_expr="icontains")


class AssetViewSet(Resource, List, Retrieve, Update):
    resource = "assets"
    queryset = Asset.objects.select_related("unit")
    serializer_class = AssetSerializer
    filterset_class = AssetFilter
    takes = {"coverage": {"limit", "cursor"}}

    def create(self, request: Request) -> Response:
        asset = self._create(request.data, request, dry_run=False)
        data, etag = self.represent(asset)
        address = reverse("assets-detail", args=[asset.uid])
        return Response(data, status=status.HTTP_201_CREATED, headers={"ETag": etag, "Location": address})

    @extend_schema(request=BulkRequest, responses=BulkAnswer)
    @action(detail=False, methods=["post"], url_path="bulk")
    def bulk(self, request: Request) -> Response:
        """Create up to 100 assets; each item succeeds or fails by itself. `dry_run` only says what would happen."""
        return each(request, self._create)

    def _create(self, data: Any, request: Request, *, dry_run: bool) -> Asset:
        asked = self.get_serializer(data=data)
        asked.is_valid(raise_exception=True)
        return inventory.create_asset(**asked.validated_data, by=request.user)

    @extend_schema(responses=AssetCoverageSerializer(many=True))
    @action(detail=False, methods=["get"])
    def coverage(self, request: Request) -> Response:
        """How each tool stands on each active asset: `state` is one of running, clean, findings, partly, failed,
        not_installed, stale, never, not_used, does_not_fit."""
        assets = self.paginate_queryset(self.get_queryset().filter(is_active=True)) or []
        runs = Scan.objects.permitted(request.user, "scans:read")
        rows = matrix(assets, runs, at=timezone.now())
        told = [{"asset": asset.uid, "name": asset.name, "tools": row} for asset, row in zip(assets, rows, strict=True)]
        return self.get_paginated_response(AssetCoverageSerializer(told, many=True).data)

    @extend_schema(request={"multipart/form-data": NewUpload}, responses=AssetSerializer)
    @action(detail=True, methods=["post"], parser_classes=[file_parser(lambda: settings.UPLOAD_MAX * 1_000_000)])
    def upload(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What the archive or container image is from now on. Findings stay what they are."""
        asset = self.get_object()
        asked = NewUpload(data=request.data)
        asked.is_valid(raise_exception=True)
        file = asked.validated_data["file"]
        data, etag = self.represent(inventory.upload(asset, file, name=file.name, by=request.user))
        return Response(data, headers={"ETag": etag})

    @extend_schema(request=ToolToRetire, responses={204: None})
    @action(detail=True, methods=["post"], url_path="retire-tool")
    def retire_tool(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The asset does without this tool: its runs there say nothing of it any more. Its findings stay as they are.
        A scan by it, or an import, puts it to use again."""
        asset, asked = self.get_object(), ToolToRetire(data=request.data)
        asked.is_valid(raise_exception=True)
        retired.retire(asset, **asked.validated_data, by=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=ToolToReturn, responses={204: None})
    @action(detail=True, methods=["post"], url_path="return-tool")
    def return_tool(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """It is in use again, with what its last run said."""
        asset, asked = self.get_object(), ToolToReturn(data=request.data)
        asked.is_valid(raise_exception=True)
        retired.take_back(asset, asked.validated_data["scanner"], by=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def perform_update(self, serializer: Any) -> None:
        given = serializer.validated_data
        serializer.instance = inventory.change_asset(serializer.instance, **given, by=self.request.user)

    @classmethod
    def permission_for(cls, action: str) -> str:
        asked = {"bulk": "assets:create", "coverage": "scans:read"}
        if action in ("upload", "retire_tool", "return_tool"):
            return "assets:update"
        return asked.get(action) or super().permission_for(action)


routes = [("assets", AssetViewSet)]
