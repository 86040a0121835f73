"""What a token of a provider must hold up to: OpenID Connect Core §3.1.3.7 and Back-Channel Logout §2.6.

Authlib checks most; what it lets pass stands here.
"""

from collections.abc import Iterable
from typing import Any, cast

from authlib.oidc.core import CodeIDToken
from django.utils import timezone
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError
from joserfc.jwk import KeySet

from accounts.sso.models import Provider
from accounts.sso.remote import SignInRefused, keys

# Signatures that only the provider can make. Neither none nor HS*: with these its public key would be the secret.
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
LEEWAY = 60  # seconds, for clocks that differ
MAX_AGE = 600  # seconds since it was issued: it was asked for a moment ago
ROUNDING = 5  # seconds, for what is told in whole ones by more than one machine
MAX_TOKEN = 32_768
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


def claims_of(provider: Provider, token: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token that the provider signed."""
    if not isinstance(token, str) or not token or len(token) > MAX_TOKEN:
        raise SignInRefused("there is no token, or one too large")
    try:
        return _decoded(token, keys(provider))
    except InvalidKeyIdError:
        newer = keys(provider, anew=True)
    if newer is None:
        raise SignInRefused("signed with a key that the provider does not list")
    try:
        return _decoded(token, newer)
    except InvalidKeyIdError:
        raise SignInRefused("signed with a key that the provider does not list") from None


def _decoded(token: str, listed: dict[str, Any] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        found = jwt.decode(token, KeySet.import_key_set(cast(Any, listed)), algorithms=ALGORITHMS)
    except InvalidKeyIdError:
        raise
    except Exception as error:  # joserfc, cryptography and base64 each have theirs for what can't be read
        raise SignInRefused(f"the token can't be trusted: {type(error).__name__}") from None
    return dict(found.header), dict(found.claims)


def id_token(provider: Provider, token: Any, *, nonce: str, access_token: str) -> dict[str, Any]:
    header, claims = claims_of(provider, token)
    now = int(timezone.now().timestamp())
    _common(provider, claims, now, needed=("exp",))
    checked = CodeIDToken(
        claims,
        header,
        {name: {"essential": True} for name in ("iss", "sub", "aud", "exp", "iat", "nonce")},
        {"nonce": nonce, "client_id": provider.client_id, "access_token": access_token},
    )
    try:
        checked.validate(now=now, leeway=LEEWAY)
    except Exception as error:  # a claim of another kind than it should be breaks Authlib's own comparison
        raise SignInRefused(f"the token's claims: {_told(error)}") from None
    if now - claims["iat"] > MAX_AGE:
        raise SignInRefused("the token's claims: iat is long ago")
    if "at_hash" in claims and not isinstance(claims["at_hash"], str):
        raise SignInRefused("the token's claims: at_hash")
    subject_of(claims)
    return claims


def signed_in_anew(claims: dict[str, Any], *, within: float) -> None:
    """Asked for with max_age=0, auth_time must be there, and be no longer ago than the way there and back took in
    seconds. Both times are the provider's own, so that no clock of ours can be wrong."""
    if type(claims.get("auth_time")) not in (int, float):
        raise SignInRefused("the token's claims: auth_time")
    if not -ROUNDING <= claims["iat"] - claims["auth_time"] <= within + ROUNDING:
        raise SignInRefused("the token's claims: auth_time is not of now")


def logout_token(provider: Provider, token: Any) -> dict[str, Any]:
    header, claims = claims_of(provider, token)
    now = int(timezone.now().timestamp())
    _common(provider, claims, now, needed=("exp",))
    if claims["exp"] < now - LEEWAY:
        raise SignInRefused("the token's claims: exp")
    if now - claims["iat"] > MAX_AGE:
        raise SignInRefused("the token's claims: iat is long ago")
    if str(header.get("typ", "logout+jwt")).lower() not in ("logout+jwt", "jwt"):
        raise SignInRefused("the token is of another type")
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
        raise SignInRefused("the token's claims: it is about no logout")
    if "nonce" in claims:  # so that an ID token passes for none
        raise SignInRefused("the token's claims: nonce")
    if not _is_text(claims.get("jti")):
        raise SignInRefused("the token's claims: jti")
    named = [name for name in ("sub", "sid") if name in claims]
    if not named or not all(_is_text(claims[name]) for name in named):
        raise SignInRefused("the token's claims: whom it is about")
    return claims


def _common(provider: Provider, claims: dict[str, Any], now: int, *, needed: Iterable[str]) -> None:
    if claims.get("iss") != provider.issuer:
        raise SignInRefused("the token's claims: iss")
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if provider.client_id not in audiences or not all(isinstance(one, str) for one in audiences):
        raise SignInRefused("the token's claims: aud")
    party = claims.get("azp")
    if (len(audiences) > 1 and party is None) or party not in (None, provider.client_id):
        raise SignInRefused("the token's claims: azp")
    for name in ("iat", *needed, *(["nbf"] if "nbf" in claims else [])):
        if type(claims.get(name)) not in (int, float):
            raise SignInRefused(f"the token's claims: {name}")
    if claims["iat"] > now + LEEWAY:
        raise SignInRefused("the token's claims: iat is to come")


def subject_of(claims: dict[str, Any]) -> str:
    subject = claims.get("sub")
    if not _is_text(subject):
        raise SignInRefused("the token's claims: sub")
    return str(subject)


def _is_text(value: Any) -> bool:
    """Up to 255 characters that can be stored and compared."""
    return isinstance(value, str) and 0 < len(value) <= 255 and value.isprintable()


def _told(error: Exception) -> str:
    """Which claim; the value is somebody else's text."""
    return str(getattr(error, "claim", "") or type(error).__name__)
