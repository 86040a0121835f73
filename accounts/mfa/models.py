"""Second factors on django-otp's Device: an authenticator app, and recovery codes for the day it is lost."""

import base64
import os
import time
from urllib.parse import quote, urlencode

from django.conf import settings
from django.db import models
from django.utils import timezone
from django_otp.models import Device, ThrottlingMixin
from django_otp.oath import hotp

from opssight.kernel.access import GuardedQuerySet
from opssight.kernel.crypto import Encrypted, keyed_hash
from opssight.kernel.ids import new_uid

STEP, DIGITS = 30, 6
DRIFT = 1  # steps before and after now that still count
SECRET_BYTES = 20  # RFC 4226 §4 R6


def _step_now() -> int:
    return int(time.time()) // STEP


def _code(secret: str, step: int) -> str:
    return str(hotp(base64.b32decode(secret), step, DIGITS)).zfill(DIGITS)


class TOTPDevice(ThrottlingMixin, Device):
    """An authenticator app (RFC 6238, SHA-1, 30 s, 6 digits). Each code is accepted once."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    secret_encrypted = models.TextField(editable=False)
    last_step = models.BigIntegerField(default=-1, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)

    secret = Encrypted("secret_encrypted")
    objects = GuardedQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        verbose_name = "authenticator app"
        constraints = [models.UniqueConstraint(fields=["user", "confirmed"], name="one_app_per_user")]

    @staticmethod
    def new_secret() -> str:
        """160 random bits in base32, without padding: what is shown, typed and put in the QR code."""
        return base64.b32encode(os.urandom(SECRET_BYTES)).decode()

    @property
    def config_url(self) -> str:
        """The otpauth:// address of the key URI format, with issuer and account."""
        issuer = settings.MFA_ISSUER
        label = quote(f"{issuer}:{self.user.email}")
        query = urlencode({"secret": self.secret, "issuer": issuer, "digits": DIGITS, "period": STEP}, quote_via=quote)
        return f"otpauth://totp/{label}?{query}"

    def get_throttle_factor(self) -> int:
        return 1  # 1, 2, 4, 8 … seconds after each wrong code in a row

    def verify_token(self, token: str) -> bool:
        """Accept a code of now or one step away, newer than the last accepted. Runs under the row's lock."""
        if not self.verify_is_allowed()[0]:
            return False
        now, secret = _step_now(), self.secret
        for step in range(now - DRIFT, now + DRIFT + 1):
            if step > self.last_step and token == _code(secret, step):
                self.last_step, self.last_used_at = step, timezone.now()
                self.throttle_reset(commit=False)
                self.save()
                return True
        self.throttle_increment()
        return False

    def minutes_off(self, token: str) -> int | None:
        """How far the phone's clock is off, where `token` would be right at another time within ten minutes."""
        now, secret = _step_now(), self.secret
        for off in range(DRIFT + 1, 21):
            for step in (now - off, now + off):
                if token == _code(secret, step):
                    return round((step - now) * STEP / 60) or (1 if step > now else -1)
        return None


class RecoveryDevice(ThrottlingMixin, Device):
    """A person's recovery codes as one factor."""

    objects = GuardedQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        verbose_name = "recovery codes"
        constraints = [models.UniqueConstraint(fields=["user"], name="one_code_set_per_user")]

    def get_throttle_factor(self) -> int:
        return 1

    def verify_token(self, token: str) -> bool:
        """Spend the code. Runs under the row's lock, so that of two parallel uses one is refused."""
        if not self.verify_is_allowed()[0]:
            return False
        code = self.codes.filter(code_hash=RecoveryCode.hashed(self, token), used_at=None).first()
        if code:
            code.used_at = timezone.now()
            code.save(update_fields=["used_at"])
            self.throttle_reset()
            return True
        self.throttle_increment()
        return False


class RecoveryCode(models.Model):
    """One single-use code, kept as a keyed hash: eight hex characters alone could be tried out offline."""

    device = models.ForeignKey(RecoveryDevice, on_delete=models.CASCADE, related_name="codes")
    code_hash = models.CharField(max_length=64)
    used_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["device", "code_hash"], name="one_hash_per_code")]

    def __str__(self) -> str:
        return f"recovery code {self.pk}"

    @staticmethod
    def hashed(device: RecoveryDevice, code: str) -> str:
        return keyed_hash("recovery-code", f"{device.user_id}:{code}")
