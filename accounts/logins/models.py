from datetime import datetime
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from accounts.logins.devices import described
from accounts.strength import NAMES
from opssight.kernel.access import GuardedQuerySet
from opssight.kernel.ids import new_uid


class LoginQuerySet(GuardedQuerySet["Login"]):
    def open(self, *, at: datetime) -> Self:
        """Those that let somebody in: neither ended nor run out, and begun since the account's last revocation."""
        return self.filter(
            ended_at=None,
            ends_at__gt=at,
            idle_ends_at__gt=at,
            user__is_active=True,
            auth_epoch=F("user__auth_epoch"),
        )

    def with_their_tokens(self, login: "Login") -> Self:
        """`login`, and the sign-ins for the API that were made from it."""
        return self.filter(Q(pk=login.pk) | Q(parent=login))


class Login(models.Model):
    """One sign-in and what it opened: a session of the console, or for the API a family of tokens.

    It ends at `ends_at` however much it is used, and at `idle_ends_at` where it is not; each use moves the latter.
    `parent` is the session of the console that it was begun from; it ends with that one.
    """

    class Kind(models.TextChoices):
        CONSOLE = "console", "Console"
        API = "api", "API"

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="logins")
    kind = models.CharField(max_length=7, choices=Kind, default=Kind.CONSOLE)
    parent = models.ForeignKey("self", on_delete=models.CASCADE, null=True, related_name="children")
    factors = models.JSONField()  # what was proved in it, by the names of RFC 8176
    level = models.CharField("strength", max_length=8, choices=[*NAMES.items()])  # of the factor that it stands on
    auth_epoch = models.PositiveIntegerField()
    address = models.GenericIPAddressField(null=True)
    user_agent = models.CharField(max_length=500, blank=True)
    device_hash = models.CharField(max_length=64, blank=True)
    is_new_device = models.BooleanField(default=False)
    notice_hash = models.CharField(max_length=64, blank=True)  # of the link in the mail about a new device
    started_at = models.DateTimeField(default=timezone.now)
    stepped_up_at = models.DateTimeField(default=timezone.now)  # when a second factor was last proved in it
    last_seen_at = models.DateTimeField(default=timezone.now)
    ends_at = models.DateTimeField()
    idle_ends_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    objects = LoginQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        verbose_name = "session"
        indexes = [models.Index(fields=["user", "device_hash"], name="login_of_device")]
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=["console", "api"]), name="login_kind_known"),
            models.CheckConstraint(condition=Q(level__in=[*NAMES]), name="login_level_known"),
            models.UniqueConstraint(fields=["notice_hash"], condition=~Q(notice_hash=""), name="one_login_per_notice"),
        ]

    def __str__(self) -> str:
        return f"session of {self.user} since {self.started_at:%Y-%m-%d %H:%M} UTC"

    @property
    def device(self) -> str:
        return described(self.user_agent) or "unknown"

    @property
    def is_open(self) -> bool:
        """As `open` finds it, on a row whose account is loaded."""
        runs = self.ended_at is None and min(self.ends_at, self.idle_ends_at) > timezone.now()
        return runs and self.user.is_active and self.auth_epoch == self.user.auth_epoch
