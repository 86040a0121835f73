"""Enrolment, the second step of sign-in, and fresh recovery codes."""

from typing import Any

import segno
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from accounts.mfa import events, services
from accounts.mfa.forms import CodeForm
from accounts.mfa.models import TOTPDevice
from accounts.models import User
from accounts.pending import destination, pending_user, safe_page
from accounts.services import start_session
from accounts.step_up import note_step_up
from opssight.kernel.errors import Refusal
from opssight.kernel.guards import guarded, public


def _qr_code(device: TOTPDevice) -> str:
    return segno.make(device.config_url, error="m").svg_inline(
        border=2, dark="#111", light="#fff", omitsize=True, svgclass=None, lineclass=None
    )


@public("second half of sign-in: only a session with a proved password gets further than the redirect")
@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def enrol(request: HttpRequest) -> HttpResponse:
    user = pending_user(request)
    if user is None:
        return redirect("sign-in")
    if services.is_enrolled(user):
        return redirect("second-step")
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            device, codes = services.confirm_enrolment(user, form.cleaned_data["code"])
        except Refusal as refusal:
            form.add_error("code", refusal.detail)
        else:
            next_page = destination(request)
            start_session(request, user, device)
            return _show_codes(request, user, codes, next_page)
    device = services.begin_enrolment(user)
    secret = device.secret
    page: dict[str, Any] = {
        "form": form,
        "account": user,
        "qr_code": _qr_code(device),
        "config_url": device.config_url,
        "secret": " ".join(secret[i : i + 4] for i in range(0, len(secret), 4)),
    }
    return render(request, "mfa/enrol.html", page, status=200 if not form.errors else 400)


@public("second half of sign-in: only a session with a proved password gets further than the redirect")
@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def second_step(request: HttpRequest) -> HttpResponse:
    user = pending_user(request)
    if user is None:
        return redirect("sign-in")
    if not services.is_enrolled(user):
        return redirect("enrol")
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            device = services.verify(user, form.cleaned_data["code"])
            if device is not None:
                next_page = destination(request)
                start_session(request, user, device)
                return redirect(next_page)
            form.add_error("code", "This code is not right. Enter the next one your app shows, or a recovery code.")
        except Refusal as refusal:
            form.add_error("code", refusal.detail)
    return render(
        request, "mfa/second_step.html", {"form": form, "account": user}, status=200 if not form.errors else 400
    )


@guarded("me:update")
@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def renew_codes(request: HttpRequest) -> HttpResponse:
    """Ten new recovery codes, after a fresh code of the app: a borrowed screen must not be enough."""
    user = request.user
    assert isinstance(user, User)
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            if services.verify(user, form.cleaned_data["code"]) is not None:
                return _show_codes(request, user, services.renew_codes(user), "my-security")
            form.add_error("code", "This code is not right. Enter the next one your app shows.")
        except Refusal as refusal:
            form.add_error("code", refusal.detail)
    page = {"form": form, "left": services.codes_left(user)}
    return render(request, "mfa/renew_codes.html", page, status=200 if not form.errors else 400)


def _show_codes(request: HttpRequest, user: User, codes: list[str], next_page: str) -> HttpResponse:
    """The one time the codes are shown: in the answer itself, never in the session or the database."""
    page = {"codes": codes, "account": user, "next_page": next_page, "as_text": "%0D%0A".join(codes)}
    return render(request, "mfa/recovery_codes.html", page)


@guarded("me:update")
@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def step_up(request: HttpRequest) -> HttpResponse:
    """The second factor again, for the admin and for tokens; leads back to the page that asked."""
    user = request.user
    assert isinstance(user, User)
    form = CodeForm(request.POST or None)
    asked = request.POST.get("next", request.GET.get("next", ""))
    if request.method == "POST" and form.is_valid():
        try:
            if services.verify(user, form.cleaned_data["code"]) is not None:
                note_step_up(request)
                events.STEPPED_UP.emit(target=user)
                return redirect(safe_page(request, asked))
            form.add_error("code", "This code is not right. Enter the next one your app shows.")
        except Refusal as refusal:
            form.add_error("code", refusal.detail)
    return render(request, "mfa/step_up.html", {"form": form, "next": asked}, status=200 if not form.errors else 400)
