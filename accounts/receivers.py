"""Django's and axes' own sign-in signals, told on as our events."""

from typing import Any

from axes.signals import user_locked_out
from django.contrib.auth.signals import user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from accounts import events
from accounts.models import User
from accounts.services import axes_username


@receiver(user_login_failed)
def sign_in_failed(credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any) -> None:
    name = axes_username(request, credentials)
    events.SIGN_IN_FAILED.emit(
        target=User.objects.filter(email=name).first(), success=False, error="wrong e-mail or password", name=name
    )


@receiver(user_locked_out)
def locked_out(username: str, **kwargs: Any) -> None:
    events.LOCKED_OUT.emit(
        target=User.objects.filter(email=username).first(), success=False, error="too many failures", name=username
    )
