"""Enrolling second factors, proving them, and taking them off again."""

import logging
import re
from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import Case, Exists, OuterRef, Q, QuerySet, Value, When
from django.utils import timezone
from django_otp.models import Device

from accounts.logins.services import end_everything
from accounts.mfa import events
from accounts.mfa.codes import CODES, codes_left, make_where_none, renew_codes
from accounts.mfa.models import MessageDevice, Passkey, RecoveryDevice, TOTPDevice
from accounts.models import User
from accounts.notify import kinds
from accounts.notify.services import notify
from accounts.strength import NAMES, is_enough
from opssight.kernel.access import factor_needed
from opssight.kernel.errors import Refusal

__all__ = ["CODES", "codes_left", "renew_codes"]

log = logging.getLogger("opssight.mfa")

# Recovery codes alone are no factor: they stand in for one.
FACTORS: tuple[type[Any], ...] = (TOTPDevice, Passkey, MessageDevice)


class WrongCode(Refusal):
    status = 400


class TooManyTries(Refusal):
    status = 429


class LastFactor(Refusal):
    status = 409


class Unreadable(Refusal):
    """What is stored of a factor was changed, moved, or encrypted with a key that is gone.

    The account stays one with a factor: else whoever can spoil a row and knows the password could enrol their own.
    """

    status = 409

    def __init__(self, factor: Any) -> None:
        super().__init__(
            f"What is kept here of your factor “{factor.name}” can't be read any more, so it proves nothing. Use a "
            "recovery code or another factor and set it up anew under My security, or ask your security officer."
        )


# --- who has what -------------------------------------------------------------------------------------------------


def factors_of(user: User, *, waiting: bool = False) -> list[Any]:
    """The confirmed factors, and where asked for those that wait to be. Recovery codes are none."""
    found = [factor for model in FACTORS for factor in model.objects.filter(user=user).order_by("pk")]
    return [factor for factor in found if factor.confirmed or waiting]


def has_factor(user: User, level: str = "") -> bool:
    return any(is_enough(model.level, level) and _enrolled(model, user) for model in FACTORS)


def _enrolled(model: type[Any], user: User) -> bool:
    return bool(model.objects.filter(user=user, confirmed=True).exists())


def is_enrolled(user: User) -> bool:
    return has_factor(user)


def enrolled(level: str = "") -> Q:
    """The condition on accounts that a confirmed factor of `level` or stronger stands behind them."""
    held = Q()
    for model in FACTORS:
        if is_enough(model.level, level):
            held |= Q(Exists(model.objects.filter(user=OuterRef("pk"), confirmed=True)))
    return held


def with_enrolment(people: QuerySet[User], level: str = "") -> QuerySet[User]:
    """Each with `enrolled`."""
    return people.annotate(enrolled=enrolled(level))


def with_strength(people: QuerySet[User]) -> QuerySet[User]:
    """Each with the `strength` of the strongest factor: a level of the fact "factor"."""
    strongest_first = [When(enrolled(level), then=Value(level)) for level in reversed([*NAMES])]
    return people.annotate(strength=Case(*strongest_first, default=Value("none")))


def of_strength(people: QuerySet[Any], strength: str) -> QuerySet[Any]:
    """Of `with_strength`: those whose strongest it is. Accounts of programs have no second factor to miss."""
    return people.filter(kind=User.Kind.PERSON, strength=strength)


# --- enrolling ----------------------------------------------------------------------------------------------------


@transaction.atomic
def begin_enrolment(user: User) -> TOTPDevice:
    """The app that waits for its first right code: the same one on every visit, so a reload keeps the QR code."""
    waiting = TOTPDevice.objects.filter(user=user, confirmed=False).first()
    if waiting is None or not waiting.is_readable:
        if waiting is not None:
            note_unreadable(waiting)
        waiting = waiting or TOTPDevice(user=user, name="authenticator app", confirmed=False)
        waiting.secret = TOTPDevice.new_secret()
        waiting.save()
    return waiting


def confirm_enrolment(user: User, code: str) -> tuple[TOTPDevice, list[str]]:
    """Enrol with a right code: the app counts from now on, in place of an earlier one.

    Returns ten recovery codes, to be shown once, where the account has none yet. Raises WrongCode and TooManyTries,
    with a sentence for the page.
    """
    code = tidy(code)
    with transaction.atomic():
        device = TOTPDevice.objects.select_for_update().filter(user=user, confirmed=False).first()
        if device is None:
            raise WrongCode("This set-up was finished or replaced. Start again from the sign-in page.")
        if not device.is_readable:
            raise WrongCode("This set-up can't be read any more. Start again: scan the new square.")
        refused = refusal(device)
        right = refused is None and device.verify_token(code)
        if right:
            replace(user, TOTPDevice.objects.filter(user=user, confirmed=True))
            codes = confirm(device)
    if refused:
        raise refused
    if not right:
        raise WrongCode(_hint(device, code))
    return device, codes


