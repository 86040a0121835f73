from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from opssight.kernel.access import GuardedQuerySet
from opssight.kernel.ids import new_uid
from opssight.kernel.validation import Line


class DeviceQuerySet(GuardedQuerySet["Device"]):
    def in_use(self) -> Self:
        return self.filter(revoked_at=None)


class Device(models.Model):
    """A machine that holds a key of its own, and what it last reported of itself, signed with that key.

    `reported_ms` is the device's own clock at its latest report, in milliseconds: each report's must be later.
    """

    CHECKS = ("disk_encryption", "firewall", "screen_lock")

    class Platform(models.TextChoices):
        LINUX = "linux", "Linux"
        MACOS = "macos", "macOS"
        WINDOWS = "windows", "Windows"
        IOS = "ios", "iOS"
        ANDROID = "android", "Android"

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="registered_devices")
    name = Line(max_length=80)
    platform = models.CharField(max_length=8, choices=Platform)
    public_key = models.CharField(max_length=43, unique=True, editable=False)  # Ed25519, url-safe base64
    registered_at = models.DateTimeField(default=timezone.now, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)
    reported_ms = models.BigIntegerField(default=0, editable=False)
    reported_at = models.DateTimeField(null=True, editable=False)
    os_version = models.CharField(max_length=80, blank=True, editable=False)
    disk_encryption = models.BooleanField(null=True, editable=False)
    firewall = models.BooleanField(null=True, editable=False)
    screen_lock = models.BooleanField(null=True, editable=False)

    objects = DeviceQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                condition=Q(platform__in=["linux", "macos", "windows", "ios", "android"]), name="device_platform_known"
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def lacks(self) -> list[str]:
        """What it says is off, in words; of one that never reported, everything is unknown and nothing is listed."""
        return [name.replace("_", " ") for name in self.CHECKS if getattr(self, name) is False]

    @property
    def is_sound(self) -> bool:
        return self.reported_at is not None and all(getattr(self, name) is True for name in self.CHECKS)
