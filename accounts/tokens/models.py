from datetime import datetime
from typing import Self

from django.conf import settings
from django.db import models
from django.utils import timezone

from opssight.kernel.access import GuardedQuerySet
from opssight.kernel.crypto import keyed_hash
from opssight.kernel.ids import new_uid
from opssight.kernel.validation import Line


class TokenQuerySet(GuardedQuerySet["Token"]):
    def valid(self, *, at: datetime) -> Self:
        return self.filter(revoked_at=None, expires_at__gt=at)


class Token(models.Model):
    """A machine's key to the API, shown once as `ops_<key>_<secret>`: may do what `scopes` and its account both allow.

    `key` finds the row; of the secret only a keyed hash is kept.
    """

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="tokens")
    name = Line(max_length=80)
    key = models.CharField(max_length=16, unique=True)
    secret_hash = models.CharField(max_length=64)
    scopes = models.JSONField()
    auth_epoch = models.PositiveIntegerField()
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = TokenQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name

    @staticmethod
    def hashed(secret: str) -> str:
        return keyed_hash("api-token", secret)