def replace(user: User, earlier: Iterable[Any]) -> None:
    """What was there before counts no more, nor does any session or token of the account."""
    for old in earlier:
        old.delete()
        end_everything(user)


@transaction.atomic
def confirm(factor: Any) -> list[str]:
    """A factor was proved for the first time: it counts, and its owner is told. Returns codes to show, or none."""
    factor.confirmed = True
    factor.save(update_fields=["confirmed"])
    codes = make_where_none(factor.user)
    events.FACTOR_ENROLLED.emit(target=factor, factor=factor.name, level=factor.level)
    notify(
        factor.user,
        kinds.FACTORS,
        "A second factor was added to your account",
        f"“{factor.name}” can now be used to sign in as you. If that was not you, sign in, take it off under My "
        "security, change your password and tell your security officer at once.",
    )
    return codes


@transaction.atomic
def remove_factor(factor: Any) -> User:
    """Take a factor off, and end every session and token. LastFactor where what is left would not do for signing in,
    or for the roles held."""
    user = User.objects.select_for_update().get(pk=factor.user_id)  # two at once must not each count on the other
    left = [other for other in factors_of(user) if (type(other), other.pk) != (type(factor), factor.pk)]
    needed = factor_needed(user)
    if factor.confirmed and not any(is_enough(other.level, needed.level) for other in left):
        why = f" Your roles ({', '.join(needed.roles[:3])}) ask for it." if left and needed.level else ""
        raise LastFactor(f"“{factor.name}” is the last factor that lets you in.{why} Add another one first.")
    events.FACTOR_REMOVED.emit(target=user, factor=factor.name, level=factor.level)
    notify(
        user,
        kinds.FACTORS,
        "A second factor was taken off your account",
        f"“{factor.name}” can no longer be used to sign in as you. If that was not you, tell your security officer.",
    )
    factor.delete()
    end_everything(user)
    return user


@transaction.atomic
def rename(passkey: Passkey, name: str) -> None:
    passkey.name = name
    passkey.full_clean(exclude=["public_key", "credential_id", "last_used_at"])
    passkey.save(update_fields=["name"])


@transaction.atomic
def remove_all(user: User) -> None:
    """Every factor and code, also those that wait to be confirmed."""
    models: tuple[type[Any], ...] = (*FACTORS, RecoveryDevice)
    for model in models:
        for factor in model.objects.filter(user=user):
            factor.delete()


# --- proving ------------------------------------------------------------------------------------------------------


def verify(user: User, code: str, *, method: str = "", ticket: str = "") -> Device | None:
    """The factor that `code` proves: six digits of the app or of a message, or a recovery code.

    `method` says which, where it is known; `ticket` belongs to the session that asked for a message. None if wrong;
    TooManyTries if early; Unreadable where nobody can tell any more.
    """
    code = tidy(code)
    rows = _candidates(user, code, method)
    with transaction.atomic():
        device = rows.select_for_update().first()
        refused = refusal(device) if device else None
        lost = isinstance(device, TOTPDevice) and not refused and not device.is_readable
        extra = {"ticket": ticket} if isinstance(device, MessageDevice) else {}
        right = bool(device and not refused and not lost and device.verify_token(code, **extra))
        if right and isinstance(device, RecoveryDevice):
            events.CODE_USED.emit(target=device, left=codes_left(user))
    if lost:
        note_unreadable(device)
        raise Unreadable(device)
    if not right:
        note_refusal(user, str(refused or "wrong code"))
    if refused:
        raise refused
    return device if right else None


def _candidates(user: User, code: str, method: str) -> Any:
    mine = {"user": user, "confirmed": True}
    if method in MessageDevice.Channel.values:
        return MessageDevice.objects.filter(channel=method, **mine)
    is_app_code = method == "totp" or (method != "recovery" and code.isdigit() and len(code) == 6)
    return TOTPDevice.objects.filter(**mine) if is_app_code else RecoveryDevice.objects.filter(**mine)


def note_refusal(user: User | None, error: str) -> None:
    """Somebody who knows the password, or holds the session, gave a wrong factor."""
    events.FACTOR_REFUSED.emit(target=user, success=False, error=error)


def note_unreadable(factor: Any) -> None:
    """For whoever runs the installation."""
    error = "what is stored of it can't be decrypted"
    events.FACTOR_UNREADABLE.emit(target=factor.user, success=False, error=error, factor=factor.name)
    log.error("%s %s can't be decrypted; see manage.py rotate_field_keys --check", factor._meta.label_lower, factor.uid)


def tidy(code: str) -> str:
    """What people paste: spaces, dashes and lower case mean nothing."""
    return re.sub(r"[\s-]", "", code).upper()


def refusal(device: Any) -> TooManyTries | None:
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
