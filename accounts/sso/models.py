"""Providers of single sign-on, who is known by them, and what they end."""

from datetime import datetime
from typing import Any, Self
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django_otp.models import Device

from accounts.logins.models import Login
from accounts.strength import DEMANDS
from opssight.kernel.access import GuardedQuerySet, holds
from opssight.kernel.crypto import Encrypted
from opssight.kernel.ids import new_uid
from opssight.kernel.validation import Line

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
ADMINISTERS = "assignments:create"  # who holds it can always get in by password, or nobody could mend a broken provider
_printable = RegexValidator(r"^[\x21-\x7e]*$", "Only visible characters of ASCII, without spaces.")


def is_safe_address(url: Any) -> bool:
    """Whether tokens may travel there: by TLS, or not off this machine."""
    try:
        parts = urlsplit(url)
    except (ValueError, AttributeError, TypeError):
        return False
    own = parts.scheme == "http" and parts.hostname in LOOPBACK
    return bool(isinstance(url, str) and parts.hostname and not parts.username and (parts.scheme == "https" or own))


def safe_address(url: str) -> None:
    if url and (not is_safe_address(url) or urlsplit(url).fragment):
        raise ValidationError("An https address without user name and fragment.")


class Address(models.CharField):  # type: ignore[type-arg]
    """Of a provider's endpoint."""

    default_validators = [safe_address]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"max_length": 500, "blank": True, **kwargs})

    def deconstruct(self) -> Any:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.CharField", args, kwargs


class Provider(models.Model):
    """Somebody else who signs people in, by OpenID Connect or by plain OAuth 2.0, and how far that is believed."""

    class Kind(models.TextChoices):
        OIDC = "oidc", "OpenID Connect"
        OAUTH2 = "oauth2", "OAuth 2.0"

    class ClientAuth(models.TextChoices):
        BASIC = "client_secret_basic", "secret in the header"
        POST = "client_secret_post", "secret in the body"

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    slug = models.SlugField(max_length=40, unique=True, help_text="Stands in its addresses; can't be changed.")
    name = Line(max_length=60, help_text="As on the button.")
    kind = models.CharField(max_length=6, choices=Kind, default=Kind.OIDC)
    is_enabled = models.BooleanField("enabled", default=True)
    issuer = Address(help_text="OpenID Connect: exactly as the provider writes it. The rest is found there.")
    client_id = models.CharField(max_length=200, validators=[_printable])
    client_secret_encrypted = models.TextField(editable=False)
    client_auth = models.CharField(max_length=20, choices=ClientAuth, default=ClientAuth.BASIC)
    scope = Line(max_length=200, default="openid email profile")

    authorize_url = Address(help_text="OAuth 2.0 only, as the two below.")
    token_url = Address()
    userinfo_url = Address()
    emails_url = Address(
        help_text="OAuth 2.0: where it lists a person's addresses, each with `verified`, as GitHub does."
    )
    subject_claim = Line(max_length=60, default="id", help_text="OAuth 2.0: what names a person for good.")

    domains = models.JSONField(
        default=list, blank=True, help_text="Mail domains that this provider speaks for; the three below need them."
    )
    creates_accounts = models.BooleanField(default=False, help_text="For people with a proved address there.")
    trusts_email = models.BooleanField(
        default=False, help_text="A proved address there links the account that has it already."
    )
    is_only_way = models.BooleanField(
        default=False,
        help_text="People it knows sign in through it alone; those marked, and who gives rights, also by password.",
    )
    factor_level = models.CharField(
        "counts as second factor",
        max_length=8,
        choices=[("", "never: ours follows"), *DEMANDS.items()],
        blank=True,
        help_text="Where it says one of the values below of a sign-in.",
    )
    factor_values = models.JSONField(
        default=list, blank=True, help_text="Of `amr` or `acr`, such as mfa, hwk, phr; one does."
    )
    logs_out_there = models.BooleanField(default=True, help_text="Offer to sign out there as well.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    # What it last said of itself, and when; kept for all processes.
    metadata = models.JSONField(default=dict, editable=False)
    metadata_at = models.DateTimeField(null=True, editable=False)
    jwks = models.JSONField(default=dict, editable=False)
    jwks_at = models.DateTimeField(null=True, editable=False)
    failed_at = models.DateTimeField(null=True, editable=False)

    client_secret = Encrypted("client_secret_encrypted")
    objects = GuardedQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=["oidc", "oauth2"]), name="provider_kind_known"),
            # Whoever is known by an issuer and subject is known by one row.
            models.UniqueConstraint(fields=["issuer"], condition=~Q(issuer=""), name="one_provider_per_issuer"),
            models.CheckConstraint(condition=Q(kind="oauth2") | ~Q(issuer=""), name="oidc_has_issuer"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_oidc(self) -> bool:
        return self.kind == self.Kind.OIDC

    @property
    def subjects_of(self) -> str:
        """The issuer under which its people are kept: another issuer in the same row knows none of them."""
        return self.issuer or f"urn:uuid:{self.uid}"

    @property
    def redirect_uri(self) -> str:
        return f"{settings.BASE_URL}/sign-in/with/{self.slug}/back"

    @property
    def logout_uri(self) -> str:
        return f"{settings.BASE_URL}/sign-in/with/{self.slug}/logout"

    def clean(self) -> None:
        super().clean()
        if self.is_oidc and not self.issuer:
            raise ValidationError({"issuer": "OpenID Connect begins at the issuer."})
        if self.is_oidc and urlsplit(self.issuer).query:
            raise ValidationError({"issuer": "An issuer has no query."})
        if self.is_oidc and "openid" not in self.scope.split():
            raise ValidationError({"scope": "OpenID Connect needs the scope openid."})
        if not self.is_oidc and not (self.authorize_url and self.token_url and self.userinfo_url):
            raise ValidationError("OAuth 2.0 needs its three addresses: authorize, token, userinfo.")
        for field in ("domains", "factor_values"):
            setattr(self, field, _words(field, getattr(self, field)))
        self.domains = [domain.lower().lstrip("@") for domain in self.domains]
        if (self.creates_accounts or self.trusts_email) and not self.domains:
            raise ValidationError({"domains": "Name the domains that this provider speaks for."})
        if self.factor_level and not (self.is_oidc and self.factor_values):
            raise ValidationError({"factor_values": "Name the values of amr or acr; only OpenID Connect has them."})


def _words(field: str, given: Any) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(word, str) and word.strip() for word in given):
        raise ValidationError({field: "A list of words."})
    return [*dict.fromkeys(word.strip() for word in given)]


