"""What happens to accounts: creating them, links to set them up, starting and ending sessions."""

import secrets
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth import login, logout
from django.contrib.auth.password_validation import validate_password
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from django_otp import DEVICE_ID_SESSION_KEY
from django_otp.models import Device

from accounts import events
from accounts.middleware import EPOCH
from accounts.models import SetupLink, User, normalise_email
from accounts.step_up import note_step_up
from opssight.kernel.crypto import keyed_hash
from opssight.kernel.errors import Refusal


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
    user.is_active = active
    user.auth_epoch += 1
    user.save(update_fields=["is_active", "auth_epoch"])
    event = events.ACCOUNT_ACTIVATED if active else events.ACCOUNT_DEACTIVATED
    event.emit(target=user)


@transaction.atomic
def change_password(user: User, password: str) -> None:
    """Set a new password and end every session that the old one opened."""
    validate_password(password, user)
    user.set_password(password)
    user.auth_epoch += 1
    user.save(update_fields=["password", "auth_epoch"])


# --- set-up links -------------------------------------------------------------------------------------------------


@transaction.atomic
def issue_setup_link(user: User | None = None) -> str:
    """A fresh one-time address; earlier unused ones for the same account (or for the first) stop working."""
    now = timezone.now()
    for link in SetupLink.objects.open(at=now).filter(user=user):
        link.expires_at = now
        link.save(update_fields=["expires_at"])
    token = secrets.token_urlsafe(32)
    link = SetupLink.objects.create(
        token_hash=keyed_hash("setup-link", token), user=user, expires_at=now + settings.SETUP_LINK_VALID
    )
    events.SETUP_LINK_ISSUED.emit(target=user or link)
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
    events.SETUP_LINK_USED.emit(target=user, first=link.user_id is None)


# --- sessions -----------------------------------------------------------------------------------------------------


def axes_username(request: HttpRequest | None, credentials: dict[str, Any] | None) -> str:
    """The name under which django-axes counts failures: one spelling, or a variant would have guesses of its own."""
    given = (credentials or {}).get("username") or (request.POST.get("username", "") if request else "")
    return normalise_email(given)


def start_session(request: HttpRequest, user: User, device: Device) -> None:
    """Sign in with both factors proved: a new session id, the epoch and the factor kept in it."""
    user.backend = "accounts.backends.PasswordBackend"
    with transaction.atomic():
        login(request, user)
        request.session[EPOCH] = user.auth_epoch
        note_step_up(request)
        request.session[DEVICE_ID_SESSION_KEY] = device.persistent_id
        user.otp_device = device  # type: ignore[attr-defined]
        events.SIGNED_IN.emit(target=user, factor=device.name)


def end_session(request: HttpRequest) -> None:
    if request.user.is_authenticated:
        events.SIGNED_OUT.emit(target=request.user)
    logout(request)
