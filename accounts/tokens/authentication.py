from typing import Any

from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts.models import User
from accounts.tokens import services
from accounts.tokens.models import Token


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer ops_…` (RFC 6750). A wrong token is refused even where a session would have been good."""

    def authenticate(self, request: Request) -> tuple[User, Token] | None:
        scheme, _, text = get_authorization_header(request).decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            token = services.authenticate(text.strip())
        except services.NotAccepted as refusal:
            raise AuthenticationFailed(refusal.detail) from None
        plain: Any = request._request
        plain.user = token.user  # so that the trail names the account
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="OpsSight"'
