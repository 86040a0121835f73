"""Issuing, checking, rotating and revoking API tokens."""

import re
import secrets
import string
import zlib
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from accounts.notify import kinds
from accounts.notify.services import notify
from accounts.tokens import events
from accounts.tokens.models import Token
from accounts.tokens.refusals import Expired, NotAccepted
from opssight.kernel import crypto
from opssight.kernel.access import covers, decide, is_registered, refusal
from opssight.kernel.errors import Refusal

DEFAULT_DAYS, MAX_DAYS = 90, 366
DEFAULT_GRACE_HOURS, MAX_GRACE_HOURS = 24, 7 * 24
WARNING = timedelta(days=7)
SEEN_EVERY = timedelta(minutes=1)  # last_used_at is not worth a write per request
PREFIX = "ops_"
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_TOKEN = re.compile(r"^(ops_([A-Za-z0-9]{12})_([A-Za-z0-9]{43}))([A-Za-z0-9]{6})$")


class NotIssued(Refusal):
    status = 400


class NotRotated(Refusal):
    status = 409


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def checksum(text: str) -> str:
    """CRC-32 in six characters of base 62: lets a secret scanner tell a token from what only looks like one."""
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = _ALPHABET[digit] + digits
    return digits


@transaction.atomic
def issue_token(
    user: User,
    *,
    name: str,
    scopes: list[str],
    days: int = DEFAULT_DAYS,
    addresses: list[str] | None = None,
    by: User | None = None,
) -> tuple[Token, str]:
    """A token for `user` and its text, `ops_<key>_<secret and checksum>`, which is shown once.

    Raises NotIssued with what is wrong. A scope that the account itself does not hold is refused: a token never adds a
    right. Nor does it carry one to where a policy refuses it now, nor to somebody else: who makes it for another
    account (`by`) must hold its scopes too, wherever that account does.
    """
    unknown = [scope for scope in scopes if not is_registered(scope)]
    if unknown or not scopes:
        raise NotIssued(f"Unknown scope: {', '.join(unknown)[:200]}." if unknown else "Name at least one scope.")
    for holder in (user, by):
        if holder is not None:
            _must_hold(holder, scopes)
    if by is not None and (beyond := [scope for scope in scopes if not covers(by, user, scope)]):
        raise NotIssued(
            f"{user.email} holds {', '.join(beyond)} in places where you don't, so you make no token with it."
        )
    if not 1 <= days <= MAX_DAYS:
        raise NotIssued(f"A token lives 1 to {MAX_DAYS} days.")
    key, secret = _random(12), _random(43)
    token = Token(
        user=user,
        name=name,
        key=key,
        secret_hash=Token.hashed(secret),
        scopes=sorted(set(scopes)),
        addresses=addresses or [],
        auth_epoch=user.auth_epoch,
        expires_at=timezone.now() + timedelta(days=days),
    )
    token.full_clean()
    token.save()
    events.TOKEN_ISSUED.emit(target=token, scopes=token.scopes, days=days, account=user.email)
    text = f"{PREFIX}{key}_{secret}"
    return token, text + checksum(text)


def _must_hold(user: User, scopes: list[str]) -> None:
    decisions = {scope: decide(user, scope) for scope in scopes}
    for scope, decision in decisions.items():
        if decision.policy:
            raise refusal(user, decision, scope)
    lacking = [scope for scope, decision in decisions.items() if not decision.allowed]
    if lacking:
        raise NotIssued(f"{user.email} does not hold {', '.join(lacking)}, so no token can.")


def authenticate(text: str, address: str | None = None) -> Token:
    """The valid token that `text` is, used from `address`. Raises NotAccepted and Expired, and leaves one event."""
    match, now = _TOKEN.match(text), timezone.now()
    is_whole = match is not None and checksum(match[1]) == match[4]
    token = Token.objects.select_related("user").filter(key=match[2]).first() if match and is_whole else None
    if token is None or match is None or not crypto.same(token.secret_hash, Token.hashed(match[3])):
        raise _refused(None, "unknown token")
    check(token, address)
    if token.expires_at <= now:
        raise _refused(token, "expired token", Expired())
    note_use(token)
    token.user.scopes = frozenset(token.scopes)  # read by kernel.access.decide
    token.user.by_token = True
    return token


def check(token: Token, address: str | None) -> None:
    """Raises NotAccepted where it is over for another reason than its age, or is used from elsewhere."""
    if token.revoked_at is not None or not token.user.is_active or token.auth_epoch != token.user.auth_epoch:
        raise _refused(token, "revoked token")
    if not token.is_good_from(address):
        raise _refused(token, "address outside the token's networks")


def _refused(token: Token | None, error: str, refusal: NotAccepted | None = None) -> NotAccepted:
    events.TOKEN_REFUSED.emit(target=token, success=False, error=error)
    return refusal or NotAccepted()


def note_use(token: Token) -> None:
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > SEEN_EVERY:
        Token.objects.filter(pk=token.pk).update(last_used_at=now)


@transaction.atomic
def rotate_token(token: Token, *, grace_hours: int = DEFAULT_GRACE_HOURS, by: User | None = None) -> tuple[Token, str]:
    """A new token with the same name, scopes, networks and length of life. The old one works for the grace time yet."""
    now = timezone.now()
    token = Token.objects.select_for_update().select_related("user").get(pk=token.pk)
    if token.replaced_by_id or not Token.objects.valid(at=now).filter(pk=token.pk).exists():
        raise NotRotated("This token was replaced, revoked or has expired. Make a new one.")
    days = max(1, round((token.expires_at - token.created_at) / timedelta(days=1)))
    new, text = issue_token(
        token.user, name=token.name, scopes=token.scopes, days=days, addresses=token.addresses, by=by
    )
    token.replaced_by, token.expires_at = new, min(token.expires_at, now + timedelta(hours=grace_hours))
    token.save(update_fields=["replaced_by", "expires_at"])
    events.TOKEN_ROTATED.emit(target=token, grace_hours=grace_hours, new=str(new.uid))
    return new, text


def tell_of_ending_tokens() -> None:
    """A week before a token ends, once, its owner is told."""
    for token in Token.objects.ending(at=timezone.now(), within=WARNING).select_related("user"):
        notify(
            token.user,
            kinds.TOKEN_ENDING,
            f"Your API token “{token.name}” ends soon",
            f"It ends on {token.expires_at:%d %B %Y at %H:%M} UTC; whatever uses it stops working then. Make its "
            f"successor before, by POST /api/v1/tokens/{token.uid}/rotate or anew.\n\nYou can turn this reminder off "
            "under My security.",
            key=str(token.uid),
            expires_at=token.expires_at,
        )


@transaction.atomic
def revoke_token(token: Token) -> None:
    token.revoked_at = timezone.now()
    token.save(update_fields=["revoked_at"])
    events.TOKEN_REVOKED.emit(target=token)
