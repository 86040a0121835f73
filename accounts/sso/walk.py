"""To a provider and back: what was begun in this browser, and what the answer proves."""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from accounts.sso import checks, factors, remote
from accounts.sso.models import Attempt, Provider
from accounts.sso.remote import SignInRefused
from opssight.kernel.crypto import keyed_hash
from opssight.kernel.http import client_address
from opssight.kernel.rates import used

SESSION = "sso"  # in the session: what was begun in this browser, by state
PATIENCE = timedelta(minutes=10)  # to sign in over there
MOST_BEGUN = 5  # in one browser at a time
MOST_BEGUN_HERE, BEGUN_WINDOW = 60, timedelta(minutes=1)  # from one address, behind which a whole office may sit
MOST_CODE = 4096
SIGN_IN, LINK, STEP_UP = "sign-in", "link", "step-up"
# Claims that say something about the token, and not about the person.
OF_THE_TOKEN = frozenset(
    ["iss", "aud", "azp", "nonce", "at_hash", "c_hash", "exp", "iat", "nbf", "jti", "sid", "auth_time", "rat"]
)


@dataclass(frozen=True)
class Proven:
    """What a provider says of somebody who just signed in there."""

    provider: Provider
    subject: str
    claims: dict[str, Any]
    email: str = ""
    email_verified: bool = False
    name: str = ""
    sid: str = ""
    id_token: str = ""
    factor_counts: bool = False
    purpose: str = SIGN_IN
    next_page: str = ""


def may_begin(request: HttpRequest) -> bool:
    """Whether this address has not begun so many within the minute: each keeps a row, and may ask the provider."""
    return used(f"sso-begun:{client_address(request)}", BEGUN_WINDOW) <= MOST_BEGUN_HERE


def begin(request: HttpRequest, provider: Provider, *, purpose: str = SIGN_IN, next_page: str = "") -> str:
    """The address at the provider. What comes back is good in this browser, once, for ten minutes."""
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    more = {"nonce": nonce} if provider.is_oidc else {}
    if purpose == STEP_UP:  # whoever is signed in over there has to prove it anew
        more |= {"prompt": "login", "max_age": "0"}
    address, _ = remote.client(provider).create_authorization_url(
        remote.metadata(provider)["authorization_endpoint"], state=state, code_verifier=verifier, **more
    )
    Attempt.objects.create(state_hash=_hashed(state), expires_at=timezone.now() + PATIENCE)
    begun = dict(request.session.get(SESSION, {}))
    while len(begun) >= MOST_BEGUN:
        begun.pop(next(iter(begun)))
    begun[state] = {
        "provider": provider.pk,
        "nonce": nonce,
        "verifier": verifier,
        "purpose": purpose,
        "next": next_page[:2000],
        "at": timezone.now().timestamp(),
    }
    request.session[SESSION] = begun
    return str(address)


def _hashed(state: str) -> str:
    return keyed_hash("sso-state", state)


def come_back(request: HttpRequest, provider: Provider) -> Proven:
    """What the answer at our address proves."""
    if repeated := [name for name in request.GET if len(request.GET.getlist(name)) > 1]:
        raise SignInRefused(f"the answer says something twice ({len(repeated)} parameters)")
    begun = _spend(request, provider, request.GET.get("state", ""))
    _same_issuer(provider, request.GET.get("iss"))
    if "error" in request.GET:
        raise SignInRefused(f"the provider refuses: {remote.word(request.GET['error'])}")
    code = request.GET.get("code", "")
    if not code or len(code) > MOST_CODE:
        raise SignInRefused("the answer holds no code")
    given = remote.exchange(provider, code, begun["verifier"])
    proven = _by_oidc(provider, given, begun) if provider.is_oidc else _by_oauth2(provider, given)
    return Proven(**{**proven, "purpose": begun["purpose"], "next_page": begun["next"]})


def _spend(request: HttpRequest, provider: Provider, state: str) -> dict[str, Any]:
    """What was kept for this state: begun in this browser, with this provider, not come back from yet."""
    open_here = dict(request.session.get(SESSION, {}))
    begun = open_here.pop(state, None)
    if begun is None:
        raise SignInRefused("the state was not begun in this browser")
    request.session[SESSION] = open_here
    spent, _ = Attempt.objects.filter(state_hash=_hashed(state), expires_at__gt=timezone.now()).delete()
    if not spent:
        raise SignInRefused("the state was used, or is too old")
    if begun["provider"] != provider.pk:
        raise SignInRefused("the state was begun with another provider")
    return dict(begun)


def _same_issuer(provider: Provider, said: str | None) -> None:
    """RFC 9207: who answers is who was asked, or somebody mixes providers up."""
    must = provider.is_oidc and remote.metadata(provider).get("authorization_response_iss_parameter_supported") is True
    if said is None and must:
        raise SignInRefused("the answer does not say whose it is (iss)")
    if said is not None and said != provider.issuer:
        raise SignInRefused("the answer is another provider's (iss)")


def _by_oidc(provider: Provider, given: dict[str, Any], begun: dict[str, Any]) -> dict[str, Any]:
    token = given["access_token"]
    signed = claims = checks.id_token(provider, given.get("id_token"), nonce=begun["nonce"], access_token=token)
    subject = checks.subject_of(claims)
    if begun["purpose"] == STEP_UP:
        checks.signed_in_anew(signed, within=timezone.now().timestamp() - begun["at"])
    if url := remote.metadata(provider).get("userinfo_endpoint"):
        more = remote.ask(provider, url, token=token)
        if not isinstance(more, dict) or more.get("sub") != subject:
            raise SignInRefused("userinfo is about somebody else")
        claims = {**more, **signed}
    return {
        "provider": provider,
        "subject": subject,
        "claims": {name: value for name, value in claims.items() if name not in OF_THE_TOKEN},
        "email": _text(claims.get("email")),
        "email_verified": claims.get("email_verified") is True,
        "name": _text(claims.get("name")),
        "sid": _text(signed.get("sid")),
        "id_token": given["id_token"],
        "factor_counts": factors.counts(provider, signed),  # userinfo is about the person, and not about this sign-in
    }


def _by_oauth2(provider: Provider, given: dict[str, Any]) -> dict[str, Any]:
    """Plain OAuth 2.0 says nothing about who signed in; its userinfo, asked by TLS with the fresh token, does."""
    token = given["access_token"]
    claims = remote.ask(provider, provider.userinfo_url, token=token)
    if not isinstance(claims, dict):
        raise SignInRefused("userinfo is no object")
    subject = claims.get(provider.subject_claim)
    if type(subject) is int:
        subject = str(subject)
    email = ""
    if provider.emails_url:
        email = _proved_address(remote.ask(provider, provider.emails_url, token=token))
    return {
        "provider": provider,
        "subject": checks.subject_of({"sub": subject}),
        "claims": claims,
        "email": email or _text(claims.get("email")),
        "email_verified": bool(email),
        "name": _text(claims.get("name")),
    }


def _proved_address(listed: Any) -> str:
    """The main one of a list such as GitHub's, if its owner proved it."""
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, dict) and entry.get("primary") is True and entry.get("verified") is True:
            return _text(entry.get("email"))
    return ""


def _text(value: Any) -> str:
    return value.strip()[:254] if isinstance(value, str) and value.isprintable() else ""
