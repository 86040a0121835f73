"""Recovery codes: ten at a time, for the day that every other factor is lost. Each works once."""

import secrets

from django.db import transaction

from accounts.mfa import events
from accounts.mfa.models import RecoveryCode, RecoveryDevice
from accounts.models import User

CODES, CODE_BYTES = 10, 4


@transaction.atomic
def renew_codes(user: User) -> list[str]:
    codes = fresh_codes(user)
    events.CODES_RENEWED.emit(target=user)
    return codes


def codes_left(user: User) -> int:
    return RecoveryCode.objects.filter(device__user=user, device__confirmed=True, used_at=None).count()


def fresh_codes(user: User, *, confirmed: bool = True) -> list[str]:
    """Ten new codes in place of the earlier ones; unconfirmed, they wait beside them for `adopt_waiting`."""
    device, _ = RecoveryDevice.objects.get_or_create(user=user, confirmed=confirmed, defaults={"name": "recovery code"})
    device.codes.all().delete()
    codes = [secrets.token_hex(CODE_BYTES).upper() for _ in range(CODES)]
    for code in codes:
        RecoveryCode.objects.create(device=device, code_hash=RecoveryCode.hashed(device, code))
    return codes


def adopt_waiting(user: User) -> bool:
    """Let the codes count that were shown with a factor which is now confirmed. False where there are none."""
    waiting = RecoveryDevice.objects.filter(user=user, confirmed=False).first()
    if waiting is None:
        return False
    # The row stays, since a session may stand on it.
    kept, _ = RecoveryDevice.objects.get_or_create(user=user, confirmed=True, defaults={"name": "recovery code"})
    kept.codes.all().delete()
    for code in waiting.codes.all():
        code.device = kept
        code.save(update_fields=["device"])
    waiting.delete()
    return True


def make_where_none(user: User) -> list[str]:
    return [] if codes_left(user) else fresh_codes(user)
