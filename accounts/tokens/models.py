from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from accounts.logins.models import Login
from accounts.models import User
from opssight.kernel.access import GuardedQuerySet
from opssight.kernel.crypto import Encrypted, keyed_hash
from opssight.kernel.ids import new_uid
from opssight.kernel.validation import Line

MOST_ADDRESSES = 50


def check_networks(value: object) -> None:
    """A list of networks (CIDR) or single addresses; ValidationError names what is none."""
    if not isinstance(value, list) or len(value) > MOST_ADDRESSES:
        raise ValidationError(f"Must be a list of at most {MOST_ADDRESSES} networks.")
    for item in value:
        try:
            ip_network(item if isinstance(item, str) else "", strict=False)
        except ValueError:
            raise ValidationError(f"{str(item)[:60]!r} is no network such as 10.2.0.0/16.") from None


class TokenQuerySet(GuardedQuerySet["Token"]):
    def valid(self, *, at: datetime) -> Self:
        return self.filter(revoked_at=None, expires_at__gt=at)

    def ending(self, *, at: datetime, within: timedelta) -> Self:
        """People's tokens that have not long to live, of those that ever had longer, and that nothing has replaced."""
        mine = self.valid(at=at).filter(user__kind="person", user__is_active=True, auth_epoch=F("user__auth_epoch"))
        return mine.filter(expires_at__lt=at + within, created_at__lt=F("expires_at") - within, replaced_by=None)


class Token(models.Model):
    """A machine's key to the API, shown once: may do what `scopes` and its account both allow.

    `key` finds the row; of the secret only a keyed hash is kept. Where `addresses` names networks, it is good from
    there alone. `replaced_by` is the token that took its place; both work until this one's shortened end.
    """

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="tokens")
    name = Line(max_length=80)
    key = models.CharField(max_length=16, unique=True)
    secret_hash = models.CharField(max_length=64)
    scopes = models.JSONField()
    addresses = models.JSONField(default=list, blank=True, validators=[check_networks])
    auth_epoch = models.PositiveIntegerField()
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    replaced_by = models.OneToOneField(
        "self", on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="replaces"
    )

    objects = TokenQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name

    @staticmethod
    def hashed(secret: str) -> str:
        return keyed_hash("api-token", secret)

    def is_good_from(self, address: str | None) -> bool:
        """An address that nobody vouches for lies in no network."""
        if not self.addresses:
            return True
        networks = (ip_network(item, strict=False) for item in self.addresses)
        return address is not None and any(ip_address(address) in network for network in networks)


class ServiceAccountManager(models.Manager.from_queryset(GuardedQuerySet)):  # type: ignore[misc]
    def get_queryset(self) -> models.QuerySet[Any]:
        rows: models.QuerySet[Any] = super().get_queryset()
        return rows.filter(kind=User.Kind.SERVICE)


class ServiceAccount(User):
    """The accounts of programs, as a resource of their own. They are written as `User`, which the trail follows."""

    objects = ServiceAccountManager()  # type: ignore[misc]

    class Meta:
        proxy = True
        default_permissions = ()


class Family(models.Model):
    """The refresh tokens that came of one sign-in for the API: each is good once, and gives the next.

    Only the latest one's id is kept: whoever comes with an earlier one took it from somebody, and all of them end.
    """

    login = models.OneToOneField(Login, on_delete=models.CASCADE, related_name="family")
    refresh_jti = models.CharField(max_length=32)
    permissions = models.JSONField(null=True)  # what its tokens may do at most; null for whatever the account may
    refreshed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()
        verbose_name_plural = "families"

    def __str__(self) -> str:
        return f"tokens of {self.login}"


class SigningKeyQuerySet(models.QuerySet["SigningKey"]):
    def accepted(self, *, at: datetime) -> Self:
        """Those whose signatures count. Never of two algorithms at once: a change of it ends what the other signed."""
        return self.filter(Q(accepted_until=None) | Q(accepted_until__gt=at), algorithm=settings.JWT_ALGORITHM)


class SigningKey(models.Model):
    """A key that signs JWTs, encrypted. The newest signs; an earlier one is accepted for as long as its tokens live."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    kid = models.CharField(max_length=16, unique=True)
    algorithm = models.CharField(max_length=5)
    private_encrypted = models.TextField(editable=False)
    created_at = models.DateTimeField(default=timezone.now)
    accepted_until = models.DateTimeField(null=True)

    private = Encrypted("private_encrypted")
    objects = SigningKeyQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.algorithm} key {self.kid}"
