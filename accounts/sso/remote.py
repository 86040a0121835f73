"""Talking to a provider, through the guarded client alone: what it says of itself, its keys, and its answers.

What it says is kept in its row for all processes. One that fails is left alone for some seconds, so that a provider
that is down holds up nobody's worker.
"""

import json
import logging
import re
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from authlib.integrations.base_client.errors import OAuthError
from authlib.oauth2.base import OAuth2Error
from authlib.oauth2.client import OAuth2Client
from django.utils import timezone

from accounts.sso.models import Provider, is_safe_address
from opssight.kernel import outgoing
from opssight.kernel.crypto import Undecryptable

log = logging.getLogger("opssight.sso")

TIMEOUT = timedelta(seconds=5)
MAX_BYTES = 262_144
METADATA_KEPT = KEYS_KEPT = timedelta(hours=1)
KEYS_ASKED_AGAIN = timedelta(minutes=1)  # for a key id that nobody knows: any forged token has one
LEFT_ALONE = timedelta(seconds=10)
_WORD = re.compile(r"^[a-z_]{1,60}$")
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class SignInRefused(Exception):
    """Why a sign-in came to nothing: for the trail, never for the page."""


def word(value: Any) -> str:
    """An error code of somebody else's, as far as it is one."""
    return value if isinstance(value, str) and _WORD.match(value) else "something unreadable"


# --- one call -----------------------------------------------------------------------------------------------------


def ask(provider: Provider, url: str, *, token: str = "") -> Any:
    """GET some JSON."""
    headers = {"Accept": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    answer = _call(provider, "GET", url, headers=headers)
    if answer.status_code != 200:
        raise SignInRefused(f"the provider answers {answer.status_code}")
    return parsed(answer.content)


def _call(provider: Provider, method: str, url: str, **kwargs: Any) -> outgoing.Response:
    if provider.failed_at is not None and provider.failed_at + LEFT_ALONE > timezone.now():
        raise SignInRefused("the provider failed a moment ago, and is left alone for some seconds")
    try:
        answer = outgoing.send(method, url, timeout=TIMEOUT, max_bytes=MAX_BYTES, **kwargs)
    except outgoing.OutgoingError as error:
        _keep(provider, failed_at=timezone.now())
        raise SignInRefused(f"the provider can't be asked: {error}") from None
    if answer.status_code >= 500:
        _keep(provider, failed_at=timezone.now())
        raise SignInRefused(f"the provider answers {answer.status_code}")
    return answer


def _keep(provider: Provider, **values: Any) -> None:
    for name, value in values.items():
        setattr(provider, name, value)
    Provider.objects.filter(pk=provider.pk).update(**values)


def parsed(content: bytes) -> Any:
    """JSON without the numbers that are none, and not so deep that it breaks the reader."""
    try:
        return json.loads(content, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise SignInRefused("the provider's answer is no JSON") from None


def _no_number(name: str) -> None:
    raise ValueError(name)


# --- what it says of itself ---------------------------------------------------------------------------------------


def _is_fresh(at: datetime | None, kept: timedelta) -> bool:
    return at is not None and at + kept > timezone.now()


def metadata(provider: Provider) -> dict[str, Any]:
    """Discovery (OpenID Connect Discovery 1.0 §4), whose issuer must be the one asked for."""
    if not provider.is_oidc:
        return {
            "authorization_endpoint": provider.authorize_url,
            "token_endpoint": provider.token_url,
            "userinfo_endpoint": provider.userinfo_url,
        }
    if _is_fresh(provider.metadata_at, METADATA_KEPT):
        return dict(provider.metadata)
    found = ask(provider, provider.issuer.rstrip("/") + "/.well-known/openid-configuration")
    if not isinstance(found, dict):
        raise SignInRefused("discovery: not an object")
    if found.get("issuer") != provider.issuer:
        raise SignInRefused("discovery: it names another issuer")
    for name in ENDPOINTS:
        if not is_safe_address(found.get(name)):
            raise SignInRefused(f"discovery: {name} is no safe address")
    for name in ("userinfo_endpoint", "end_session_endpoint"):
        if name in found and not is_safe_address(found[name]):
            raise SignInRefused(f"discovery: {name} is no safe address")
    _keep(provider, metadata=found, metadata_at=timezone.now())
    return found


def keys(provider: Provider, *, anew: bool = False) -> dict[str, Any] | None:
    """Its public keys. `anew` for one that is not among them: None where they were fetched just now."""
    if not anew and _is_fresh(provider.jwks_at, KEYS_KEPT):
        return dict(provider.jwks)
    if anew:
        # Of many requests at once one asks: the update is conditional.
        now = timezone.now()
        known = Provider.objects.filter(pk=provider.pk, jwks_at__lte=now - KEYS_ASKED_AGAIN)
        if not known.update(jwks_at=now):
            return None
    found = ask(provider, metadata(provider)["jwks_uri"])
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise SignInRefused("its keys: not a key set")
    # Public keys alone: with a symmetric one, whoever reads the set could sign.
    public = [
        key
        for key in listed
        if isinstance(key, dict) and key.get("kty") in ("RSA", "EC", "OKP") and key.get("use", "sig") == "sig"
    ]
    _keep(provider, jwks={"keys": public}, jwks_at=timezone.now())
    return {"keys": public}


# --- the code and the token ---------------------------------------------------------------------------------------


class _Session:
    """What Authlib's client sends with."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider

    def post(self, url: str, *, data: dict[str, str], headers: dict[str, str], auth: Any) -> outgoing.Response:
        url, headers, body = auth.prepare("POST", url, {**headers}, urlencode(data))
        return _call(self.provider, "POST", url, content=body.encode(), headers=headers)


def client(provider: Provider) -> OAuth2Client:
    try:
        secret = provider.client_secret
    except Undecryptable as error:
        log.error("%s: %s; enter the client secret anew", provider, error)
        raise SignInRefused("the client secret can't be read: enter it anew on the provider's page") from None
    return OAuth2Client(
        _Session(provider),
        client_id=provider.client_id,
        client_secret=secret,
        token_endpoint_auth_method=provider.client_auth,
        scope=provider.scope,
        redirect_uri=provider.redirect_uri,
        code_challenge_method="S256",
    )


def exchange(provider: Provider, code: str, verifier: str) -> dict[str, Any]:
    """The code for tokens, with the proof that it was asked for here (PKCE)."""
    try:
        given: dict[str, Any] = client(provider).fetch_token(
            metadata(provider)["token_endpoint"],
            grant_type="authorization_code",
            code=code,
            code_verifier=verifier,
            redirect_uri=provider.redirect_uri,
        )
    except (OAuthError, OAuth2Error) as error:
        raise SignInRefused(f"the provider does not take the code: {word(error.error)}") from None
    except SignInRefused:
        raise
    except Exception:  # whatever Authlib or httpx make of an answer that is none
        raise SignInRefused("the provider's answer to the code is none") from None
    token = given.get("access_token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise SignInRefused("the provider gives no access token")
    if str(given.get("token_type", "")).lower() != "bearer":
        raise SignInRefused("the provider gives a token that is no bearer token")
    return given
