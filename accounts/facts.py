"""What an account's session or token proves, for conditional access."""

from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from accounts.step_up import KEY
from opssight.kernel.facts import MISSING, Duration, Level, register


def factor(request: HttpRequest) -> str:
    """Of the request's own account object: another one of the same account knows neither token nor device."""
    user: Any = request.user
    if not user.is_authenticated:
        return "none"
    if user.by_token:
        return "token"
    is_verified = getattr(user, "is_verified", None)  # set by django-otp on the account that a session brought in
    return "otp" if is_verified is not None and is_verified() else "none"


def factor_age(request: HttpRequest) -> Any:
    """A token proved no factor, so it has no age."""
    if factor(request) != "otp":
        return MISSING
    at = request.session.get(KEY)
    return MISSING if at is None else max(0, int(timezone.now().timestamp() - at))


register("factor", Level(("none", "token", "otp")), "what stands behind the request, the weakest first", factor)
register("factor_age", Duration(), "seconds since the second factor was last proved", factor_age)
