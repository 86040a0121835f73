"""Accounts for programs: they hold roles and tokens, and never sign in by a page.

One of its API tokens is also its client secret (RFC 6749 §2.3.1): scopes, end, networks and rotation are then the same
for both, and an access token that was given for it dies with it.
"""

from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.events import ACCOUNT_CREATED
from accounts.models import User, normalise_email
from accounts.services import set_active
from accounts.tokens import services
from accounts.tokens.models import Token
from accounts.tokens.refusals import NotAccepted
from accounts.tokens.signed import AccessToken


@dataclass
class OAuthError(Exception):
    """RFC 6749 §5.2."""

    error: str
    description: str
    status: int = 400


@transaction.atomic
def create_service_account(email: str, *, name: str) -> User:
    """ValidationError for an e-mail that is taken or malformed."""
    user = User(email=normalise_email(email), name=name, kind=User.Kind.SERVICE)
    user.set_unusable_password()
    user.full_clean()
    user.save()
    ACCOUNT_CREATED.emit(target=user)
    return user


@transaction.atomic
def change_service_account(account: User, *, name: str, is_active: bool) -> None:
    user = User.objects.select_for_update().get(pk=account.pk)
    if user.name != name:
        user.name = name
        user.full_clean()
        user.save(update_fields=["name"])
    set_active(user, is_active)


def client_credentials(client_id: str, secret: str, scope: str, address: str | None) -> tuple[AccessToken, list[str]]:
    """An access token for a service account, and what it may do. OAuthError with what is wrong."""
    try:
        token = services.authenticate(secret, address)
    except NotAccepted:
        token = None
    if token is None or token.user.kind != User.Kind.SERVICE or str(token.user.uid) != client_id:
        raise OAuthError("invalid_client", "Client id or secret is not right.", 401)
    scopes = sorted(set(scope.split())) if scope else token.scopes
    if beyond := [name for name in scopes if name not in token.scopes]:
        raise OAuthError("invalid_scope", f"Beyond what this secret gives: {', '.join(beyond)[:200]}")
    return _access(token, scopes), scopes


def _access(token: Token, scopes: list[str]) -> AccessToken:
    """Its session is the API token that it was given for; no refresh token (RFC 6749 §4.4.3)."""
    access, user = AccessToken(), token.user
    claims: dict[str, Any] = {
        "sub": str(user.uid),
        "sid": str(token.uid),
        "epoch": user.auth_epoch,
        "amr": [],
        "auth_time": int(timezone.now().timestamp()),
        "permissions": scopes,
        "exp": min(access["exp"], int(token.expires_at.timestamp())),
    }
    for name, value in claims.items():
        access[name] = value
    return access


def find_token(access: AccessToken, address: str | None) -> Token | None:
    """The valid API token that an access token was given for."""
    rows = Token.objects.valid(at=timezone.now()).filter(uid=access["sid"], user__uid=access["sub"])
    token = rows.filter(user__kind=User.Kind.SERVICE, auth_epoch=access["epoch"]).select_related("user").first()
    if token is not None:
        services.check(token, address)
        services.note_use(token)
    return token
