"""`/api/v1/me`: who the caller is, and what they may do."""

from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.mfa.services import is_enrolled
from accounts.models import User
from accounts.personal import services as personal
from accounts.services import change_name
from accounts.step_up import is_stepped_up, require_step_up
from opssight.kernel.rest.serializers import StrictSerializer, Text
from opssight.kernel.rest.views import Resource
from rbac.services import permissions_of


class MeSerializer(serializers.Serializer[Any]):
    uid = serializers.UUIDField()
    email = serializers.EmailField()
    name = serializers.CharField()
    phone_number = serializers.CharField(allow_null=True, help_text="The last four.")
    ssn = serializers.CharField(allow_null=True, help_text="The national ID number's last four; null where not kept.")
    kind = serializers.ChoiceField(User.Kind.choices)
    second_factor = serializers.BooleanField(help_text="Whether one is enrolled.")
    stepped_up = serializers.BooleanField(help_text="Whether the session proved it within the last 15 minutes.")
    permissions = serializers.ListField(child=serializers.CharField(), help_text="Held somewhere, within the scopes.")


class OwnDetails(StrictSerializer):
    """What is left out stays; an empty text erases, but for the name."""

    name = Text(max_length=120, required=False)
    phone_number = Text(max_length=40, required=False, allow_blank=True)
    ssn = Text(max_length=40, required=False, allow_blank=True)


class MeViewSet(Resource):
    resource = "me"
    queryset = User.objects.none()
    serializer_class = MeSerializer

    @extend_schema(operation_id="me_update", request=OwnDetails, responses=MeSerializer)
    def update(self, request: Request) -> Response:
        """Set one's own name, telephone number and national ID number. Takes a session with a fresh second factor."""
        require_step_up(request)
        asked = OwnDetails(data=request.data)
        asked.is_valid(raise_exception=True)
        details = dict(asked.validated_data)
        name, user = details.pop("name", None), request.user
        assert isinstance(user, User)
        try:
            with transaction.atomic():
                if name is not None:
                    change_name(user, name)
                if details:
                    personal.set_own(user, **details)
        except DjangoValidationError as error:
            raise ValidationError(error.message_dict) from None
        return self.read(request)

    @extend_schema(operation_id="me_retrieve", responses=MeSerializer)
    def read(self, request: Request) -> Response:
        user = request.user
        assert isinstance(user, User)
        held = permissions_of(user)
        scopes = getattr(user, "scopes", None)
        details = personal.details_of(user)
        answer = {
            "phone_number": (details and details.shown_phone_number) or None,
            "ssn": (details and personal.collects_ssn() and details.shown_ssn) or None,
            "uid": user.uid,
            "email": user.email,
            "name": user.name,
            "kind": user.kind,
            "second_factor": is_enrolled(user),
            "stepped_up": request.auth is None and is_stepped_up(request._request),
            "permissions": [permission for permission in held if scopes is None or permission in scopes],
        }
        return Response(MeSerializer(answer).data)
