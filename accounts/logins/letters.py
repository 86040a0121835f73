"""The mail about a sign-in from a new device."""

import secrets
from datetime import timedelta

from django.conf import settings

from accounts.logins.models import Login
from accounts.notify import kinds
from accounts.notify.services import notify
from opssight.kernel.crypto import keyed_hash

VALID = timedelta(days=7)
SUBJECT = "Your account was used on a new device"
TEXT = """\
Somebody signed in to OpsSight as {email}, with your password and a second factor, on a device that was not used for it
before:

  {device}
  from the address {address}, {time:%d %B %Y, %H:%M} UTC

If that was you, there is nothing to do. If not, open this page and press the button on it. Every session and token of
your account ends at once, and the password that was used counts no more:

  {link}

It works once, for seven days."""


def write(login: Login) -> None:
    """Write to the owner of the account, with a link of which only the keyed hash stays here."""
    token = secrets.token_urlsafe(32)
    login.notice_hash = keyed_hash("sign-in-notice", token)
    login.save(update_fields=["notice_hash"])
    text = TEXT.format(
        email=login.user.email,
        device=login.device,
        address=login.address or "unknown",
        time=login.started_at,
        link=f"{settings.BASE_URL}/not-me/{token}",
    )
    notify(login.user, kinds.NEW_DEVICE, SUBJECT, text)
