"""Findings: searching, owners and tags, and taking them away as a file."""

from typing import Any, cast
from uuid import UUID

import django_filters
from django.db.models import F, QuerySet
from django.http import StreamingHttpResponse
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from opssight.kernel.rest.filters import ChoiceIn, FilterSet, UidFilter, YesNo, choices
from opssight.kernel.rest.serializers import StrictModelSerializer, StrictSerializer, Text
from opssight.kernel.rest.views import List, Resource, Retrieve
from scanning import exports
from scanning.deadlines import api as deadlines
from scanning.deadlines.share import within
from scanning.detail import RATED
from scanning.models import Finding, Scan, Severity, Status
from scanning.triage import ownership
from scanning.triage.models import Tag


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


routes = [("findings", FindingViewSet)]
