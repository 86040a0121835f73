"""What an account's session or token proves, for conditional access."""

from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from accounts.strength import LEVELS
from opssight.kernel.facts import MISSING, Duration, Level, register


def factor(request: HttpRequest) -> str:
    """Of the request's own account object: another one of the same account knows neither token nor device."""
    user: Any = request.user
    if not user.is_authenticated:
        return "none"
    if user.by_token:
        return "token"
    return session_level(user)


def session_level(user: Any) -> str:
    """The level of the factor that a session stands on; django-otp sets it on the account that the session brought."""
    device = getattr(user, "otp_device", None)
    return getattr(device, "level", "none")


def factor_age(request: HttpRequest) -> Any:
    """A token proved no factor, so it has no age."""
    if factor(request) in ("none", "token"):
        return MISSING
    login = getattr(request, "login", None)
    return MISSING if login is None else max(0, int((timezone.now() - login.stepped_up_at).total_seconds()))


register("factor", Level(LEVELS), "what stands behind the request, the weakest first", factor)
register("factor_age", Duration(), "seconds since the second factor was last proved", factor_age)
