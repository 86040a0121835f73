from typing import Any, cast
from uuid import UUID

import django_filters
from django.db.models import F, QuerySet
from django.http import Http404, StreamingHttpResponse
from django.urls import reverse
from django.utils import timezone
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from opssight.kernel.access import check
from opssight.kernel.rest.bulk import BulkAnswer, BulkRequest, each
from opssight.kernel.rest.filters import ChoiceIn, FilterSet, UidFilter, YesNo, choices
from opssight.kernel.rest.serializers import StrictModelSerializer, StrictSerializer, Text, uid
from opssight.kernel.rest.views import List, Resource, Retrieve, Update, accepted, wait_for
from rbac.models import Unit
from scanning import exports, retired, services
from scanning.coverage import STATES, matrix
from scanning.deadlines import api as deadlines
from scanning.deadlines.share import within
from scanning.detail import RATED
from scanning.models import Asset, Finding, Scan, ScanState, Severity, Status
from scanning.triage import ownership
from scanning.triage.models import Tag


class PermittedUnit(serializers.SlugRelatedField[Unit]):
    """A unit in which the caller may create assets; another one does not exist for them."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(slug_field="uid", queryset=Unit.objects.all(), **kwargs)

    def get_queryset(self) -> QuerySet[Unit]:
        return services.units_for_new_assets(self.context["request"].user)


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


class ScanSerializer(StrictModelSerializer):
    asset = uid()

    class Meta:
        model = Scan
        fields = [
            "uid", "asset", "scanner", "scanner_version", "trigger", "state", "reason", "revision", "parts_total",
            "parts_done", "files_read", "new", "same", "fixed", "reopened", "queued_at", "started_at", "finished_at",
        ]  # fmt: skip
        read_only_fields = fields


class NewScan(StrictSerializer):
    asset = serializers.UUIDField()
    scanner = Text(max_length=32, required=False, help_text="One tool; without it every installed one that fits.")


class RequestedScans(ScanSerializer):
    """The first scan, and in `scans` one row per tool."""

    scans = ScanSerializer(many=True, read_only=True)

    class Meta(ScanSerializer.Meta):
        fields = [*ScanSerializer.Meta.fields, "scans"]
        read_only_fields = fields


class FindingSerializer(StrictModelSerializer):
    asset = serializers.UUIDField(source="asset_uid", read_only=True)
    severity = serializers.ChoiceField([severity.word for severity in Severity], source="severity_word", read_only=True)
    label = serializers.CharField(read_only=True)  # type: ignore[assignment]  # DRF's metaclass takes it
    first_scan = serializers.UUIDField(source="first_scan_uid", read_only=True)
    last_scan = serializers.UUIDField(source="last_scan_uid", read_only=True)
    owner = serializers.UUIDField(source="owner_uid", read_only=True, allow_null=True)
    tags = serializers.SlugRelatedField[Tag](slug_field="word", many=True, read_only=True)
    aliases = serializers.ListField(child=serializers.CharField(), read_only=True)
    cvss = serializers.FloatField(read_only=True, allow_null=True)

    class Meta:
        model = Finding
        fields = [
            "uid", "label", "asset", "scanner", "rule", "title", "description", "severity", "confidence", "cwe", "path",
            "line", "end_line", "code", "help_url", "fingerprint", "occurrences", "package", "package_version",
            "fix_version", "aliases", "cvss", "cvss_vector", *RATED, "status", "first_seen_at", "last_seen_at",
            "first_scan", "last_scan", "due_at", "fixed_at", "owner", "tags",
        ]  # fmt: skip
        read_only_fields = fields


class NewOwner(StrictSerializer):
    owner = serializers.UUIDField(allow_null=True, help_text="A person who may see it; null for nobody.")


class TagChange(StrictSerializer):
    add = serializers.ListField(child=Text(max_length=200), default=list, max_length=20)
    remove = serializers.ListField(child=Text(max_length=200), default=list, max_length=20)


class AssetFilter(FilterSet):
    is_active = django_filters.BooleanFilter()
    kind = ChoiceIn(choices=choices(Asset.Kind))
    unit = UidFilter(field_name="unit__uid")
    name = django_filters.CharFilter(lookup_expr="icontains")


class ScanFilter(FilterSet):
    asset = UidFilter(field_name="asset__uid")
    scanner = django_filters.CharFilter()
    state = ChoiceIn(choices=choices(ScanState))


class FindingFilter(FilterSet):
    asset = UidFilter(field_name="asset__uid")
    scan = UidFilter(field_name="last_scan__uid")
    raised_by = django_filters.UUIDFilter(method="new_in", help_text="New in this scan, or reopened by it.")
    scanner = django_filters.CharFilter()
    status = ChoiceIn(choices=choices(Status))
    severity = django_filters.BaseInFilter(method="by_severity")
    rule = django_filters.CharFilter()
    due_before = django_filters.IsoDateTimeFilter(field_name="due_at", lookup_expr="lt")
    owner = django_filters.CharFilter(method="by_owner", help_text="A person's uid; `me`, or `none` for nobody's.")
    tag = django_filters.BaseInFilter(
        field_name="tags__word", method="by_tag", help_text="With one of these tags at least."
    )
    seen_since = django_filters.IsoDateTimeFilter(field_name="last_seen_at", lookup_expr="gte")
    cve = django_filters.CharFilter(field_name="rule", method="by_name", help_text="A CVE, a GHSA: a whole name.")
    package = django_filters.CharFilter(lookup_expr="iexact")
    kev = YesNo(field_name="is_known_exploited", help_text="On CISA's list; false: not on it, and that is known.")
    epss_min = django_filters.NumberFilter(field_name="epss", lookup_expr="gte", min_value=0, max_value=1)
    cvss_min = django_filters.NumberFilter(field_name="cvss", lookup_expr="gte", min_value=0, max_value=10)
    has_fix = YesNo(
        field_name="fix_version", method="by_fix", help_text="Whether its report names a version without it."
    )
    q = django_filters.CharFilter(method="search")

    def by_name(self, queryset: Any, name: str, text: str) -> QuerySet[Finding]:
        found: QuerySet[Finding] = queryset.known_as(text)
        return found

    def by_fix(self, queryset: Any, name: str, there_is: bool) -> QuerySet[Finding]:
        found: QuerySet[Finding] = queryset.with_fix(there_is)
        return found

    def by_severity(self, queryset: QuerySet[Finding], name: str, words: list[str]) -> QuerySet[Finding]:
        known = {severity.word: severity for severity in Severity}
        unknown = sorted(set(words) - known.keys())
        if unknown:
            raise serializers.ValidationError({name: f"is one or more of {', '.join(known)}."})
        return queryset.filter(severity__in=[known[word] for word in words])

    def new_in(self, queryset: Any, name: str, uid: UUID) -> QuerySet[Finding]:
        scan = Scan.objects.filter(uid=uid).first()
        found: QuerySet[Finding] = queryset.raised_by(scan) if scan else queryset.none()
        return found

    def by_owner(self, queryset: Any, name: str, whose: str) -> QuerySet[Finding]:
        if whose in ("me", "none"):
            return cast("QuerySet[Finding]", queryset.owned_by(self.request.user if whose == "me" else None))
        try:
            return cast("QuerySet[Finding]", queryset.filter(owner__uid=UUID(whose)))
        except ValueError:
            raise serializers.ValidationError({name: "is a person's uid, me, or none."}) from None

    def by_tag(self, queryset: Any, name: str, words: list[str]) -> QuerySet[Finding]:
        return cast("QuerySet[Finding]", queryset.tagged(map(ownership.normal, words)))

    def search(self, queryset: Any, name: str, text: str) -> QuerySet[Finding]:
        found: QuerySet[Finding] = queryset.matching(text)
        return found


FORMAT = OpenApiParameter("format", str, description="sarif or csv.", enum=list(exports.FORMATS))
FILTERS = [
    OpenApiParameter(name, str, description=told.extra.get("help_text", ""))
    for name, told in FindingFilter.base_filters.items()
]


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
        return services.create_asset(**asked.validated_data)

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
    @action(detail=True, methods=["post"], parser_classes=[MultiPartParser])
    def upload(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What the archive or container image is from now on. Findings stay what they are."""
        asset = self.get_object()
        asked = NewUpload(data=request.data)
        asked.is_valid(raise_exception=True)
        file = asked.validated_data["file"]
        data, etag = self.represent(services.upload(asset, file, name=file.name, by=request.user))
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
        if "unit" in serializer.validated_data:
            check(self.request.user, "assets:create")
        serializer.instance = services.change_asset(serializer.instance, **serializer.validated_data)

    @classmethod
    def permission_for(cls, action: str) -> str:
        asked = {"bulk": "assets:create", "coverage": "scans:read"}
        if action in ("upload", "retire_tool", "return_tool"):
            return "assets:update"
        return asked.get(action) or super().permission_for(action)


