"""Telling devices apart: what a browser says of itself, for people, and a cookie of ours, for knowing one again."""

import re
import secrets
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from accounts.models import User
from opssight.kernel.crypto import keyed_hash

COOKIE_AGE = 400 * 24 * 3600  # seconds; browsers keep none for longer (RFC 6265bis §5.5)
_VALUE = re.compile(r"^[A-Za-z0-9_-]{43}$")

_BROWSERS = (("Edg", "Edge"), ("OPR", "Opera"), ("Firefox", "Firefox"), ("Chrome", "Chrome"), ("Version", "Safari"))
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def described(user_agent: str) -> str:
    """Enough of a browser's claim about itself to know one's own device by it: "Firefox 128, Linux"."""
    version = next((m for name, _ in _BROWSERS if (m := re.search(rf"({name})/(\d+)", user_agent))), None)
    system = next((label for name, label in _SYSTEMS if name in user_agent), "")
    if version is None:
        return user_agent[:40]
    name = f"{dict(_BROWSERS)[version[1]]} {version[2]}"
    return f"{name}, {system}" if system else name


def mark(request: HttpRequest, user: User) -> str:
    """The keyed hash by which this browser is known again for `user`; the answer brings it its cookie.

    Knowing a device opens nothing: it only spares its owner a mail.
    """
    value = request.COOKIES.get(settings.DEVICE_COOKIE_NAME, "")
    if not _VALUE.match(value):
        value = secrets.token_urlsafe(32)
    request.device_cookie = value  # type: ignore[attr-defined]
    return keyed_hash("device", f"{user.pk}:{value}")


def program_mark(login: Any) -> str:
    """Programs keep no cookies: the same one at the same address is known again."""
    return keyed_hash("program", f"{login.user_id}:{login.address}:{login.user_agent}")


def set_cookie(request: HttpRequest, response: HttpResponse) -> None:
    if value := getattr(request, "device_cookie", None):
        response.set_cookie(
            settings.DEVICE_COOKIE_NAME,
            value,
            max_age=COOKIE_AGE,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )
