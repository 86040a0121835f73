"""Registering devices by their key, taking their reports, and revoking them."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.core import signing
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.devices import events, signed
from accounts.devices.models import Device
from accounts.devices.signed import NotSigned
from accounts.models import User
from accounts.notify import kinds
from accounts.notify.services import notify
from opssight.kernel.errors import Refusal

CHALLENGE_VALID = timedelta(minutes=5)
MOST = 20  # devices in use of one account
# Of a report against our clock: what was held back longer is no news, and a clock that is ahead makes it look fresh.
LATE, EARLY = timedelta(minutes=5), timedelta(minutes=1)
_SALT = "accounts.devices.registration"
REGISTERED = kinds.register("devices", "A device of yours was registered", compulsory=True)


class NotRegistered(Refusal):
    status = 400


class KnownKey(Refusal):
    status = 409


class ReportRefused(Refusal):
    """Unknown, revoked, of an account that is out, forged: all read the same."""

    status = 401

    def __init__(self) -> None:
        super().__init__("This report is not accepted: no device in use signed it.")


class WrongReport(Refusal):
    """Signed by the device, and not taken all the same."""

    status = 400


class Replayed(WrongReport):
    status = 409


def challenge_for(user: User) -> str:
    """What a device signs within five minutes. A registration that is sent twice is refused by its key."""
    return signing.dumps({"user": str(user.uid), "nonce": secrets.token_urlsafe(16)}, salt=_SALT)


@transaction.atomic
def register(user: User, *, name: str, platform: str, public_key: str, challenge: str, signature: str) -> Device:
    """A device whose key signed `challenge` for this account. NotRegistered and KnownKey say what is wrong."""
    _must_be_fresh(challenge, user)
    try:
        if len(signed.decoded(public_key)) != 32:
            raise NotSigned("no Ed25519 key")
        signed.check(public_key, signed.decoded(signature), signed.registration(challenge, public_key, user.uid))
    except NotSigned as error:
        raise NotRegistered(f"The key did not sign this challenge for this account ({error}).") from None
    User.objects.select_for_update().get(pk=user.pk)  # two at once must not both be the twentieth
    if Device.objects.in_use().filter(user=user).count() >= MOST:
        raise KnownKey(f"{MOST} devices are registered. Revoke one that you no longer use.")
    device = Device(user=user, name=name, platform=platform, public_key=public_key)
    device.full_clean(validate_unique=False, validate_constraints=False)
    try:
        with transaction.atomic():
            device.save()
    except IntegrityError:
        raise KnownKey("This key was registered before. Make a new one.") from None
    events.DEVICE_REGISTERED.emit(target=device, platform=platform, account=user.email)
    text = (
        f"“{name}” ({device.get_platform_display()}) now vouches for your account. If that was not you, revoke it "
        "under My security, change your password and tell your security officer at once."
    )
    notify(user, REGISTERED, "A device was registered for your account", text)
    return device


def _must_be_fresh(challenge: str, user: User) -> None:
    try:
        told = signing.loads(challenge, salt=_SALT, max_age=CHALLENGE_VALID)
    except signing.BadSignature:
        told = {}
    if told.get("user") != str(user.uid):
        raise NotRegistered("This challenge has expired, or was made for somebody else. Ask for a new one.")


def take_report(jws: str) -> Device:
    """A report of a device in use. ReportRefused where none signed it; WrongReport and Replayed where one did."""
    device: Device | None = None
    try:
        if len(jws) > signed.MOST:
            raise NotSigned("too long")
        device = Device.objects.in_use().select_related("user").filter(uid=signed.named_device(jws)).first()
        if device is None or not device.user.is_active:
            raise NotSigned("no device in use")
        told = signed.payload(jws, device.public_key)
    except NotSigned as error:
        events.REPORT_REFUSED.emit(target=device, success=False, error=str(error))
        raise ReportRefused from None
    posture, at_ms = _read(told, device)
    return _keep(device, posture, at_ms)


def _read(told: dict[str, Any], device: Device) -> tuple[dict[str, Any], int]:
    """What it says, in the types it must have, about this device, to this installation, of this moment."""
    wanted = {"aud": str, "device": str, "reported_at": int, "os_version": str} | dict.fromkeys(Device.CHECKS, bool)
    if told.keys() != wanted.keys():
        raise WrongReport(f"A report holds exactly: {', '.join(sorted(wanted))}.")
    if wrong := [name for name, kind in wanted.items() if type(told[name]) is not kind]:
        raise WrongReport(f"Of the wrong type: {', '.join(wrong)}.")
    if told["aud"] != settings.BASE_URL or told["device"] != str(device.uid):
        raise WrongReport(f"This report is for another address than {settings.BASE_URL}, or about another device.")
    version = told["os_version"]
    if not 0 < len(version) <= 80 or not version.isprintable():
        raise WrongReport("os_version has 1 to 80 printable characters.")
    at_ms = told["reported_at"]
    off = at_ms - int(timezone.now().timestamp() * 1000)
    if not -LATE.total_seconds() * 1000 <= off <= EARLY.total_seconds() * 1000:
        raise WrongReport(_clock(off))
    return {name: told[name] for name in ("os_version", *Device.CHECKS)}, at_ms


def _clock(off_ms: int) -> str:
    seconds = min(abs(off_ms) // 1000, 10**9)
    way = "ahead of" if off_ms > 0 else "behind"
    return f"reported_at, in milliseconds, is {seconds} s {way} our clock. Set the device's clock, or send at once."


@transaction.atomic
def _keep(device: Device, posture: dict[str, Any], at_ms: int) -> Device:
    """Written only if it is later than the latest; of the same report sent twice at once, one is refused."""
    at = min(datetime.fromtimestamp(at_ms / 1000, tz=UTC), timezone.now())
    newer = Device.objects.in_use().filter(pk=device.pk, reported_ms__lt=at_ms)
    if not newer.update(reported_ms=at_ms, reported_at=at, **posture):
        raise Replayed("A report of this moment, or of a later one, was taken already.")
    before = {name: getattr(device, name) for name in posture}
    if before != posture:
        changed = {name: [before[name], value] for name, value in posture.items() if before[name] != value}
        events.POSTURE_CHANGED.emit(target=device, changed=changed)
    device.refresh_from_db()
    return device


@transaction.atomic
def revoke(device: Device) -> None:
    """It vouches for nobody any more, and its key is never taken again."""
    in_use = Device.objects.select_for_update().in_use().filter(pk=device.pk).first()
    if in_use is not None:
        in_use.revoked_at = timezone.now()
        in_use.save(update_fields=["revoked_at"])
        events.DEVICE_REVOKED.emit(target=device, account=device.user.email)
