"""A sign-in by a provider: begun, come back from, and whose it is; and what officers change about providers."""

import json
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils import timezone

from accounts.logins.models import Login
from accounts.logins.services import revoke
from accounts.models import User, normalise_email
from accounts.notify import kinds
from accounts.notify.services import notify
from accounts.services import create_account
from accounts.sso import checks, events, remote
from accounts.sso.groups import apply_rules
from accounts.sso.models import Attempt, ClaimRule, Identity, LogoutToken, Provider
from accounts.sso.remote import SignInRefused
from opssight.kernel.crypto import keyed_hash

__all__ = ["SignInRefused"]

SESSION = "sso"  # in the session: what was begun in this browser, by state
PATIENCE = timedelta(minutes=10)  # to sign in over there
MOST_BEGUN = 5  # in one browser at a time
MOST_CODE = 4096
SIGN_IN, LINK = "sign-in", "link"
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


# --- there and back -----------------------------------------------------------------------------------------------


def begin(request: HttpRequest, provider: Provider, *, purpose: str = SIGN_IN, next_page: str = "") -> str:
    """The address at the provider. What comes back is good in this browser, once, for ten minutes."""
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    more = {"nonce": nonce} if provider.is_oidc else {}
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
        "factor_counts": _counts(provider, signed),  # userinfo is about the person, and not about this sign-in
    }


def _counts(provider: Provider, claims: dict[str, Any]) -> bool:
    """Whether this sign-in over there is a second factor here: by the values that the provider's row names."""
    said = claims.get("amr") if isinstance(claims.get("amr"), list) else []
    told = {value for value in [*said, claims.get("acr")] if isinstance(value, str)}  # type: ignore[misc]
    return bool(provider.factor_level and told & set(provider.factor_values))


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


# --- whose it is --------------------------------------------------------------------------------------------------


@transaction.atomic
def whose(proven: Proven) -> Identity:
    """The account behind it: linked by issuer and subject, or by what the provider's row allows. SignInRefused."""
    identity = known(proven)
    if identity is None:
        identity = _first_time(proven)
    user = identity.user
    if not user.is_active or user.kind != User.Kind.PERSON:
        raise SignInRefused("the account is not active, or no person's")
    identity.claims = json.dumps(proven.claims)
    identity.last_used_at = timezone.now()
    identity.save(update_fields=["claims_encrypted", "last_used_at"])
    apply_rules(identity, proven.claims)
    return identity


def known(proven: Proven) -> Identity | None:
    return (
        Identity.objects.select_related("user", "provider")
        .filter(provider=proven.provider, issuer=proven.provider.subjects_of, subject=proven.subject)
        .first()
    )


def _first_time(proven: Proven) -> Identity:
    provider, email = proven.provider, normalise_email(proven.email)
    if not email or not proven.email_verified:
        raise SignInRefused("nobody is linked, and the provider proves no e-mail address")
    if email.rpartition("@")[2] not in provider.domains:
        raise SignInRefused("nobody is linked, and the provider does not speak for the address's domain")
    user = User.objects.filter(email=email).first()
    if user is not None and not provider.trusts_email:
        raise SignInRefused("there is an account with this address, whose owner has not linked it")
    if user is None:
        if not provider.creates_accounts:
            raise SignInRefused("nobody is linked, and the provider makes no accounts")
        try:
            user = create_account(email, name=proven.name[:120])
        except (ValidationError, IntegrityError):
            raise SignInRefused("no account can be made of what the provider says") from None
    return link(user, proven, how="address")


@transaction.atomic
def link(user: User, proven: Proven, *, how: str) -> Identity:
    """From now on this person of the provider signs in as `user`."""
    identity = Identity(
        user=user,
        provider=proven.provider,
        name=proven.provider.name,
        issuer=proven.provider.subjects_of,
        subject=proven.subject,
    )
    identity.claims = json.dumps(proven.claims)
    try:
        with transaction.atomic():
            identity.save()
    except IntegrityError:
        raise SignInRefused("the account or the person is linked already") from None
    events.LINKED.emit(target=user, provider=proven.provider.slug, how=how)
    notify(
        user,
        kinds.PROVIDER_LINKED,
        f"{proven.provider.name} was linked to your account",
        f"From now on a sign-in at {proven.provider.name} opens your account. If that was not you, tell your security "
        "officer at once.",
    )
    return identity


