from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.personal import services
from accounts.personal.models import PersonalDetails
from accounts.step_up import require_step_up
from opssight.kernel.rest.serializers import StrictModelSerializer, StrictSerializer, Text, uid
from opssight.kernel.rest.views import List, Resource, Retrieve


class PersonalDetailsSerializer(StrictModelSerializer):
    user = uid()
    phone_number = serializers.CharField(source="shown_phone_number", read_only=True, help_text="The last four.")
    ssn = serializers.CharField(source="shown_ssn", read_only=True, help_text="The last four.")

    class Meta:
        model = PersonalDetails
        fields = ["uid", "user", "phone_number", "ssn", "changed_at"]
        read_only_fields = fields


class Reveal(StrictSerializer):
    field = serializers.ChoiceField(services.FIELDS)
    reason = Text(
        min_length=services.REASON[0],
        max_length=services.REASON[1],
        help_text="Why you need it; it stands in the audit trail.",
    )


class Revealed(serializers.Serializer[Any]):
    value = serializers.CharField()


class PersonalDetailsViewSet(Resource, List, Retrieve):
    """What people tell of themselves, masked; one value is revealed at a time, with a reason that is recorded."""

    resource = "personal-details"
    queryset = PersonalDetails.objects.select_related("user")
    serializer_class = PersonalDetailsSerializer

    @extend_schema(request=Reveal, responses=Revealed)
    @action(detail=True, methods=["post"])
    def reveal(self, request: Request, uid: str) -> Response:
        """The value itself. Takes a session with a fresh second factor, and leaves an entry in the trail."""
        require_step_up(request)
        asked = Reveal(data=request.data)
        asked.is_valid(raise_exception=True)
        details = self.get_object()
        value = services.reveal(details, asked.validated_data["field"], reason=asked.validated_data["reason"])
        return Response({"value": value}, headers={"Cache-Control": "no-store"})


routes = [("personal-details", PersonalDetailsViewSet)]
