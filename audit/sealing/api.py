"""The sealed trail by API: entries with their positions, proofs, bundles, and checkpoints."""

import tempfile
from pathlib import Path
from typing import Any, ClassVar

from django.http import FileResponse, Http404
from django.utils.dateparse import parse_datetime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from audit import verify
from audit.api import TrailViewSet
from audit.sealing import exporting, proofs
from audit.sealing.models import Checkpoint
from opssight.kernel.access import Forbidden
from opssight.kernel.errors import Refusal
from opssight.kernel.rest.serializers import StrictModelSerializer, StrictSerializer
from opssight.kernel.rest.views import List, Resource, Retrieve

LARGEST_DOWNLOAD = 100_000  # entries: some seconds of work, during which a thread of the web server is held


class TooLarge(Refusal):
    status = 413


class PersonalSerializer(StrictSerializer):
    salt = serializers.CharField()
    data = serializers.DictField()  # type: ignore[assignment]  # taken by DRF's metaclass


class EntryProofSerializer(StrictSerializer):
    """Saved as a file, it is what verify.py reads."""

    format = serializers.ChoiceField([verify.ENTRY_PROOF])
    key = serializers.CharField(help_text="The key that signed the checkpoint. Compare it with one from elsewhere.")
    position = serializers.IntegerField()
    entry = serializers.DictField(help_text="What the leaf covers, in canonical JSON.")
    personal = PersonalSerializer(allow_null=True, help_text="What `entry.personal` digests; null once erased.")
    proof = serializers.ListField(child=serializers.CharField(), help_text="Base64, from the leaf up.")
    checkpoint = serializers.CharField(help_text="The signed note (C2SP tlog-checkpoint).")


class GrowthProofSerializer(StrictSerializer):
    """Saved as a file, it is what verify.py reads."""

    format = serializers.ChoiceField([verify.GROWTH_PROOF])
    key = serializers.CharField()
    proof = serializers.ListField(child=serializers.CharField(), help_text="Base64, RFC 6962 section 2.1.2.")
    to = serializers.CharField(help_text="The later note; `from` has the earlier one.")

    def get_fields(self) -> dict[str, Any]:
        return {**super().get_fields(), "from": serializers.CharField(help_text="The earlier note.")}


class CheckpointSerializer(StrictModelSerializer):
    class Meta:
        model = Checkpoint
        fields = ["size", "at", "note"]
        read_only_fields = fields
        extra_kwargs = {
            "size": {"help_text": "How many entries it binds."},
            "note": {"help_text": "The signed note (C2SP tlog-checkpoint)."},
        }


class Zip(JSONRenderer):
    """So that `Accept: application/zip` is answered. What passes through here is a problem, and JSON."""

    media_type = "application/zip"


def _number(request: Request, name: str) -> int | None:
    """A size or position among the parameters. ValidationError where it is another thing."""
    asked = request.query_params.get(name)
    if asked is None:
        return None
    if not asked.isascii() or not asked.isdigit() or len(asked) > 18:
        raise ValidationError({name: "must be a whole number, 0 or more."})
    return int(asked)


class SealedTrailViewSet(TrailViewSet):
    takes: ClassVar[dict[str, set[str]]] = {
        **TrailViewSet.takes,
        "proof": {"size"},
        "bundle": {"from", "to", "since", "until"},
    }

    @extend_schema(
        parameters=[OpenApiParameter("size", int, description="Of the checkpoint; by default the newest.")],
        responses=EntryProofSerializer,
    )
    @action(detail=True, filter_backends=[], pagination_class=None)
    def proof(self, request: Request, uid: str) -> Response:
        """Proof that this entry is in the log that a signed checkpoint binds."""
        entry = self.get_object()
        return Response(proofs.prove_entry(entry, proofs.checkpoint_of(_number(request, "size"))))

    @extend_schema(
        parameters=[
            OpenApiParameter("from", int, description="From this position; by default 0."),
            OpenApiParameter("to", int, description="To before this position; by default all."),
            OpenApiParameter("since", OpenApiTypes.DATETIME, description="From this moment on."),
            OpenApiParameter("until", OpenApiTypes.DATETIME, description="To before this moment."),
        ],
        responses={(200, "application/zip"): OpenApiTypes.BINARY},
    )
    @action(detail=False, filter_backends=[], pagination_class=None, renderer_classes=[JSONRenderer, Zip])
    def bundle(self, request: Request) -> FileResponse:
        """A part of the sealed trail, at most 100,000 entries, as a signed bundle for verify.py."""
        if not self.get_queryset().exists():  # trail:read of a unit below reaches no entry
            raise Forbidden("trail:read")
        moments = {}
        for name in ("since", "until"):
            asked = request.query_params.get(name)
            try:
                at = parse_datetime(asked) if asked else None
            except ValueError:
                at = None
            if asked and (at is None or at.tzinfo is None):
                raise ValidationError({name: "must be a moment such as 2026-01-31T00:00:00Z."})
            moments[name] = at
        chosen = exporting.part(_number(request, "from"), _number(request, "to"), **moments)
        if chosen.count > LARGEST_DOWNLOAD:
            raise TooLarge(
                f"These are {chosen.count} entries, and a download holds {LARGEST_DOWNLOAD}. "
                "Ask for less, or use manage.py export_trail on the server."
            )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "bundle.zip"
            exporting.write_bundle(chosen, path)
            file = path.open("rb")  # readable after the folder is gone, until the answer is sent
        name = f"trail-{chosen.start}-{chosen.end}.zip"
        return FileResponse(file, content_type="application/zip", filename=name, as_attachment=True)


class CheckpointViewSet(Resource, List, Retrieve):
    resource = "checkpoints"
    queryset = Checkpoint.objects.all()
    serializer_class = CheckpointSerializer
    lookup_field = "size"
    lookup_value_converter = "int"
    takes = {"consistency": {"from"}}

    @classmethod
    def permission_for(cls, action: str) -> str:
        return "checkpoints:read"

    def get_object(self) -> Checkpoint:
        """The newest one of a size: while nothing is added, a log has several."""
        found = self._of_size()
        if found is None:
            raise Http404
        return found

    def _of_size(self) -> Checkpoint | None:
        checkpoints: Any = self.get_queryset()
        size = self.kwargs.get("size")
        if size is not None and size >= 2**63:
            return None
        found: Checkpoint | None = (checkpoints if size is None else checkpoints.filter(size=size)).newest()
        return found

    @extend_schema(responses=CheckpointSerializer)
    @action(detail=False, filter_backends=[], pagination_class=None)
    def newest(self, request: Request) -> Response:
        """The newest checkpoint."""
        return self.retrieve(request)

    @extend_schema(
        parameters=[OpenApiParameter("from", int, required=True, description="The size of the earlier checkpoint.")],
        responses=GrowthProofSerializer,
    )
    @action(detail=True, filter_backends=[], pagination_class=None)
    def consistency(self, request: Request, size: int) -> Response:
        """Proof that the log of this checkpoint begins with that of an earlier one: nothing was changed or removed."""
        earlier = _number(request, "from")
        if earlier is None:
            raise ValidationError({"from": "is missing: the size of the earlier checkpoint."})
        later = self.get_object()
        return Response(proofs.prove_growth(proofs.checkpoint_of(earlier), later))


routes = [("trail", SealedTrailViewSet), ("checkpoints", CheckpointViewSet)]
