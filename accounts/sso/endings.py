"""What ends: sessions that a provider began, by its word or with its row, and what is kept for some minutes only."""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.logins.models import Login
from accounts.logins.services import revoke
from accounts.sso import checks, events
from accounts.sso.models import Attempt, Identity, IdentityQuerySet, LogoutToken, Provider, signs_in_elsewhere
from accounts.sso.remote import SignInRefused
from opssight.kernel.crypto import keyed_hash


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


def end_other_ways(identities: IdentityQuerySet) -> None:
    """Whom their provider binds keeps no session that none began, nor what was made from it."""
    for identity in identities.binding().select_related("user", "provider"):
        if not signs_in_elsewhere(identity.user):
            continue
        found = Login.objects.filter(user=identity.user, ended_at=None, by_provider=None, parent__by_provider=None)
        if ended := revoke(found.select_related("user").order_by("pk")):
            events.OTHER_WAYS_ENDED.emit(target=identity.user, provider=identity.provider.slug, ended=ended)


def purge() -> None:
    now = timezone.now()
    Attempt.objects.spent(at=now).delete()
    LogoutToken.objects.filter(expires_at__lte=now).delete()
