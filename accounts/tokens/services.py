"""Issuing, checking and revoking API tokens."""

import re
import secrets
import string
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from accounts.tokens import events
from accounts.tokens.models import Token
from opssight.kernel import crypto
from opssight.kernel.access import decide, is_registered, refusal
from opssight.kernel.errors import Refusal

DEFAULT_DAYS, MAX_DAYS = 90, 366
SEEN_EVERY = timedelta(minutes=1)  # last_used_at is not worth a write per request
_ALPHABET = string.ascii_letters + string.digits
_TOKEN = re.compile(r"^ops_([A-Za-z0-9]{12})_([A-Za-z0-9]{43})$")


class NotIssued(Refusal):
    status = 400


class NotAccepted(Refusal):
    status = 401


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


@transaction.atomic
def issue_token(user: User, *, name: str, scopes: list[str], days: int = DEFAULT_DAYS) -> tuple[Token, str]:
    """A token for `user` and its text, which is shown once. Raises NotIssued with what is wrong.

    A scope that the account itself does not hold is refused: a token never adds a right. Nor does it carry one to where
    a policy refuses it now.
    """
    unknown = [scope for scope in scopes if not is_registered(scope)]
    if unknown or not scopes:
        raise NotIssued(f"Unknown scope: {', '.join(unknown)[:200]}." if unknown else "Name at least one scope.")
    decisions = {scope: decide(user, scope) for scope in scopes}
    for scope, decision in decisions.items():
        if decision.policy:
            raise refusal(user, decision, scope)
    lacking = [scope for scope, decision in decisions.items() if not decision.allowed]
    if lacking:
        raise NotIssued(f"{user.email} does not hold {', '.join(lacking)}, so no token can.")
    if not 1 <= days <= MAX_DAYS:
        raise NotIssued(f"A token lives 1 to {MAX_DAYS} days.")
    key, secret = _random(12), _random(43)
    token = Token(
        user=user,
        name=name,
        key=key,
        secret_hash=Token.hashed(secret),
        scopes=sorted(set(scopes)),
        auth_epoch=user.auth_epoch,
        expires_at=timezone.now() + timedelta(days=days),
    )
    token.full_clean()
    token.save()
    events.TOKEN_ISSUED.emit(target=token, scopes=token.scopes, days=days, account=user.email)
    return token, f"ops_{key}_{secret}"


def authenticate(text: str) -> Token:
    """The valid token that `text` is. Every refusal reads the same, and leaves one event."""
    match = _TOKEN.match(text)
    now = timezone.now()
    found = Token.objects.valid(at=now).select_related("user").filter(key=match[1]) if match else ()
    token = next(iter(found), None)
    good = (
        token is not None
        and match is not None
        and crypto.same(token.secret_hash, Token.hashed(match[2]))
        and token.user.is_active
        and token.auth_epoch == token.user.auth_epoch
    )
    if token is None or not good:
        events.TOKEN_REFUSED.emit(target=token, success=False, error="unknown, expired or revoked token")
        raise NotAccepted("The token is not valid: unknown, expired or revoked.")
    if token.last_used_at is None or now - token.last_used_at > SEEN_EVERY:
        Token.objects.filter(pk=token.pk).update(last_used_at=now)
    token.user.scopes = frozenset(token.scopes)  # read by kernel.access.decide
    return token


@transaction.atomic
def revoke_token(token: Token) -> None:
    token.revoked_at = timezone.now()
    token.save(update_fields=["revoked_at"])
    events.TOKEN_REVOKED.emit(target=token)
