"""The mail about a sign-in from a new device, and what its link does: "this was not me"."""

import secrets
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.logins import events
from accounts.logins.models import Login
from accounts.mail import send_now
from accounts.models import User
from accounts.services import issue_setup_link
from opssight.kernel.crypto import keyed_hash
from opssight.kernel.errors import Refusal

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


class NoticeNotValid(Refusal):
    status = 404

    def __init__(self) -> None:
        super().__init__("This link was used, has expired, or never existed. The same button is on “My security”.")


def send(login_id: int) -> None:
    """Write to the owner of the account, unless that was done. A mail that can't be sent leaves the row as it was."""
    with transaction.atomic():
        rows = Login.objects.select_for_update().filter(pk=login_id, is_new_device=True, notice_hash="")
        login = rows.select_related("user").first()
        if login is None:
            return
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
        send_now(login.user.email, SUBJECT, text)


def find(token: str) -> Login:
    """The sign-in that a mail told of."""
    since = timezone.now() - VALID
    rows = Login.objects.filter(notice_hash=keyed_hash("sign-in-notice", token), started_at__gt=since)
    login = rows.select_related("user").first()
    if login is None:
        raise NoticeNotValid
    return login


@transaction.atomic
def disown_by_mail(token: str) -> str:
    """Spend the link; of two parallel uses one is refused."""
    login = find(token)
    if not Login.objects.filter(pk=login.pk, notice_hash=login.notice_hash).update(notice_hash=""):
        raise NoticeNotValid
    return disown(login.user, about=login)


@transaction.atomic
def disown(user: User, *, about: Login | None = None) -> str:
    """Somebody else was in: every session and token ends, and the password counts no more.

    Returns the one-time address where the owner sets a new one. The second factor stays, and is asked for there.
    """
    user.set_unusable_password()
    user.save(update_fields=["password"])  # which ends everything
    told: dict[str, Any] = {"device": about.device, "address": about.address} if about else {}
    events.DISOWNED.emit(target=user, **told)
    return issue_setup_link(user)
