"""Second factors on django-otp's Device: an authenticator app, passkeys, codes by message, and recovery codes.

Each has a `method` (its name in the API) and a `level` (its place in the fact "factor").
"""

import base64
import os
import time
from datetime import timedelta
from urllib.parse import quote, urlencode

from django.conf import settings
from django.db import models
from django.utils import timezone
from django_otp.models import Device, ThrottlingMixin
from django_otp.oath import hotp
from django_otp_webauthn.models import AbstractWebAuthnCredential, WebAuthnCredentialManager, WebAuthnCredentialQuerySet

from opssight.kernel.access import GuardedQuerySet
from opssight.kernel.crypto import Encrypted, is_readable, keyed_hash, same
from opssight.kernel.ids import new_uid
from opssight.kernel.validation import Line

STEP, DIGITS = 30, 6
MESSAGE_CODE_VALID = timedelta(minutes=10)
DRIFT = 1  # steps before and after now that still count
SECRET_BYTES = 20  # RFC 4226 §4 R6
MOST_FAILURES = 10  # so that a stranger who goes on guessing makes nobody wait longer than 2^9 s, nine minutes


def _step_now() -> int:
    return int(time.time()) // STEP


def _code(secret: str, step: int) -> str:
    return str(hotp(base64.b32decode(secret), step, DIGITS)).zfill(DIGITS)


class Throttled(ThrottlingMixin):
    """After each wrong code in a row 1, 2, 4, 8 … seconds pass before the next is looked at; nine minutes at most."""

    class Meta:
        abstract = True

    def get_throttle_factor(self) -> int:
        return 1

    def throttle_increment(self, commit: bool = True) -> None:
        self.throttling_failure_count: int = min(self.throttling_failure_count, MOST_FAILURES - 1)
        super().throttle_increment(commit)


class TOTPDevice(Throttled, Device):
    """An authenticator app (RFC 6238, SHA-1, 30 s, 6 digits). Each code is accepted once."""

    method, level = "totp", "otp"

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

    @property
    def is_readable(self) -> bool:
        return is_readable(self, "secret")

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


class RecoveryDevice(Throttled, Device):
    """A person's recovery codes as one factor. An unconfirmed set waits for the factor that it was made with."""

    method, level = "recovery", "otp"

    objects = GuardedQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        verbose_name = verbose_name_plural = "recovery codes"
        constraints = [models.UniqueConstraint(fields=["user", "confirmed"], name="one_code_set_per_user")]

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


class PasskeyQuerySet(WebAuthnCredentialQuerySet, GuardedQuerySet["Passkey"]):
    pass


class Passkey(AbstractWebAuthnCredential):
    """A WebAuthn credential: signs for this address alone, so that no copied page can ask for it (phishing-resistant).

    Made and checked by `passkeys`.
    """

    method, level = "passkey", "passkey"
    is_readable = True  # nothing of it is a secret

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    # Of two parallel uses of one answer the second is refused, also by authenticators that count nothing.
    last_challenge = models.CharField(max_length=100, blank=True, editable=False)

    objects = WebAuthnCredentialManager.from_queryset(PasskeyQuerySet)()

    class Meta:
        default_permissions = ()
        verbose_name = "passkey"


class MessageDevice(Throttled, Device):
    """A telephone or mailbox that codes are sent to: the weakest factor, since a number can be moved and mail be read.

    A code is six digits, good for ten minutes, in the session that asked for it, once.
    """

    class Channel(models.TextChoices):
        SMS = "sms", "Text message"
        EMAIL = "email", "E-mail"

    level = "message"

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    channel = models.CharField(max_length=5, choices=Channel)
    address_encrypted = models.TextField(editable=False)
    code_hash = models.CharField(max_length=64, blank=True, editable=False)
    code_expires_at = models.DateTimeField(null=True, editable=False)
    sent_at = models.DateTimeField(null=True, editable=False)  # the latest; `sends` counts since `sends_since`
    sends = models.PositiveIntegerField(default=0, editable=False)
    sends_since = models.DateTimeField(default=timezone.now, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)

    address = Encrypted("address_encrypted")
    objects = GuardedQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        verbose_name = "code by message"
        verbose_name_plural = "codes by message"
        constraints = [
            models.UniqueConstraint(fields=["user", "channel", "confirmed"], name="one_address_per_channel"),
            models.CheckConstraint(condition=models.Q(channel__in=["sms", "email"]), name="message_channel_known"),
        ]

    @property
    def method(self) -> str:
        return self.channel

    @property
    def is_readable(self) -> bool:
        return is_readable(self, "address")

    @property
    def shown_address(self) -> str:
        """Enough to recognise it: the last three digits, or the first letter and the host; "" for one that can't be
        read any more."""
        if not self.is_readable:
            return ""
        if self.channel == self.Channel.SMS:
            return f"•••{self.address[-3:]}"
        name, _, host = self.address.partition("@")
        return f"{name[:1]}•••@{host}"

    def set_code(self, code: str, ticket: str) -> None:
        self.code_hash = self._hashed(code, ticket)
        self.code_expires_at = timezone.now() + MESSAGE_CODE_VALID

    def verify_token(self, token: str, ticket: str = "") -> bool:
        """Spend the code that was sent to the holder of `ticket`. Runs under the row's lock."""
        if not self.verify_is_allowed()[0]:
            return False
        open_code = self.code_hash and self.code_expires_at and self.code_expires_at > timezone.now()
        if not open_code or not same(self.code_hash, self._hashed(token, ticket)):
            self.throttle_increment()
            return False
        self.code_hash, self.code_expires_at, self.last_used_at = "", None, timezone.now()
        self.throttle_reset(commit=False)
        self.save()
        return True

    def _hashed(self, code: str, ticket: str) -> str:
        return keyed_hash("message-code", f"{self.uid}:{ticket}:{code}")


# --- a factor that was lost ---------------------------------------------------------------------------------------


class FactorReset(models.Model):
    """A request to take all factors off an account, by somebody who made sure who asks; a second person decides."""

    class State(models.TextChoices):
        OPEN = "open", "Waits for a second person"
        APPROVED = "approved", "Approved"
        REFUSED = "refused", "Refused"

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="factor_resets")
    note = Line(max_length=300, help_text="How you made sure that it is this person who asks.")
    state = models.CharField(max_length=8, choices=State, default=State.OPEN, editable=False)
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, editable=False, related_name="+"
    )
    asked_at = models.DateTimeField(default=timezone.now, editable=False)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, editable=False, related_name="+"
    )
    decided_at = models.DateTimeField(null=True, editable=False)

    objects = GuardedQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        verbose_name = "second factor reset"
        constraints = [
            models.UniqueConstraint(fields=["user"], condition=models.Q(state="open"), name="one_open_reset_per_user"),
            models.CheckConstraint(
                condition=models.Q(state__in=["open", "approved", "refused"]), name="factor_reset_state_known"
            ),
        ]

    def __str__(self) -> str:
        return f"second factors of {self.user}"
