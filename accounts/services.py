"""What happens to accounts: creating them, links to set them up, starting and ending sessions."""

import secrets
from datetime import datetime, timedelta
from typing import Any

from axes.models import AccessAttempt
from axes.utils import reset
from django.conf import settings
from django.contrib.auth import login, logout, update_session_auth_hash
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet, Sum
from django.http import HttpRequest
from django.utils import timezone
from django_otp import DEVICE_ID_SESSION_KEY
from django_otp.models import Device

from accounts import events
from accounts.logins.services import keep
from accounts.models import SetupLink, User, normalise_email
from accounts.notify import kinds
from accounts.notify.services import notify
from accounts.strength import proved
from opssight.kernel.crypto import keyed_hash
from opssight.kernel.errors import Refusal
from opssight.kernel.http import client_address
from opssight.kernel.rates import used
from opssight.kernel.validation import tidy

MOST_RESETS, MOST_LINKS_ASKED, RESET_WINDOW = 3, 12, timedelta(hours=1)  # to one mailbox, from one address


class LinkNotValid(Refusal):
    status = 404

    def __init__(self) -> None:
        super().__init__("This link was used, has expired, or never existed. Ask for a new one.")


@transaction.atomic
def create_account(email: str, *, name: str = "", password: str | None = None) -> User:
    """A new person; ValidationError for an e-mail that is taken or malformed and for a weak password."""
    user = User(email=normalise_email(email), name=name)
    if password is None:
        user.set_unusable_password()
    else:
        validate_password(password, user)
        user.set_password(password)
    user.full_clean()
    user.save()
    events.ACCOUNT_CREATED.emit(target=user)
    return user


@transaction.atomic
def set_active(user: User, active: bool) -> None:
    """Let somebody out, or in again. Out takes effect at the next request: each looks the account up."""
    if user.is_active == active:
        return
    # Told before the account is locked: a change of rights takes its turn first, and then locks accounts.
    event = events.ACCOUNT_ACTIVATED if active else events.ACCOUNT_DEACTIVATED
    event.emit(target=user)
    user.is_active = active
    user.save(update_fields=["is_active"])


@transaction.atomic
def change_name(user: User, name: str) -> None:
    """What the account is called. ValidationError for none, and for one that could pass for somebody's address."""
    person = User.objects.select_for_update().get(pk=user.pk)
    person.name = " ".join(tidy(name).split())
    if not person.name or "@" in person.name:
        raise ValidationError({"name": "Give a name. It has no @: that is for addresses."})
    person.clean_fields(exclude={field.name for field in User._meta.fields} - {"name"})
    person.save(update_fields=["name"])
    user.name = person.name


@transaction.atomic
def change_password(user: User, password: str) -> None:
    """Set a new password and end every session that the old one opened. The account's mailbox is told."""
    validate_password(password, user)
    user.set_password(password)
    user.save(update_fields=["password"])  # which ends everything
    events.PASSWORD_CHANGED.emit(target=user)
    notify(
        user,
        kinds.PASSWORD,
        "Your password was changed",
        "The password of your account was changed just now, and every session was ended. If that was not you, set a "
        "new one by “Password forgotten” on the sign-in page and tell your security officer at once.",
    )


def change_own_password(request: HttpRequest, user: User, password: str) -> None:
    """Change it within a session: that one stays, under a new id, and all others end."""
    change_password(user, password)
    update_session_auth_hash(request, user)
    keep(request, user)


@transaction.atomic
def send_reset_link(email: str) -> None:
    """Send the link that sets a new password, where there is such an account; run by a worker.

    The page that asks for it knows nothing of accounts, so that neither its words nor its time can tell.
    """
    user = User.objects.people().filter(email=normalise_email(email)).first()
    if user is None or _has_had_enough(user):
        return
    link = issue_setup_link(user, purpose=SetupLink.Purpose.RESET)
    events.RESET_REQUESTED.emit(target=user)
    minutes = int(settings.PASSWORD_RESET_VALID.total_seconds() // 60)
    notify(
        user,
        kinds.LINKS,
        "Set a new password",
        f"Somebody asked for a new password for your account, perhaps you. This link sets it, once, within {minutes} "
        f"minutes; your second step follows:\n\n{link}\n\nIf it was not you, do nothing: nothing changes.",
        expires_at=timezone.now() + settings.PASSWORD_RESET_VALID,
    )


def send_new_beginning(user: User) -> None:
    """Send the link with which somebody whose second factors were taken off begins anew."""
    link = issue_setup_link(user)
    hours = int(settings.SETUP_LINK_VALID.total_seconds() // 3600)
    notify(
        user,
        kinds.LINKS,
        "Set up your account anew",
        "Your second factors were taken off, as you asked, and every session was ended. With this link you set a new "
        f"password and a new second factor, once, within {hours} hours:\n\n{link}\n\nIf you did not ask, tell your "
        "security officer at once.",
        expires_at=timezone.now() + settings.SETUP_LINK_VALID,
    )


def may_ask_for_links(request: HttpRequest) -> bool:
    """Whether this address has not asked for a dozen links within the hour."""
    return used(f"reset-links:{client_address(request)}", RESET_WINDOW) <= MOST_LINKS_ASKED


def _has_had_enough(user: User) -> bool:
    """At most three an hour, so that nobody's mailbox is flooded by a stranger."""
    since = timezone.now() - RESET_WINDOW
    return user.setup_links.filter(purpose=SetupLink.Purpose.RESET, created_at__gt=since).count() >= MOST_RESETS


# --- set-up links -------------------------------------------------------------------------------------------------


@transaction.atomic
def issue_setup_link(user: User | None = None, *, purpose: str = SetupLink.Purpose.SETUP) -> str:
    """A fresh one-time address; earlier unused ones of its purpose for the same account (or the first) stop working."""
    now = timezone.now()
    valid = settings.SETUP_LINK_VALID if purpose == SetupLink.Purpose.SETUP else settings.PASSWORD_RESET_VALID
    for link in SetupLink.objects.open(at=now).filter(user=user, purpose=purpose):
        link.expires_at = now
        link.save(update_fields=["expires_at"])
    token = secrets.token_urlsafe(32)
    link = SetupLink.objects.create(
        token_hash=keyed_hash("setup-link", token), user=user, purpose=purpose, expires_at=now + valid
    )
    events.SETUP_LINK_ISSUED.emit(target=user or link, purpose=purpose)
    return f"{settings.BASE_URL}/set-up/{token}"


def find_setup_link(token: str, *, at: datetime | None = None) -> SetupLink:
    link = SetupLink.objects.open(at=at or timezone.now()).filter(token_hash=keyed_hash("setup-link", token)).first()
    if link is None:
        raise LinkNotValid
    return link


def use_setup_link(link: SetupLink, user: User) -> None:
    """Spend the link, in the transaction of what it was used for. One of two parallel uses is refused."""
    now = timezone.now()
    unused = SetupLink.objects.select_for_update().open(at=now).filter(pk=link.pk).first()
    if unused is None:
        raise LinkNotValid
    unused.used_at = now
    unused.save(update_fields=["used_at"])
    for other in SetupLink.objects.open(at=now).filter(user=user):  # nobody needs a second one now
        other.expires_at = now
        other.save(update_fields=["expires_at"])
    events.SETUP_LINK_USED.emit(target=user, first=link.user_id is None)


# --- lockout ------------------------------------------------------------------------------------------------------


def failing() -> QuerySet[AccessAttempt]:
    """The counts of failed sign-ins that still matter: a name and an address each."""
    return AccessAttempt.objects.filter(attempt_time__gt=timezone.now() - settings.AXES_COOLOFF_TIME)


def locked_accounts() -> QuerySet[User]:
    """People whose name is locked from at least one address now."""
    locks = failing().filter(username=OuterRef("email"), failures_since_start__gte=settings.AXES_FAILURE_LIMIT)
    return User.objects.filter(Exists(locks))


def unlock(user: User) -> int:
    """Forget the failures of this name, from every address. Returns of how many."""
    lifted = int(reset(username=user.email))
    if lifted:
        events.LOCK_LIFTED.emit(target=user, addresses=lifted)
    return lifted


def is_spraying(request: HttpRequest) -> bool:
    """Whether this address has failed so often, under whatever names, that it has to wait."""
    failures = failing().filter(ip_address=client_address(request)).aggregate(n=Sum("failures_since_start"))["n"]
    return (failures or 0) >= settings.LOGIN_ADDRESS_LIMIT


# --- sessions -----------------------------------------------------------------------------------------------------


def axes_username(request: HttpRequest | None, credentials: dict[str, Any] | None) -> str:
    """The name under which django-axes counts failures: one spelling, or a variant would have guesses of its own."""
    given = (credentials or {}).get("username") or (request.POST.get("username", "") if request else "")
    return normalise_email(given)


def start_session(request: HttpRequest, user: User, device: Device, *, first: str = "pwd") -> None:
    """Sign in with both factors proved: a new session id, the factor kept in it, and a row that can be ended."""
    user.backend = "accounts.backends.PasswordBackend"
    with transaction.atomic():
        login(request, user)
        request.session[DEVICE_ID_SESSION_KEY] = device.persistent_id
        user.otp_device = device  # type: ignore[attr-defined]
        factors = proved(device.method, first=first)
        events.SIGNED_IN.emit(target=user, factor=device.name, factors=factors)


def end_session(request: HttpRequest) -> None:
    if request.user.is_authenticated:
        events.SIGNED_OUT.emit(target=request.user)
    logout(request)
