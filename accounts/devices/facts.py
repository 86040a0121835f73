"""What the devices of an account proved of themselves, for conditional access."""

from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from accounts.devices.models import Device
from accounts.models import User
from opssight.kernel.facts import MISSING, provide


def posture_age(request: HttpRequest) -> Any:
    """Of the account's device that reported least recently. MISSING, which denies, where there is none, or where one
    never reported or lacks something: a request can't say which of them it comes from, so the weakest speaks."""
    if not isinstance(request.user, User):
        return MISSING
    devices = list(Device.objects.in_use().filter(user=request.user))
    if not devices or not all(device.is_sound for device in devices):
        return MISSING
    oldest = min(device.reported_at for device in devices if device.reported_at)
    return max(0, int((timezone.now() - oldest).total_seconds()))


provide("posture_age", posture_age)
