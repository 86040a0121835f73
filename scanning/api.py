from typing import Any

from rest_framework import serializers
from rest_framework.viewsets import ReadOnlyModelViewSet

from opssight.kernel.guards import GuardedMixin
from scanning.models import Asset, Finding, Scan


def _uid() -> "serializers.SlugRelatedField[Any]":
    return serializers.SlugRelatedField(slug_field="uid", read_only=True)


class AssetSerializer(serializers.ModelSerializer[Asset]):
    unit = _uid()

    class Meta:
        model = Asset
        fields = ["uid", "name", "kind", "location", "unit", "created_at"]


class ScanSerializer(serializers.ModelSerializer[Scan]):
    asset = _uid()

    class Meta:
        model = Scan
        fields = [
            "uid", "asset", "scanner", "scanner_version", "trigger", "state", "reason", "parts_total", "parts_done",
            "files_read", "new", "same", "fixed", "reopened", "queued_at", "started_at", "finished_at",
        ]  # fmt: skip


class FindingSerializer(serializers.ModelSerializer[Finding]):
    asset = _uid()
    severity = serializers.CharField(source="severity_word", read_only=True)
    first_scan = _uid()
    last_scan = _uid()

    class Meta:
        model = Finding
        fields = [
            "uid", "label", "asset", "scanner", "rule", "title", "description", "severity", "confidence", "cwe", "path",
            "line", "code", "help_url", "fingerprint", "status", "first_seen_at", "last_seen_at", "first_scan",
            "last_scan", "due_at", "fixed_at",
        ]  # fmt: skip


class AssetViewSet(GuardedMixin, ReadOnlyModelViewSet[Asset]):
    resource = "assets"
    queryset = Asset.objects.select_related("unit")
    serializer_class = AssetSerializer


class ScanViewSet(GuardedMixin, ReadOnlyModelViewSet[Scan]):
    resource = "scans"
    queryset = Scan.objects.select_related("asset")
    serializer_class = ScanSerializer


class FindingViewSet(GuardedMixin, ReadOnlyModelViewSet[Finding]):
    resource = "findings"
    queryset = Finding.objects.select_related("asset", "first_scan", "last_scan")
    serializer_class = FindingSerializer


routes = [("assets", AssetViewSet), ("scans", ScanViewSet), ("findings", FindingViewSet)]
