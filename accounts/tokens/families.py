"""JWTs for people: given for a sign-in with both factors, renewed one by one, ended all together."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from django.contrib.auth import authenticate, user_logged_in
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError

from accounts.logins import services as logins
from accounts.logins.models import Login
from accounts.mfa.services import verify
from accounts.models import User, normalise_email
from accounts.notify import kinds
from accounts.notify.services import notify
from accounts.services import is_spraying
from accounts.strength import proved
from accounts.tokens import events
from accounts.tokens.models import Family
from accounts.tokens.refusals import Expired, LockedOut, NotAccepted, NotProved
from accounts.tokens.signed import AccessToken, RefreshToken
from opssight.kernel.access import is_registered
from opssight.kernel.actor import acting_as
from opssight.kernel.errors import Refusal

LIFETIME = timedelta(days=30)  # of a family: refreshed or not, then somebody signs in again
_REPLAY = """\
A refresh token of yours was used a second time. Either a program of yours asked twice at once, or somebody has a copy.
Every token of that sign-in has ended ({device}, from {address}).

If you don't know why, open My security and press “This was not me”."""


class NoSuchPermission(Refusal):
    status = 400


@dataclass(frozen=True)
class Pair:
    access: AccessToken
    refresh: RefreshToken
    login: Login


def prove(request: HttpRequest, email: str, password: str, code: str) -> Login:
    """The sign-in to come, for both factors in one call, under the lockout of the sign-in page. NotProved, LockedOut.

    From here on the request is the account's, with its factor: what is decided next is decided about it.
    """
    if is_spraying(request):
        raise LockedOut
    user = authenticate(request, username=normalise_email(email), password=password)
    if getattr(request, "axes_locked_out", False):
        request.axes_locked_out = False  # type: ignore[attr-defined]  # answered here, and not with the page
        raise LockedOut
    device: Any = verify(user, code) if isinstance(user, User) else None
    if device is None or not isinstance(user, User):
        raise NotProved
    user_logged_in.send(sender=User, request=request, user=user)  # forgets the failures before it
    user.otp_device = device  # type: ignore[attr-defined]
    login = opening(user, level=device.level, factors=proved(device.method, first="pwd"))
    request.user, request.login = user, login  # type: ignore[attr-defined]
    return login


def from_session(session: Login, user: User) -> Login:
    """The sign-in to come, for a session of the console; it ends with that one."""
    return opening(user, level=session.level, factors=session.factors, parent=session)


def opening(user: User, **proof: Any) -> Login:
    return logins.opening(user, kind=Login.Kind.API, ends_at=timezone.now() + LIFETIME, **proof)


@transaction.atomic
def issue(request: HttpRequest, login: Login, *, permissions: list[str] | None = None) -> Pair:
    """A first pair. `permissions` narrows it; what the account may not do, no list of them allows."""
    if unknown := [name for name in permissions or [] if not is_registered(name)]:
        raise NoSuchPermission(f"Unknown permission: {', '.join(unknown)[:200]}.")
    logins.begin(request, login)
    narrowed = None if permissions is None else sorted(set(permissions))
    family = Family(login=login, refresh_jti=uuid4().hex, permissions=narrowed)
    family.save()
    with acting_as(login.user):
        told = {"kind": "jwt", "session": str(login.uid), "scopes": narrowed, "factors": login.factors}
        events.TOKEN_ISSUED.emit(target=login.user, **told)
    return _pair(family)


def _pair(family: Family) -> Pair:
    login = family.login
    refresh, access = RefreshToken(), AccessToken()
    refresh["jti"] = family.refresh_jti
    for token in (refresh, access):
        token["sub"], token["sid"], token["epoch"] = str(login.user.uid), str(login.uid), login.user.auth_epoch
        token["amr"], token["auth_time"] = login.factors, int(login.stepped_up_at.timestamp())
        token["exp"] = min(token["exp"], int(login.ends_at.timestamp()))
        if family.permissions is not None:
            token["permissions"] = family.permissions
    return Pair(access, refresh, login)


def read(kind: type[AccessToken] | type[RefreshToken], text: str) -> Any:
    """The verified token; Expired and NotAccepted."""
    try:
        return kind(text)  # type: ignore[arg-type]  # simplejwt means the text
    except ExpiredTokenError:
        raise Expired from None
    except TokenError:
        raise NotAccepted from None


def find_login(token: Any, *, at: datetime) -> Login | None:
    """The open sign-in that the token belongs to, with its account."""
    mine = Login.objects.open(at=at).filter(uid=token["sid"], kind=Login.Kind.API, user__uid=token["sub"])
    return mine.filter(auth_epoch=token["epoch"]).select_related("user").first()


def refresh(text: str) -> Pair:
    """Spend a refresh token for the next pair. Of parallel uses one succeeds; any second use ends the family."""
    token: Any = read(RefreshToken, text)
    login = find_login(token, at=timezone.now())
    if login is None:
        raise NotAccepted
    with acting_as(login.user):
        pair = _spend(login, token["jti"])
        if pair is None:
            _end_replayed(login)
            raise NotAccepted
    return pair


@transaction.atomic
def _spend(login: Login, jti: str) -> Pair | None:
    now, following = timezone.now(), uuid4().hex
    spent = Family.objects.filter(login=login, refresh_jti=jti)
    if not spent.update(refresh_jti=following, refreshed_at=now):
        return None
    logins.note_refresh(login)
    events.TOKEN_REFRESHED.emit(target=login.user, session=str(login.uid))
    family = Family.objects.get(login=login)
    family.login = login
    return _pair(family)


@transaction.atomic
def _end_replayed(login: Login) -> None:
    """Told once, however many come at the same time."""
    if logins.end(login):
        error = "a refresh token was used twice"
        events.TOKEN_REPLAYED.emit(target=login.user, success=False, error=error, session=str(login.uid))
        text = _REPLAY.format(device=login.device, address=login.address or "unknown")
        notify(login.user, kinds.TOKEN_REPLAYED, "A token of your account was used twice", text)


def revoke(text: str) -> None:
    """End the family of a refresh token. One that is none any more leaves nothing to do (RFC 7009 §2.2)."""
    try:
        login = find_login(read(RefreshToken, text), at=timezone.now())
    except NotAccepted:
        return
    if login is not None:
        with acting_as(login.user):
            logins.revoke([login])