class IdentityQuerySet(GuardedQuerySet["Identity"]):
    def binding(self) -> Self:
        """Those whose person has no other way in, unless they give rights."""
        return self.filter(keeps_password=False, provider__is_enabled=True, provider__is_only_way=True)


class Identity(Device):
    """A person as a provider knows them: by issuer and subject, never by e-mail.

    A device of django-otp, so that a session may stand on it where the provider's own second factor counts.
    """

    method = "sso"

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="identities")
    issuer = models.CharField(max_length=500, editable=False)
    subject = models.CharField(max_length=255, editable=False)
    claims_encrypted = models.TextField(editable=False)  # as last seen: what rules are tried on
    keeps_password = models.BooleanField(
        default=False, help_text="Break-glass: may sign in by password although the provider is the only way."
    )
    linked_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)

    claims = Encrypted("claims_encrypted")
    objects = IdentityQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        verbose_name_plural = "identities"
        constraints = [
            models.UniqueConstraint(fields=["issuer", "subject"], name="one_account_per_subject"),
            models.UniqueConstraint(fields=["user", "provider"], name="one_identity_per_provider"),
        ]

    def __str__(self) -> str:
        return f"{self.user} at {self.provider}"

    @property
    def level(self) -> str:
        return self.provider.factor_level or "none"

    def verify_token(self, token: str) -> bool:
        """There is no code to enter: the provider is asked instead."""
        return False


def signs_in_elsewhere(user: Any) -> bool:
    """Whether the account's provider is its only way in. Never for who administers: somebody has to be able to mend
    it."""
    return Identity.objects.binding().filter(user=user).exists() and not holds(user, ADMINISTERS)


# --- claims and groups --------------------------------------------------------------------------------------------


class ClaimRule(models.Model):
    """Whoever has the value in the claim belongs to the group. A rule that is not enabled only rehearses."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="rules")
    claim = Line(max_length=120, help_text="Such as groups, or realm_access.roles for one inside another.")
    value = Line(max_length=200, help_text="Exactly; or one of them, where the claim is a list.")
    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="claim_rules")
    is_enabled = models.BooleanField("enabled", default=False)

    objects = GuardedQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["provider", "claim", "value", "group"], name="one_rule_per_claim_and_group")
        ]

    def __str__(self) -> str:
        return f"{self.claim} = {self.value}: {self.group}"


class Membership(models.Model):
    """A place in a group that rules gave, and so may take away; one given by hand has no such row."""

    identity = models.ForeignKey(Identity, on_delete=models.CASCADE, related_name="memberships")
    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="+")

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["identity", "group"], name="one_managed_place")]

    def __str__(self) -> str:
        return f"{self.identity}: {self.group}"


# --- what begins and ends -----------------------------------------------------------------------------------------


class AttemptQuerySet(models.QuerySet["Attempt"]):
    def spent(self, *, at: datetime) -> Self:
        return self.filter(expires_at__lte=at)


class Attempt(models.Model):
    """A way to a provider that was begun. Its row goes when somebody comes back with the state: once."""

    state_hash = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField(db_index=True)

    objects = AttemptQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"attempt until {self.expires_at:%H:%M}"


class ProviderLogin(models.Model):
    """A session that a provider began, and can end."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    login = models.OneToOneField(Login, on_delete=models.CASCADE, related_name="by_provider")
    identity = models.ForeignKey(Identity, on_delete=models.CASCADE, related_name="provider_logins")
    sid = models.CharField(max_length=255, blank=True, db_index=True)
    id_token_encrypted = models.TextField(blank=True, editable=False)  # says to the provider whom to sign out

    id_token = Encrypted("id_token_encrypted")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.identity} since {self.login.started_at:%Y-%m-%d %H:%M}"


class LogoutToken(models.Model):
    """One that was seen, by the hash of provider and jti, for as long as it could be sent again."""

    jti_hash = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"logout token until {self.expires_at:%H:%M}"
