from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.step_up import require_step_up
from accounts.tokens.models import Token
from accounts.tokens.services import DEFAULT_DAYS, MAX_DAYS, issue_token, revoke_token
from opssight.kernel.rest.serializers import StrictModelSerializer, StrictSerializer, Text
from opssight.kernel.rest.views import List, Resource, Retrieve


class TokenSerializer(StrictModelSerializer):
    class Meta:
        model = Token
        fields = ["uid", "name", "key", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at"]
        read_only_fields = fields


class NewToken(StrictSerializer):
    name = Text(max_length=80)
    scopes = serializers.ListField(child=Text(max_length=64), min_length=1, max_length=100)
    days = serializers.IntegerField(min_value=1, max_value=MAX_DAYS, default=DEFAULT_DAYS)


class IssuedToken(TokenSerializer):
    token = serializers.CharField(read_only=True, help_text="The token itself, in this answer only.")

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "token"]
        read_only_fields = fields


class TokenViewSet(Resource, List, Retrieve):
    """The caller's own tokens. Making and ending one needs a session with a fresh second factor."""

    resource = "tokens"
    queryset = Token.objects.all()
    serializer_class = TokenSerializer

    def get_queryset(self) -> QuerySet[Any]:
        return super().get_queryset().filter(user=self.request.user.pk)

    @extend_schema(request=NewToken, responses={201: IssuedToken})
    def create(self, request: Request) -> Response:
        """Make a token. Its text is in this answer only."""
        require_step_up(request)
        asked = NewToken(data=request.data)
        asked.is_valid(raise_exception=True)
        token, text = issue_token(request.user, **asked.validated_data)  # type: ignore[arg-type]
        token.token = text  # type: ignore[attr-defined]
        return Response(IssuedToken(token).data, status=status.HTTP_201_CREATED)

    def destroy(self, request: Request, uid: str) -> Response:
        """End a token at once."""
        require_step_up(request)
        token = self.get_object()
        if token.revoked_at is not None:
            raise Http404
        revoke_token(token)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @classmethod
    def permission_for(cls, action: str) -> str:
        return "tokens:revoke" if action == "destroy" else super().permission_for(action)


routes = [("tokens", TokenViewSet)]
