from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.caller import caller
from accounts.step_up import require_step_up
from accounts.tokens import jwt_views, service_accounts, services
from accounts.tokens.models import MOST_ADDRESSES, ServiceAccount, Token
from accounts.tokens.services import DEFAULT_DAYS, DEFAULT_GRACE_HOURS, MAX_DAYS, MAX_GRACE_HOURS
from opssight.kernel.rest.serializers import StrictModelSerializer, StrictSerializer, Text
from opssight.kernel.rest.views import List, Resource, Retrieve, Update


class TokenSerializer(StrictModelSerializer):
    class Meta:
        model = Token
        fields = [
            "uid",
            "name",
            "key",
            "scopes",
            "addresses",
            "created_at",
            "expires_at",
            "last_used_at",
            "revoked_at",
        ]
        read_only_fields = fields


class NewToken(StrictSerializer):
    name = Text(max_length=80)
    scopes = serializers.ListField(child=Text(max_length=64), min_length=1, max_length=100)
    days = serializers.IntegerField(min_value=1, max_value=MAX_DAYS, default=DEFAULT_DAYS)
    addresses = serializers.ListField(
        child=Text(max_length=64),
        max_length=MOST_ADDRESSES,
        default=list,
        help_text="Networks (CIDR) it is good from; left out or empty: from everywhere.",
    )


class Rotation(StrictSerializer):
    grace_hours = serializers.IntegerField(
        min_value=0,
        max_value=MAX_GRACE_HOURS,
        default=DEFAULT_GRACE_HOURS,
        help_text="How long the old one works yet.",
    )


class IssuedToken(TokenSerializer):
    token = serializers.CharField(read_only=True, help_text="The token itself, in this answer only.")

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "token"]
        read_only_fields = fields


def _issued(token: Token, text: str) -> Response:
    token.token = text  # type: ignore[attr-defined]
    return Response(IssuedToken(token).data, status=status.HTTP_201_CREATED)


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
        return _issued(*services.issue_token(caller(request), **asked.validated_data))

    @extend_schema(request=Rotation, responses={201: IssuedToken})
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, uid: str) -> Response:
        """Make the token's successor: the same name, scopes, networks and length of life."""
        require_step_up(request)
        asked = Rotation(data=request.data)
        asked.is_valid(raise_exception=True)
        return _issued(*services.rotate_token(self.get_object(), **asked.validated_data))

    def destroy(self, request: Request, uid: str) -> Response:
        """End a token at once."""
        require_step_up(request)
        token = self.get_object()
        if token.revoked_at is not None:
            raise Http404
        services.revoke_token(token)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @classmethod
    def permission_for(cls, action: str) -> str:
        return {"destroy": "tokens:revoke", "rotate": "tokens:create"}.get(action) or super().permission_for(action)


# --- service accounts ---------------------------------------------------------------------------------------------


class ServiceAccountSerializer(StrictModelSerializer):
    class Meta:
        model = ServiceAccount
        fields = ["uid", "email", "name", "is_active", "created_at"]
        read_only_fields = ["uid", "email", "created_at"]


class NewServiceAccount(StrictSerializer):
    email = Text(max_length=254, help_text="Its name among accounts; no mail need arrive there.")
    name = Text(max_length=120)


class ServiceAccountViewSet(Resource, List, Retrieve, Update):
    """Accounts for programs. Their roles are given as to people; who makes them a token holds its scopes too."""

    resource = "service-accounts"
    queryset = ServiceAccount.objects.all()
    serializer_class = ServiceAccountSerializer

    @extend_schema(request=NewServiceAccount, responses={201: ServiceAccountSerializer})
    def create(self, request: Request) -> Response:
        """Make an account for a program. It holds the role of every account until it is given another."""
        require_step_up(request)
        asked = NewServiceAccount(data=request.data)
        asked.is_valid(raise_exception=True)
        data, etag = self.represent(service_accounts.create_service_account(**asked.validated_data))
        address = f"/api/v1/service-accounts/{data['uid']}"
        return Response(data, status=status.HTTP_201_CREATED, headers={"ETag": etag, "Location": address})

    def perform_update(self, serializer: Any) -> None:
        require_step_up(self.request)
        account, asked = serializer.instance, serializer.validated_data
        values = {name: asked.get(name, getattr(account, name)) for name in ("name", "is_active")}
        service_accounts.change_service_account(account, **values)
        account.refresh_from_db()

    @extend_schema(methods=["get"], responses=TokenSerializer(many=True))
    @extend_schema(methods=["post"], request=NewToken, responses={201: IssuedToken})
    @action(detail=True, methods=["get", "post"], pagination_class=None)
    def tokens(self, request: Request, uid: str) -> Response:
        """Its API tokens; POST makes one, which is its client secret too."""
        account = self.get_object()
        if request.method == "GET":
            return Response(TokenSerializer(account.tokens.order_by("-pk")[:200], many=True).data)
        require_step_up(request)
        asked = NewToken(data=request.data)
        asked.is_valid(raise_exception=True)
        return _issued(*services.issue_token(account, by=caller(request), **asked.validated_data))

    @extend_schema(request=Rotation, responses={201: IssuedToken})
    @action(detail=True, methods=["post"], url_path="tokens/<uuid:token>/rotate")
    def rotate_token(self, request: Request, uid: str, token: str) -> Response:
        """Make the token's successor: the same name, scopes, networks and length of life."""
        require_step_up(request)
        asked = Rotation(data=request.data)
        asked.is_valid(raise_exception=True)
        old = self._token(token)
        return _issued(*services.rotate_token(old, by=caller(request), **asked.validated_data))

    @extend_schema(request=None, responses={204: None})
    @action(detail=True, methods=["post"], url_path="tokens/<uuid:token>/revoke")
    def revoke_token(self, request: Request, uid: str, token: str) -> Response:
        """End the token at once, and the access tokens that were given for it."""
        require_step_up(request)
        services.revoke_token(self._token(token))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _token(self, uid: str) -> Token:
        token: Token | None = self.get_object().tokens.filter(uid=uid, revoked_at=None).first()
        if token is None:
            raise Http404
        return token

    @classmethod
    def permission_for(cls, action: str) -> str:
        changes = ("tokens", "rotate_token", "revoke_token")
        return "service-accounts:update" if action in changes else super().permission_for(action)


routes = [("tokens", TokenViewSet), ("service-accounts", ServiceAccountViewSet)]

urlpatterns = [
    path("tokens/jwt", jwt_views.JwtView.as_view(), name="jwt"),
    path("tokens/jwt/refresh", jwt_views.RefreshView.as_view(), name="jwt-refresh"),
    path("tokens/jwt/revoke", jwt_views.RevokeView.as_view(), name="jwt-revoke"),
    path("tokens/oauth", jwt_views.OAuthView.as_view(), name="oauth"),
]
