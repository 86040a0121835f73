from typing import Any

from django.http import Http404
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from opssight.kernel import reads
from opssight.kernel.rest.serializers import StrictModelSerializer, StrictSerializer, uid
from opssight.kernel.rest.views import Resource, accepted, wait_for
from scanning.tools import services
from scanning.tools.models import Installation


class InstallationSerializer(StrictModelSerializer):
    requested_by = uid()

    class Meta:
        model = Installation
        fields = [
            "uid", "version", "state", "step", "reason", "requested_by", "queued_at", "started_at", "finished_at",
        ]  # fmt: skip
        read_only_fields = fields


class ToolSerializer(StrictSerializer):
    """How a tool stands on the machine that answers."""

    name = serializers.CharField(read_only=True)
    state = serializers.ChoiceField(["ready", "not_ready", "not_installed"], read_only=True)
    reason = serializers.CharField(read_only=True, help_text="Why it is not ready, and what to do.")
    pinned = serializers.CharField(read_only=True, help_text="The version that OpsSight installs.")
    version = serializers.CharField(read_only=True, help_text="The one found; empty where none is.")
    source = serializers.ChoiceField(  # type: ignore[assignment]  # DRF's metaclass takes it
        ["", "own", "path"], read_only=True, help_text="Installed by OpsSight, or found on the PATH."
    )
    reads = serializers.CharField(read_only=True)
    network = serializers.BooleanField(read_only=True, help_text="Whether it asks others.")
    data_at = serializers.DateTimeField(read_only=True, allow_null=True, help_text="How old its advisories are.")
    installation = InstallationSerializer(read_only=True, allow_null=True)
    last_scan = serializers.UUIDField(
        source="last_scan_uid", read_only=True, allow_null=True, help_text="The newest that ended."
    )


class Tools(serializers.Serializer[Any]):
    results = ToolSerializer(many=True, read_only=True)


class ScannerViewSet(Resource):
    resource = "scanners"
    queryset = Installation.objects.all()
    serializer_class = ToolSerializer
    pagination_class = None
    lookup_field = "name"
    lookup_value_converter = "str"
    takes = {"install": {"wait"}}

    def query_parameters(self) -> set[str]:
        return set(self.takes.get(self.action or "", ()))  # eight tools have neither pages nor filters

    @extend_schema(responses=Tools)
    def list(self, request: Request) -> Response:
        """Every tool, and how it stands."""
        found = services.tools(request.user)
        reads.note_list(Installation, len(found))
        return Response({"results": ToolSerializer(found, many=True).data})

    @extend_schema(responses=ToolSerializer)
    def retrieve(self, request: Request, name: str) -> Response:
        return Response(ToolSerializer(self._tool(request, name)).data)

    @extend_schema(request=None, responses={200: ToolSerializer, 202: ToolSerializer})
    @action(detail=True, methods=["post"])
    def install(self, request: Request, name: str) -> Response:
        """Ask for the pinned version. 202 while a worker is at it; with `?wait=30` 200 once that has ended."""
        self._tool(request, name)
        asked = services.request_installation(name, by=request.user)
        done = wait_for(request, asked)
        address = reverse("scanners-detail", args=[name])
        return accepted(done, address, ToolSerializer(self._tool(request, name)).data)

    @staticmethod
    def _tool(request: Request, name: str) -> services.Tool:
        found = services.tool(name, request.user)
        if found is None:
            raise Http404
        return found


routes = [("scanners", ScannerViewSet)]
