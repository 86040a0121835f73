"""Scans: asking for them, and how they end."""

import django_filters
from django.http import Http404
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from opssight.kernel.rest.filters import ChoiceIn, FilterSet, UidFilter, choices
from opssight.kernel.rest.serializers import StrictModelSerializer, StrictSerializer, Text, uid
from opssight.kernel.rest.views import List, Resource, Retrieve, accepted, wait_for
from scanning import services
from scanning.models import Asset, Scan, ScanState


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


class ScanFilter(FilterSet):
    asset = UidFilter(field_name="asset__uid")
    scanner = django_filters.CharFilter()
    state = ChoiceIn(choices=choices(ScanState))


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


routes = [("scans", ScanViewSet)]