class ScanViewSet(Resource, List, Retrieve):
    resource = "scans"
    queryset = Scan.objects.select_related("asset")
    serializer_class = ScanSerializer
    filterset_class = ScanFilter
    takes = {"create": {"wait"}}

    @extend_schema(request=NewScan, responses={200: RequestedScans, 202: RequestedScans})
    def create(self, request: Request) -> Response:
        """Ask for scans, one per tool. 202 with their rows; with `?wait=30` 200, if all end in time."""
        asked = NewScan(data=request.data)
        asked.is_valid(raise_exception=True)
        asset = Asset.objects.permitted(request.user, "assets:read").filter(uid=asked.validated_data["asset"]).first()
        if asset is None:
            raise Http404
        named = asked.validated_data.get("scanner")
        scans = services.request_scans(asset, scanners=[named] if named else None, by=request.user)
        done = wait_for(request, *scans)
        rows = self.get_serializer(scans, many=True).data
        return accepted(done, reverse("scans-detail", args=[scans[0].uid]), {**rows[0], "scans": rows})


class FindingViewSet(Resource, List, Retrieve):
    resource = "findings"
    queryset = Finding.objects.all()
    serializer_class = FindingSerializer
    filterset_class = FindingFilter
    takes = {"export": {"format", *FindingFilter.base_filters}, "within_sla": {"days", "since", "until"}}

    @extend_schema(
        parameters=[FORMAT, *FILTERS],
        responses={(200, "application/sarif+json"): OpenApiTypes.STR, (200, "text/csv"): OpenApiTypes.STR},
    )
    @action(detail=False, pagination_class=None)
    def export(self, request: Request) -> StreamingHttpResponse:
        """What the list shows with the same filters, as one file of at most 100,000. It becomes an entry."""
        form = request.query_params.get("format", "sarif")
        if form not in exports.FORMATS:
            raise serializers.ValidationError({"format": f"is one of {', '.join(exports.FORMATS)}."})
        rows = DjangoFilterBackend().filter_queryset(request, self.get_queryset(), self)
        return exports.export(rows, form, by=request.user, asked=request.GET.urlencode())

    @extend_schema(parameters=[deadlines.AskedPeriod], responses=deadlines.WithinSla, filters=False)
    @action(detail=False, url_path="within-sla", pagination_class=None)
    def within_sla(self, request: Request) -> Response:
        """How many were fixed within their deadline, of those fixed in the period or overdue at its end: the last 30
        days, as many `days`, or `since` a moment `until` another or now."""
        asked = deadlines.AskedPeriod(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        return Response(deadlines.told(within(request.user, asked.validated_data["period"])))

    def get_queryset(self) -> QuerySet[Finding]:
        rows = super().get_queryset()
        return rows if self.action == "list" else self.whole(rows)

    @staticmethod
    def whole(rows: QuerySet[Finding]) -> QuerySet[Finding]:
        """Four columns instead of four whole rows beside each finding."""
        return rows.annotate(
            asset_uid=F("asset__uid"),
            first_scan_uid=F("first_scan__uid"),
            last_scan_uid=F("last_scan__uid"),
            owner_uid=F("owner__uid"),
        ).prefetch_related("tags")

    @classmethod
    def permission_for(cls, action: str) -> str:
        if action in ("export", "within_sla"):
            return "findings:read"
        return "findings:triage" if action in ("owner", "tags") else super().permission_for(action)

    @extend_schema(request=NewOwner, responses=FindingSerializer)
    @action(detail=True, methods=["post"])
    def owner(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Make it somebody's, who must be able to see it, or nobody's."""
        finding, asked = self.get_object(), NewOwner(data=request.data)
        asked.is_valid(raise_exception=True)
        uid = asked.validated_data["owner"]
        ownership.assign(finding, uid and ownership.person(uid=uid), by=request.user)
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=TagChange, responses=FindingSerializer)
    @action(detail=True, methods=["post"])
    def tags(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Put tags on, take others off. `Needs Review` and `needs-review` are the same."""
        finding, asked = self.get_object(), TagChange(data=request.data)
        asked.is_valid(raise_exception=True)
        ownership.retag(finding, by=request.user, **asked.validated_data)
        return Response(self.get_serializer(self.get_object()).data)


routes = [("assets", AssetViewSet), ("scans", ScanViewSet), ("findings", FindingViewSet)]
