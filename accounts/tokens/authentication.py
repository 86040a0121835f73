"""`Authorization: Bearer …` (RFC 6750): an API token or an access token.

A wrong one is refused even where a session would have been good.
"""

from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts.logins import services as logins
from accounts.models import User
from accounts.tokens import events, families, service_accounts, services
from accounts.tokens.refusals import NotAccepted
from accounts.tokens.signed import AccessToken
from opssight.kernel.http import proved_address


class Refused(AuthenticationFailed):
    """401 with the type of problem."""

    def __init__(self, refusal: NotAccepted) -> None:
        super().__init__(refusal.detail)
        self.more = refusal.more


def _bearer(request: Request) -> str | None:
    scheme, _, text = get_authorization_header(request).decode("latin-1").partition(" ")
    return text.strip() if scheme.lower() == "bearer" else None


class TokenAuthentication(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[User, Any] | None:
        text = _bearer(request)
        if text is None:
            return None
        plain: Any = request._request
        try:
            if text.startswith(services.PREFIX):
                token: Any = services.authenticate(text, proved_address(plain))
                user = token.user
            else:
                user, token = by_access_token(text, plain)
        except NotAccepted as refusal:
            raise Refused(refusal) from None
        plain.user = user  # so that the trail names the account
        return user, token

    def authenticate_header(self, request: Request) -> str:
        error = "" if _bearer(request) is None else ', error="invalid_token"'
        return f'Bearer realm="OpsSight"{error}'


def by_access_token(text: str, request: HttpRequest) -> tuple[User, AccessToken]:
    """The account behind an access token, as it is now. Raises NotAccepted and Expired, and leaves one event."""
    try:
        access = families.read(AccessToken, text)
        login = families.find_login(access, at=timezone.now())
        token = None if login else service_accounts.find_token(access, proved_address(request))
        if login is None and token is None:
            raise NotAccepted
    except NotAccepted as refusal:
        events.TOKEN_REFUSED.emit(success=False, error=refusal.more["title"])
        raise
    if login is not None:
        request.login = login  # type: ignore[attr-defined]
        logins.note_use(login, request)
    user: User = login.user if login else token.user  # type: ignore[union-attr]
    permissions = access.get("permissions")
    user.scopes = None if permissions is None else frozenset(permissions)
    user.by_token = True
    return user, access
