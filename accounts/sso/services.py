"""Whose account a provider's word opens, and what officers change about providers."""

import json
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User, normalise_email
from accounts.notify import kinds
from accounts.notify.services import notify
from accounts.services import create_account
from accounts.sso import events
from accounts.sso.endings import end_other_ways, end_sessions
from accounts.sso.groups import apply_rules, claims_of
from accounts.sso.models import ClaimRule, Identity, Provider
from accounts.sso.remote import SignInRefused
from accounts.sso.walk import Proven

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
    identity.save(update_fields=["claims_encrypted"])
    return identity


def signed_in(identity: Identity) -> None:
    """Both steps are behind: what was claimed last gives groups, and takes them."""
    identity.last_used_at = timezone.now()
    identity.save(update_fields=["last_used_at"])
    apply_rules(identity, claims_of(identity))


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
    end_other_ways(Identity.objects.filter(provider=provider))
    return provider


@transaction.atomic
def delete_provider(provider: Provider) -> None:
    """With the links of everybody: they sign in by password again, those without one by a link of an officer."""
    for identity in provider.identities.select_related("user", "provider"):
        unlink(identity)
    events.PROVIDER_REMOVED.emit(target=provider, provider=provider.slug)
    provider.delete()


@transaction.atomic
def save_identity(identity: Identity) -> None:
    """Whether the password stays a way in: where not, what it opened ends at once."""
    identity.save(update_fields=["keeps_password"])
    end_other_ways(Identity.objects.filter(pk=identity.pk))


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
