"""Enrolling a second factor and proving it."""

import re
import secrets

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone
from django_otp.models import Device

from accounts.mfa import events
from accounts.mfa.models import RecoveryCode, RecoveryDevice, TOTPDevice
from accounts.models import User
from opssight.kernel.errors import Refusal

CODES, CODE_BYTES = 10, 4


class WrongCode(Refusal):
    status = 400


class TooManyTries(Refusal):
    status = 429


def is_enrolled(user: User) -> bool:
    return TOTPDevice.objects.filter(user=user, confirmed=True).exists()


def with_enrolment(people: QuerySet[User]) -> QuerySet[User]:
    """Each with `enrolled`: whether a confirmed factor stands behind the account. Recovery codes alone are none."""
    return people.annotate(enrolled=Exists(TOTPDevice.objects.filter(user=OuterRef("pk"), confirmed=True)))


@transaction.atomic
def begin_enrolment(user: User) -> TOTPDevice:
    """The app that waits for its first right code: the same one on every visit, so a reload keeps the QR code."""
    waiting = TOTPDevice.objects.filter(user=user, confirmed=False).first()
    if waiting is None:
        waiting = TOTPDevice(user=user, name="authenticator app", confirmed=False)
        waiting.secret = TOTPDevice.new_secret()
        waiting.save()
    return waiting


def confirm_enrolment(user: User, code: str) -> tuple[TOTPDevice, list[str]]:
    """Enrol with a right code: the app counts from now on, and ten fresh recovery codes are returned, shown once.

    Raises WrongCode and TooManyTries, with a sentence for the page.
    """
    code = _tidy(code)
    with transaction.atomic():
        device = TOTPDevice.objects.select_for_update().filter(user=user, confirmed=False).first()
        if device is None:
            raise WrongCode("This set-up was finished or replaced. Start again from the sign-in page.")
        refused = _refusal(device)
        right = refused is None and device.verify_token(code)
        if right:
            device.confirmed = True
            device.save(update_fields=["confirmed"])
            codes = _fresh_codes(user)
            events.FACTOR_ENROLLED.emit(target=device, factor=device.name)
    if refused:
        raise refused
    if not right:
        raise WrongCode(_hint(device, code))
    return device, codes


def verify(user: User, code: str) -> Device | None:
    """The factor that `code` proves: six digits of the app or a recovery code. None if wrong; TooManyTries if early."""
    code = _tidy(code)
    model = TOTPDevice if code.isdigit() and len(code) == 6 else RecoveryDevice
    with transaction.atomic():
        device = model.objects.select_for_update().filter(user=user, confirmed=True).first()
        refused = _refusal(device) if device else None
        right = bool(device and not refused and device.verify_token(code))
        if right and model is RecoveryDevice:
            events.CODE_USED.emit(target=device, left=codes_left(user))
    if not right:
        events.FACTOR_REFUSED.emit(target=user, success=False, error=str(refused or "wrong code"))
    if refused:
        raise refused
    return device if right else None


@transaction.atomic
def renew_codes(user: User) -> list[str]:
    codes = _fresh_codes(user)
    events.CODES_RENEWED.emit(target=user)
    return codes


def codes_left(user: User) -> int:
    return RecoveryCode.objects.filter(device__user=user, used_at=None).count()


def _fresh_codes(user: User) -> list[str]:
    device, _ = RecoveryDevice.objects.get_or_create(user=user, defaults={"name": "recovery code"})
    device.codes.all().delete()
    codes = [secrets.token_hex(CODE_BYTES).upper() for _ in range(CODES)]
    for code in codes:
        RecoveryCode.objects.create(device=device, code_hash=RecoveryCode.hashed(device, code))
    return codes


def _tidy(code: str) -> str:
    """What people paste: spaces, dashes and lower case mean nothing."""
    return re.sub(r"[\s-]", "", code).upper()


def _refusal(device: TOTPDevice | RecoveryDevice) -> TooManyTries | None:
    allowed, why = device.verify_is_allowed()
    if allowed:
        return None
    wait = max(1, round((why["locked_until"] - timezone.now()).total_seconds()))
    return TooManyTries(f"Too many wrong codes in a row. Wait {wait} s, then enter the next one.")


def _hint(device: TOTPDevice, code: str) -> str:
    off = device.minutes_off(code)
    if off is None:
        return "This code is not right. Wait for the next one and enter it within 30 seconds."
    slow = f"{-off} min slow" if off < 0 else f"{off} min fast"
    return (
        f"This code is right for another time: your phone's clock is about {slow}. "
        "Set it to automatic, then enter the next code."
    )
