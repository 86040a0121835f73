"""Facts of the request itself: from where, when, and by what kind of account."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from accounts.models import User
from opssight.kernel.actor import request_memory
from opssight.kernel.facts import MISSING, Choice, Names, TimeOfDay, register
from opssight.kernel.http import proved_address
from rbac.access.gate import court

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def zone(request: HttpRequest) -> Any:
    return court().book.zones_of(proved_address(request))


def _now() -> datetime:
    """One moment for the whole request: day and time must not be of two sides of a midnight."""
    moment: datetime = request_memory().setdefault("rbac.access.moment", timezone.now())
    return moment


def weekday(request: HttpRequest) -> str:
    return WEEKDAYS[_now().weekday()]


def time(request: HttpRequest) -> int:
    now = _now()
    return now.hour * 60 + now.minute


def account_kind(request: HttpRequest) -> Any:
    return request.user.kind if isinstance(request.user, User) else MISSING


register("zone", Names(), "the network zones that hold the client's address", zone)
register("weekday", Choice(WEEKDAYS), "the day of the week in UTC", weekday)
register("time", TimeOfDay(), "the time of day in UTC, from 00:00 to 23:59", time)
register("account_kind", Choice(tuple(User.Kind.values)), "a person or a service", account_kind)
