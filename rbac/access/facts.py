"""Facts of the request itself: from where, when, and by what kind of account."""

from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from accounts.models import User
from opssight.kernel.facts import MISSING, Choice, Names, TimeOfDay, register
from opssight.kernel.http import client_address
from rbac.access.gate import court

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def zone(request: HttpRequest) -> Any:
    return court().book.zones_of(client_address(request))


def weekday(request: HttpRequest) -> str:
    return WEEKDAYS[timezone.now().weekday()]


def time(request: HttpRequest) -> int:
    now = timezone.now()
    return now.hour * 60 + now.minute


def account_kind(request: HttpRequest) -> Any:
    return request.user.kind if isinstance(request.user, User) else MISSING


register("zone", Names(), "the network zones that hold the client's address", zone)
register("weekday", Choice(WEEKDAYS), "the day of the week in UTC", weekday)
register("time", TimeOfDay(), "the time of day in UTC, from 00:00 to 23:59", time)
register("account_kind", Choice(tuple(User.Kind.values)), "a person or a service", account_kind)
