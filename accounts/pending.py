"""Between the two steps of sign-in: whose password was proved, kept in a session that is not signed in."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.shortcuts import resolve_url
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme

from accounts.models import User
from accounts.sso.models import Identity, signs_in_elsewhere

KEY = "sign_in_pending"
PATIENCE = timedelta(hours=1)  # for enrolment: finding a phone and an app takes people time (WCAG 2.2.1)


def remember(request: HttpRequest, user: User, next_page: str = "", *, via: dict[str, Any] | None = None) -> None:
    """Start over with a fresh session that knows whose password was right, or whom a provider proved (`via`)."""
    request.session.flush()
    request.session[KEY] = {
        "user": user.pk,
        "epoch": user.auth_epoch,
        "until": (timezone.now() + PATIENCE).timestamp(),
        "next": next_page,
        "via": via,
    }


def pending_user(request: HttpRequest) -> User | None:
    kept = request.session.get(KEY)
    if not kept or kept["until"] < timezone.now().timestamp():
        return None
    user = User.objects.filter(pk=kept["user"], auth_epoch=kept["epoch"], is_active=True).first()
    return user if user is not None and _still_leads_in(user, kept.get("via")) else None


def _still_leads_in(user: User, via: dict[str, Any] | None) -> bool:
    """Whether the first step would be taken now as well: officers may have changed their minds since."""
    if via is None:
        return not signs_in_elsewhere(user)
    return Identity.objects.filter(pk=via["identity"], user=user, provider__is_enabled=True).exists()


def via(request: HttpRequest) -> dict[str, Any] | None:
    """What is kept of the provider by which this sign-in was begun, if one was."""
    return (request.session.get(KEY) or {}).get("via")


def first_factor(request: HttpRequest) -> str:
    """What was proved before the second step, as a value of `amr`."""
    return "fed" if via(request) else "pwd"


def allow_enrolment(request: HttpRequest, level: str) -> None:
    """A factor was proved that is too weak for the roles held: a stronger one may be enrolled, and nothing else."""
    request.session[KEY] = {**request.session[KEY], "enrol": level}


def enrolment_allowed(request: HttpRequest) -> str | None:
    """The level that may be enrolled although the account has a factor; None where none was proved."""
    return (request.session.get(KEY) or {}).get("enrol")


def destination(request: HttpRequest) -> str:
    """Where sign-in leads: the page first asked for, if it is one of ours."""
    return safe_page(request, (request.session.get(KEY) or {}).get("next", ""))


def safe_page(request: HttpRequest, asked: str) -> str:
    """`asked`, if it is an address of ours; else the first page."""
    host = urlsplit(settings.BASE_URL).netloc
    if asked and url_has_allowed_host_and_scheme(asked, {host, request.get_host()}, require_https=request.is_secure()):
        return str(asked)
    return resolve_url(settings.LOGIN_REDIRECT_URL)
