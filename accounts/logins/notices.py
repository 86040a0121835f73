"""What the link in the mail about a new device does: "this was not me"."""

from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.logins import events
from accounts.logins.letters import VALID
from accounts.logins.models import Login
from accounts.models import User
from accounts.services import issue_setup_link
from opssight.kernel.crypto import keyed_hash
from opssight.kernel.errors import Refusal


class NoticeNotValid(Refusal):
    status = 404

    def __init__(self) -> None:
        super().__init__("This link was used, has expired, or never existed. The same button is on “My security”.")


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
