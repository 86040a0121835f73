"""Sessions as rows: begun at sign-in, looked up at every request, ended by their owner, an officer or time."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from accounts.logins import devices, events, letters
from accounts.logins.models import Login, LoginQuerySet
from accounts.models import User
from opssight.kernel import actor as actors

LOGIN = "login"  # in the session: the uid of its row
SEEN_EVERY = timedelta(minutes=1)  # last_seen_at is not worth a write per request
KEEP = timedelta(days=90)  # how long an ended session is shown, and a device remembered
# What a page sends that asks again by itself: nobody need sit there, so it must not keep a session from running out.
BACKGROUND = "X-Background"


def opening(
    user: User,
    *,
    kind: str,
    level: str,
    factors: list[str],
    ends_at: datetime,
    idle: timedelta | None = None,
    parent: Login | None = None,
) -> Login:
    """The row of a sign-in in this request, not yet begun. Without `idle` it only ends at `ends_at`."""
    here, now = actors.current(), timezone.now()
    return Login(
        user=user,
        kind=kind,
        parent=parent,
        factors=factors,
        level=level,
        auth_epoch=user.auth_epoch,
        address=here.address,
        user_agent=here.user_agent,
        started_at=now,
        stepped_up_at=parent.stepped_up_at if parent else now,
        last_seen_at=now,
        ends_at=ends_at,
        idle_ends_at=min(ends_at, now + idle) if idle else ends_at,
    )


@transaction.atomic
def begin(request: HttpRequest, login: Login) -> None:
    if login.parent is None:
        _note_device(request, login)
    login.save()
    if login.is_new_device:
        events.NEW_DEVICE.emit(target=login.user, device=login.device)
        letters.write(login)


def _note_device(request: HttpRequest, login: Login) -> None:
    """New is what the account was never seen on, except at its very first sign-in, of which nobody need be told."""
    by_cookie = login.kind == Login.Kind.CONSOLE
    login.device_hash = devices.mark(request, login.user) if by_cookie else devices.program_mark(login)
    earlier = Login.objects.filter(user=login.user)
    known = earlier.filter(device_hash=login.device_hash).exists()
    login.is_new_device = not known and earlier.exists()


def find_open(uid: Any, user_id: Any) -> Login | None:
    return Login.objects.open(at=timezone.now()).filter(uid=uid, user_id=user_id).first()


def note_use(login: Login, request: HttpRequest) -> None:
    """Move the idle end on, at most once a minute."""
    now = timezone.now()
    if now - login.last_seen_at < SEEN_EVERY or BACKGROUND in request.headers:
        return
    idle = settings.SESSION_IDLE if login.kind == Login.Kind.CONSOLE else login.ends_at - now
    login.last_seen_at, login.idle_ends_at = now, min(login.ends_at, now + idle)
    Login.objects.filter(pk=login.pk).update(last_seen_at=now, idle_ends_at=login.idle_ends_at)


def note_refresh(login: Login) -> None:
    Login.objects.filter(pk=login.pk).update(last_seen_at=timezone.now())


def note_step_up(login: Login, *, level: str, factors: list[str]) -> None:
    """A factor was proved again, or another one: the session stands on it from now on."""
    login.level, login.stepped_up_at = level, timezone.now()
    login.factors = [*dict.fromkeys([*login.factors, *factors])]
    login.save(update_fields=["level", "stepped_up_at", "factors"])


# --- the end ------------------------------------------------------------------------------------------------------


def end(login: Login) -> int:
    """End it, and what was made from it, at once; returns how many that were."""
    return Login.objects.with_their_tokens(login).filter(ended_at=None).update(ended_at=timezone.now())


@transaction.atomic
def revoke(logins: Iterable[Login]) -> int:
    """End sessions by hand, whoever's they are: each is dead at its very next request. Returns how many ended."""
    ended = 0
    for login in logins:
        if end(login):
            events.SESSION_REVOKED.emit(target=login.user, device=login.device, session=str(login.uid))
            ended += 1
    return ended


def others(user: User, login: Login | None) -> LoginQuerySet:
    """The account's open sessions beside `login` and what was made from it."""
    found = Login.objects.open(at=timezone.now()).filter(user=user)
    return found.exclude(pk__in=Login.objects.with_their_tokens(login).values("pk")) if login else found


@transaction.atomic
def end_everything(user: User) -> None:
    """End every session and token of the account at once."""
    locked = User.objects.select_for_update().get(pk=user.pk)
    locked.auth_epoch += 1
    locked.save(update_fields=["auth_epoch"])
    user.auth_epoch = locked.auth_epoch


def keep(request: HttpRequest, user: User) -> None:
    """After everything of the account was ended by the session of this request: that one goes on."""
    login: Login | None = getattr(request, "login", None)
    if login is not None and login.user_id == user.pk:
        login.auth_epoch = user.auth_epoch
        login.save(update_fields=["auth_epoch"])


@transaction.atomic
def revoke_everything(user: User) -> None:
    """By an officer, of somebody else's account."""
    end_everything(user)
    events.SESSION_REVOKED.emit(target=user, everything=True)


def purge() -> None:
    Session.objects.filter(expire_date__lt=timezone.now()).delete()
    Login.objects.filter(ends_at__lt=timezone.now() - KEEP).delete()
