"""Ways to a token for those who are nobody yet: JWTs for people, `client_credentials` for programs, and the keys."""

import base64
import binascii
from datetime import timedelta
from typing import Any
from urllib.parse import unquote_plus

from django.http import HttpRequest, JsonResponse, QueryDict
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import APIException, NotAuthenticated
from rest_framework.parsers import FormParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import User
from accounts.step_up import require_step_up
from accounts.tokens import families, keys, service_accounts
from accounts.tokens.families import Pair
from accounts.tokens.service_accounts import OAuthError
from opssight.kernel.access import check
from opssight.kernel.guards import VerifiedSessionAuthentication, public
from opssight.kernel.http import proved_address
from opssight.kernel.rest.serializers import StrictSerializer, Text
from opssight.kernel.rest.views import PublicView

JWKS_AGE = timedelta(minutes=5)  # for how long others may keep our keys


class Proof(StrictSerializer):
    """All three, or none of them from a session of the console."""

    email = Text(max_length=254, required=False)
    password = serializers.CharField(max_length=1024, trim_whitespace=False, required=False)
    code = Text(max_length=32, required=False, help_text="Of the authenticator app, or a recovery code.")
    permissions = serializers.ListField(
        child=Text(max_length=64),
        max_length=200,
        required=False,
        help_text="What the tokens may do at most. Left out: whatever the account may.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        given = {"email", "password", "code"} & attrs.keys()
        if given and len(given) < 3:
            raise serializers.ValidationError("E-mail, password and code go together.")
        return attrs


class RefreshGiven(StrictSerializer):
    refresh_token = serializers.CharField()


class PairGiven(serializers.Serializer[Any]):
    access_token = serializers.CharField()
    refresh_token = serializers.CharField(help_text="Good once: it gives the next pair.")
    token_type = serializers.CharField(help_text="Bearer")
    expires_in = serializers.IntegerField(help_text="Seconds until the access token expires.")
    refresh_expires_in = serializers.IntegerField(help_text="Seconds until the refresh token expires.")
    session = serializers.UUIDField(help_text="The session that both belong to; ending it ends them.")


def _answer(pair: Pair, status: int) -> Response:
    now = int(timezone.now().timestamp())
    given = {
        "access_token": str(pair.access),
        "refresh_token": str(pair.refresh),
        "token_type": "Bearer",
        "expires_in": pair.access["exp"] - now,
        "refresh_expires_in": pair.refresh["exp"] - now,
        "session": pair.login.uid,
    }
    return Response(PairGiven(given).data, status=status)


class JwtView(PublicView):
    resource = "tokens"
    public = "a session with both factors, or both of them in the body, is the permission"
    authentication_classes = (VerifiedSessionAuthentication,)

    @extend_schema(request=Proof, responses={201: PairGiven})
    def post(self, request: Request) -> Response:
        """Sign in for the API: a pair of tokens for e-mail, password and code, or for a session that proved its second
        factor within the last 15 minutes."""
        asked = Proof(data=request.data)
        asked.is_valid(raise_exception=True)
        data = dict(asked.validated_data)
        permissions = data.pop("permissions", None)
        plain = request._request
        if data:
            login = families.prove(plain, **data)
        elif isinstance(request.user, User):
            require_step_up(request)
            login = families.from_session(plain.login, request.user)  # type: ignore[attr-defined]
        else:
            raise NotAuthenticated("Give e-mail, password and code, or come with a session of the console.")
        check(login.user, "tokens:create")  # here policies and what roles ask of the second factor have their say
        return _answer(families.issue(plain, login, permissions=permissions), 201)


class RefreshView(PublicView):
    resource = "tokens"
    public = "the refresh token is the permission"

    @extend_schema(request=RefreshGiven, responses=PairGiven)
    def post(self, request: Request) -> Response:
        """Spend a refresh token for the next pair. A second use of one ends every token of its sign-in."""
        asked = RefreshGiven(data=request.data)
        asked.is_valid(raise_exception=True)
        return _answer(families.refresh(asked.validated_data["refresh_token"]), 200)


class RevokeView(PublicView):
    resource = "tokens"
    public = "the refresh token is the permission"

    @extend_schema(request=RefreshGiven, responses={204: None})
    def post(self, request: Request) -> Response:
        """Sign out: end every token of the refresh token's sign-in. One that is none any more leaves nothing to do."""
        asked = RefreshGiven(data=request.data)
        asked.is_valid(raise_exception=True)
        families.revoke(asked.validated_data["refresh_token"])
        return Response(status=204)


# --- programs -----------------------------------------------------------------------------------------------------


class ClientCredentials(serializers.Serializer[Any]):
    grant_type = serializers.ChoiceField(["client_credentials"])
    client_id = serializers.CharField(required=False, help_text="The account's uid; here or by HTTP Basic.")
    client_secret = serializers.CharField(required=False, help_text="One of its API tokens.")
    scope = serializers.CharField(required=False, help_text="Permissions, with spaces between them.")


class AccessGiven(serializers.Serializer[Any]):
    access_token = serializers.CharField()
    token_type = serializers.CharField(help_text="Bearer")
    expires_in = serializers.IntegerField()
    scope = serializers.CharField()


class OAuthView(PublicView):
    """RFC 6749 §4.4, in that document's own words and shapes."""

    resource = "tokens"
    public = "the client's secret is the permission"
    parser_classes = (FormParser,)

    @extend_schema(request={"application/x-www-form-urlencoded": ClientCredentials}, responses=AccessGiven)
    def post(self, request: Request) -> Response:
        """OAuth 2.0 `client_credentials` (RFC 6749 §4.4) for a service account: an access token for half an hour."""
        form = self._form(request)
        if not form.get("grant_type"):
            raise OAuthError("invalid_request", "grant_type is missing.")
        if form["grant_type"] != "client_credentials":
            raise OAuthError("unsupported_grant_type", "There is client_credentials.")
        client_id, secret = self._client(request, form)
        address = proved_address(request._request)
        access, scopes = service_accounts.client_credentials(client_id, secret, form.get("scope", ""), address)
        left = access["exp"] - int(timezone.now().timestamp())
        given = {"access_token": str(access), "token_type": "Bearer", "expires_in": left, "scope": " ".join(scopes)}
        return Response(given, headers={"Pragma": "no-cache"})

    @staticmethod
    def _form(request: Request) -> dict[str, str]:
        form = request.data if isinstance(request.data, QueryDict) else QueryDict()  # an empty body is not parsed
        if twice := [name for name, values in form.lists() if len(values) > 1]:
            raise OAuthError("invalid_request", f"{twice[0][:40]} comes more than once.")
        return {name: str(value) for name, value in form.items()}

    @staticmethod
    def _client(request: Request, form: dict[str, str]) -> tuple[str, str]:
        """By HTTP Basic, whose two halves are form-encoded (§2.3.1), or in the body; not both ways at once."""
        scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return form.get("client_id", ""), form.get("client_secret", "")
        if "client_secret" in form:
            raise OAuthError("invalid_request", "Give the secret in one way only.")
        try:
            client_id, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise OAuthError("invalid_client", "Client id or secret is not right.", 401) from None
        return unquote_plus(client_id), unquote_plus(secret)

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, APIException):
            exc = OAuthError("invalid_request", str(exc.detail), exc.status_code)
        if not isinstance(exc, OAuthError):
            return super().handle_exception(exc)
        headers = {"Pragma": "no-cache"} | ({"WWW-Authenticate": 'Basic realm="OpsSight"'} if exc.status == 401 else {})
        answer = Response({"error": exc.error, "error_description": exc.description}, exc.status, headers=headers)
        answer.exception = True
        return answer


@public("public keys")
def jwks(request: HttpRequest) -> JsonResponse:
    answer = JsonResponse({"keys": keys.published()}, content_type="application/jwk-set+json")
    answer["Cache-Control"] = f"public, max-age={int(JWKS_AGE.total_seconds())}"
    return answer
