"""`/api/v1/me`: who the caller is, and what they may do."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.mfa.services import is_enrolled
from accounts.models import User
from accounts.step_up import is_stepped_up
from opssight.kernel.rest.views import Resource
from rbac.services import permissions_of


class MeSerializer(serializers.Serializer[Any]):
    uid = serializers.UUIDField()
    email = serializers.EmailField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(User.Kind.choices)
    second_factor = serializers.BooleanField(help_text="Whether one is enrolled.")
    stepped_up = serializers.BooleanField(help_text="Whether the session proved it within the last 15 minutes.")
    permissions = serializers.ListField(child=serializers.CharField(), help_text="Held somewhere, within the scopes.")


class MeViewSet(Resource):
    resource = "me"
    queryset = User.objects.none()
    serializer_class = MeSerializer

    @extend_schema(operation_id="me_retrieve", responses=MeSerializer)
    def read(self, request: Request) -> Response:
        user = request.user
        assert isinstance(user, User)
        held = permissions_of(user)
        scopes = getattr(user, "scopes", None)
        answer = {
            "uid": user.uid,
            "email": user.email,
            "name": user.name,
            "kind": user.kind,
            "second_factor": is_enrolled(user),
            "stepped_up": request.auth is None and is_stepped_up(request._request),
            "permissions": [permission for permission in held if scopes is None or permission in scopes],
        }
        return Response(MeSerializer(answer).data)
