"""Tables of the platform itself; the kernel reaches them through settings."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from opssight.kernel.crypto import Encrypted
from opssight.kernel.ids import new_uid


class IdempotencyRecord(models.Model):
    """One POST that may be repeated: whose, under which key, and what was answered."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    body_hash = models.CharField(max_length=64)
    answer_encrypted = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    answer = Encrypted("answer_encrypted")

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="one_request_per_key")]

    def __str__(self) -> str:
        return self.key


class Heartbeat(models.Model):
    """A sign of life of one running part, renewed every few seconds: `scans`, `default`, `beat`."""

    name = models.CharField(max_length=64, primary_key=True)
    at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.name} at {self.at:%H:%M:%S}"

    @classmethod
    def beat(cls, name: str) -> None:
        cls.objects.update_or_create(name=name, defaults={"at": timezone.now()})
