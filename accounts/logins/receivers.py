"""What happens at the way in, and what it means for the row of the session."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone

from accounts.events import SIGNED_IN, SIGNED_OUT
from accounts.logins import services
from accounts.logins.models import Login
from accounts.mfa.events import STEPPED_UP
from accounts.models import User
from opssight.kernel.actor import current_request
from opssight.kernel.events import Occurrence, happened


@receiver(happened)
def session_happened(occurrence: Occurrence, **kwargs: Any) -> None:
    request, user = current_request(), occurrence.target
    if request is None or not isinstance(user, User):
        return
    login: Login | None = getattr(request, "login", None)
    if occurrence.event is SIGNED_IN:
        _begin(request, user, occurrence.data["factors"])
    elif login is not None and occurrence.event is SIGNED_OUT:
        services.end(login)
    elif login is not None and occurrence.event is STEPPED_UP:
        services.note_step_up(login, level=occurrence.data["level"], factors=occurrence.data["factors"])


def _begin(request: HttpRequest, user: Any, factors: list[str]) -> None:
    login = services.opening(
        user,
        kind=Login.Kind.CONSOLE,
        level=user.otp_device.level,
        factors=factors,
        ends_at=timezone.now() + timedelta(seconds=settings.SESSION_COOKIE_AGE),
        idle=settings.SESSION_IDLE,
    )
    services.begin(request, login)
    request.session[services.LOGIN] = str(login.uid)
    request.login = login  # type: ignore[attr-defined]
