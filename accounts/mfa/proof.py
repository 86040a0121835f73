"""What follows from a factor that was just proved: a session, or a fresh and perhaps stronger proof within one."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django_otp import DEVICE_ID_SESSION_KEY
from django_otp.models import Device

from accounts.facts import session_level
from accounts.logins.services import keep
from accounts.mfa import events, services
from accounts.models import User
from accounts.pending import KEY as PENDING
from accounts.pending import allow_enrolment, destination, first_factor
from accounts.services import start_session
from accounts.step_up import StepUpRequired, require_step_up_here
from accounts.strength import DEMANDS, NAMES, is_enough, proved
from opssight.kernel.access import factor_needed
from opssight.kernel.errors import Refusal


class TooWeak(Refusal):
    status = 400


def let_in(request: HttpRequest, user: User, device: Device) -> HttpResponse:
    """Sign in with both factors proved. A factor too weak for the roles held leads to enrolment, and nowhere else.

    TooWeak where the account has a stronger one, which is then the one to use: else whoever got hold of a telephone
    number could enrol an app of their own.
    """
    needed = factor_needed(user)
    if not is_enough(device.level, needed.level):
        if services.has_factor(user, needed.level):
            roles = ", ".join(needed.roles[:3])
            raise TooWeak(f"Your roles ({roles}) sign in with {DEMANDS[needed.level]}: use yours.")
        allow_enrolment(request, needed.level)
        return redirect("enrol")
    next_page = destination(request)
    start_session(request, user, device, first=first_factor(request))
    request.session.pop(PENDING, None)
    if needed.coming and not services.has_factor(user, needed.coming):
        messages.warning(
            request,
            f"From {timezone.localtime(needed.coming_at or timezone.now()):%Y-%m-%d} your roles ask for "
            f"{DEMANDS[needed.coming]}. Set it up under My security; without it you can then do nothing else.",
        )
    return redirect(next_page)


def step_up(request: HttpRequest, device: Device) -> None:
    """A factor was proved again: the session stands on it from now on.

    TooWeak for one that is weaker than what the session stands on: it would make an old proof look fresh.
    """
    stood_on = session_level(request.user)
    if not is_enough(device.level, stood_on):
        raise TooWeak(f"This session was opened with {NAMES[stood_on]}: use that again.")
    stand_on(request, device)


def stand_on(request: HttpRequest, device: Device) -> None:
    """Under a new session id."""
    request.session.cycle_key()
    request.session[DEVICE_ID_SESSION_KEY] = device.persistent_id
    _person(request).otp_device = device  # type: ignore[attr-defined]
    factors = proved(device.method)
    events.STEPPED_UP.emit(target=_person(request), factor=device.name, level=device.level, factors=factors)


def after_adding(request: HttpRequest, device: Device) -> None:
    """A factor was added within a session, and so proved: one that is as strong takes over, as it may have replaced
    the one that the session stands on, which ended all others."""
    keep(request, _person(request))
    if is_enough(device.level, session_level(request.user)):
        stand_on(request, device)


def remove(request: HttpRequest, factor: Device) -> None:
    """Take a factor off and end every session and token, but for this one where it stands on another factor."""
    stands_on_it = _person(request).otp_device.persistent_id == factor.persistent_id  # type: ignore[attr-defined]
    user = services.remove_factor(factor)
    if not stands_on_it:
        keep(request, user)


def require_to_manage(request: HttpRequest) -> None:
    """What adding and removing factors takes: a fresh proof, by more than a message where the account has more."""
    user = _person(request)
    require_step_up_here(request)
    if not is_enough(session_level(user), "otp") and services.has_factor(user, "otp"):
        needed = StepUpRequired("Prove your authenticator app or passkey first: a code by message is not enough here.")
        needed.more = {**needed.more, "step_up": "/step-up?level=otp", "strength": "otp"}
        raise needed


def start_passkey_session(request: HttpRequest, passkey: Device) -> None:
    """Without a password: the device verified its user, so the passkey stands for both factors."""
    request.session.flush()
    start_session(request, passkey.user, passkey, first="")


def _person(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user