@transaction.atomic
def unlink(identity: Identity) -> None:
    """It signs nobody in any more, and what it began ends, with the groups that came of it."""
    end_sessions(identity.provider, identity=identity)
    apply_rules(identity, None)
    events.UNLINKED.emit(target=identity.user, provider=identity.provider.slug)
    identity.delete()


# --- the end, told by the provider --------------------------------------------------------------------------------


@transaction.atomic
def log_out(provider: Provider, token: Any) -> int:
    """Back-channel logout: end what the token names. Returns how many sessions that were. SignInRefused."""
    claims = checks.logout_token(provider, token)
    expires_at = timezone.now() + timedelta(seconds=checks.MAX_AGE + 2 * checks.LEEWAY)
    seen = keyed_hash("logout-token", f"{provider.subjects_of}:{claims['jti']}")
    _, is_new = LogoutToken.objects.get_or_create(jti_hash=seen, defaults={"expires_at": expires_at})
    if not is_new:
        raise SignInRefused("the token was used already")
    return end_sessions(provider, subject=claims.get("sub", ""), sid=claims.get("sid", ""))


def end_sessions(provider: Provider, *, identity: Identity | None = None, subject: str = "", sid: str = "") -> int:
    """Those that the provider began: all, or of one person, or one of theirs."""
    found = Login.objects.filter(by_provider__identity__provider=provider, ended_at=None).select_related("user")
    if identity is not None:
        found = found.filter(by_provider__identity=identity)
    if subject:
        found = found.filter(by_provider__identity__subject=subject, by_provider__identity__issuer=provider.subjects_of)
    if sid:
        found = found.filter(by_provider__sid=sid)
    logins = list(found)
    if subject or sid:
        for user in {login.user for login in logins}:
            events.ENDED_BY_PROVIDER.emit(target=user, provider=provider.slug)
    return revoke(logins)


def purge() -> None:
    now = timezone.now()
    Attempt.objects.spent(at=now).delete()
    LogoutToken.objects.filter(expires_at__lte=now).delete()


# --- what officers change -----------------------------------------------------------------------------------------

# A change of one of these ends what the provider began: it rests on what is no longer so.
GROUNDS = ("is_enabled", "issuer", "client_id", "factor_level", "factor_values")
SAID: dict[str, Any] = {"metadata": {}, "metadata_at": None, "jwks": {}, "jwks_at": None, "failed_at": None}


@transaction.atomic
def save_provider(provider: Provider, *, secret: str = "") -> Provider:
    """Make or change one; an empty secret leaves the one that is there."""
    before = Provider.objects.select_for_update().filter(pk=provider.pk).first() if provider.pk else None
    if secret:
        provider.client_secret = secret
    provider.full_clean()
    for name, value in SAID.items():  # what it said may have been another's
        setattr(provider, name, value)
    provider.save()
    events.PROVIDER_CHANGED.emit(target=provider, provider=provider.slug)
    if before is not None and any(getattr(before, name) != getattr(provider, name) for name in GROUNDS):
        end_sessions(provider)
    return provider


@transaction.atomic
def delete_provider(provider: Provider) -> None:
    """With the links of everybody: they sign in by password again, those without one by a link of an officer."""
    for identity in provider.identities.select_related("user", "provider"):
        unlink(identity)
    events.PROVIDER_REMOVED.emit(target=provider, provider=provider.slug)
    provider.delete()


@transaction.atomic
def save_rule(rule: ClaimRule) -> ClaimRule:
    """A higher app may refuse it by the event: who may give what a group gives is not known here."""
    rule.full_clean()
    rule.save()
    events.RULE_CHANGED.emit(target=rule, provider=rule.provider.slug, group=rule.group.name)
    return rule


@transaction.atomic
def delete_rule(rule: ClaimRule) -> None:
    """Places in the group go at the next sign-in of each."""
    events.RULE_CHANGED.emit(target=rule, provider=rule.provider.slug, group=rule.group.name, removed=True)
    rule.delete()
