"""Enrolment, the second step of sign-in, the step-up, and what one does with one's own factors."""

from typing import Any
from uuid import UUID

import segno
from django.contrib import messages as notes
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render, resolve_url
from django.utils.http import urlencode
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from accounts.mfa import messages, passkeys, proof, services
from accounts.mfa.forms import AddressForm, CodeForm
from accounts.mfa.models import MessageDevice, Passkey, TOTPDevice
from accounts.models import User
from accounts.pending import enrolment_allowed, pending_user, safe_page
from accounts.sso.factors import offered
from accounts.sso.models import signs_in_elsewhere
from accounts.strength import LEVELS, is_enough
from opssight.kernel.access import factor_needed
from opssight.kernel.errors import Refusal
from opssight.kernel.guards import guarded, is_signed_in, public

WRONG = "This code is not right. Enter the next one your app shows, or a recovery code."
HALFWAY = "for a session with a proved password, or one that is signed in: it gets no further than the redirect without"


def _qr_code(device: TOTPDevice) -> str:
    return segno.make(device.config_url, error="m").svg_inline(
        border=2, dark="#111", light="#fff", omitsize=True, svgclass=None, lineclass=None
    )


# --- enrolment ----------------------------------------------------------------------------------------------------


def enrolling(request: HttpRequest) -> User | HttpResponse:
    """Who may enrol a factor here: one who is signed in and has just proved a factor, or one with a proved password who
    has none, or none that is strong enough. Else the page that comes first."""
    if is_signed_in(request.user):
        proof.require_to_manage(request)
        assert isinstance(request.user, User)
        return request.user
    user = pending_user(request)
    if user is None:
        return redirect("sign-in")
    lacking = enrolment_allowed(request)
    if services.has_factor(user, lacking or ""):
        return redirect("second-step")
    return user


def _offers(user: User, request: HttpRequest) -> dict[str, Any]:
    """What the enrolment pages show besides their own way. On the way in, only what the roles let pass."""
    needed = "" if is_signed_in(request.user) else factor_needed(user).level
    return {
        "account": user,
        "is_inside": is_signed_in(request.user),
        "app_will_do": is_enough("otp", needed),
        "channels": messages.channels() if is_enough("message", needed) else [],
    }


def _enrolled(request: HttpRequest, user: User, device: Any, codes: list[str]) -> HttpResponse:
    if is_signed_in(request.user):
        proof.after_adding(request, device)
        notes.success(request, f"“{device.name}” is set up and counts from now on.")
        return _show_codes(request, user, codes, "my-security") if codes else redirect("my-security")
    answer: Any = proof.let_in(request, user, device)
    return _show_codes(request, user, codes, answer.url) if codes else answer


@public(HALFWAY)
@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def enrol(request: HttpRequest) -> HttpResponse:
    """An authenticator app."""
    user = enrolling(request)
    if isinstance(user, HttpResponse):
        return user
    offers = _offers(user, request)
    if not offers["app_will_do"]:
        return redirect("enrol-passkey")
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            return _enrolled(request, user, *services.confirm_enrolment(user, form.cleaned_data["code"]))
        except Refusal as refusal:
            form.add_error("code", refusal.detail)
    device = services.begin_enrolment(user)
    secret = device.secret
    page: dict[str, Any] = {
        **offers,
        "form": form,
        "qr_code": _qr_code(device),
        "config_url": device.config_url,
        "secret": " ".join(secret[i : i + 4] for i in range(0, len(secret), 4)),
        "replaces": TOTPDevice.objects.filter(user=user, confirmed=True).exists(),
    }
    return render(request, "mfa/enrol.html", page, status=200 if not form.errors else 400)


@public(HALFWAY)
@sensitive_post_parameters("credential")
@require_http_methods(["GET", "POST"])
def enrol_passkey(request: HttpRequest) -> HttpResponse:
    user = enrolling(request)
    if isinstance(user, HttpResponse):
        return user
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            return _enrolled(
                request, user, *passkeys.finish_making(request, user, data["credential"], name=data["name"])
            )
        except Refusal as refusal:
            form.add_error(None, refusal.detail)
    page = {**_offers(user, request), "form": form}
    return render(request, "mfa/enrol_passkey.html", page, status=200 if not form.errors else 400)


@public(HALFWAY)
@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def enrol_message(request: HttpRequest, channel: str) -> HttpResponse:
    """First where to send codes, then the first code."""
    user = enrolling(request)
    if isinstance(user, HttpResponse):
        return user
    offers = _offers(user, request)
    if channel not in offers["channels"]:
        return redirect("enrol")
    is_code = "code" in request.POST
    form: Any = CodeForm(request.POST) if is_code else AddressForm(request.POST or None)
    asks_where = channel == MessageDevice.Channel.SMS
    if not asks_where and not is_code:
        form.fields.pop("phone")
    if request.method == "POST" and form.is_valid():
        try:
            if is_code:
                return _enrolled(
                    request, user, *messages.confirm_enrolment(request, user, channel, form.cleaned_data["code"])
                )
            device = messages.begin_enrolment(user, channel, form.cleaned_data.get("phone", ""))
            messages.send_code(request, device)
            is_code, form = True, CodeForm()
        except (Refusal, ValidationError) as error:
            field = "code" if is_code else "phone" if asks_where else None
            form.add_error(field, getattr(error, "detail", None) or error)
    waiting = MessageDevice.objects.filter(user=user, channel=channel, confirmed=False).first()
    page = {**offers, "form": form, "channel": channel, "sent_to": waiting.shown_address if is_code and waiting else ""}
    return render(request, "mfa/enrol_message.html", page, status=200 if not form.errors else 400)


def _show_codes(request: HttpRequest, user: User, codes: list[str], next_page: str) -> HttpResponse:
    """The one time the codes are shown: in the answer itself, never in the session or the database."""
    page = {"codes": codes, "account": user, "next_page": next_page, "as_text": "%0D%0A".join(codes)}
    return render(request, "mfa/recovery_codes.html", page)


# --- proving a factor ---------------------------------------------------------------------------------------------


def _prove(request: HttpRequest, user: User, form: CodeForm) -> Any:
    """The factor that the form proves. Refusal with a sentence otherwise."""
    data = form.cleaned_data
    if data["credential"]:
        return passkeys.finish_use(request, user, data["credential"])
    method = data["method"]
    device = services.verify(user, data["code"], method=method, ticket=messages.ticket_of(request))
    if device is None:
        is_message = method in MessageDevice.Channel.values
        raise services.WrongCode(
            "This code is not right, or older than ten minutes. Ask for a new one." if is_message else WRONG
        )
    return device


def _ways(request: HttpRequest, user: User, level: str = "") -> dict[str, Any]:
    """How this account can prove a factor of `level`, and which way the page shows."""
    factors = services.factors_of(user)
    ways = [factor.method for factor in factors if is_enough(factor.level, level)]
    order = [way for way in ("totp", "passkey", "sms", "email") if way in ways]
    if factors and is_enough("otp", level):  # codes come with a factor
        order.append("recovery")
    asked = request.POST.get("method") or ("recovery" if "recovery" in request.GET else request.GET.get("method", ""))
    shown = asked if asked in order else next(iter(order), "")
    return {"ways": order, "way": shown, "account": user}


@public(HALFWAY)
@sensitive_post_parameters("code", "credential")
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
            return proof.let_in(request, user, _prove(request, user, form))
        except Refusal as refusal:
            form.add_error("code", refusal.detail)
    page = {**_ways(request, user), "form": form, "next": "", "level": ""}
    return render(request, "mfa/second_step.html", page, status=200 if not form.errors else 400)


@guarded("me:update")
@sensitive_post_parameters("code", "credential")
@require_http_methods(["GET", "POST"])
def step_up(request: HttpRequest) -> HttpResponse:
    """The second factor again, for the admin and for tokens; leads back to the page that asked."""
    user = request.user
    assert isinstance(user, User)
    form = CodeForm(request.POST or None)
    asked = request.POST.get("next", request.GET.get("next", ""))
    level = _level(request)
    if request.method == "POST" and form.is_valid():
        try:
            device = _prove(request, user, form)
            if not is_enough(device.level, level):
                raise proof.TooWeak("This is not strong enough for what you want to do. Use another of your factors.")
            proof.step_up(request, device)
            return redirect(safe_page(request, asked))
        except Refusal as refusal:
            form.add_error("code", refusal.detail)
    stands_on = getattr(user.otp_device, "level", "")  # type: ignore[attr-defined]
    least = max(level, stands_on, key=("", *LEVELS).index)
    begun = offered(request, least)
    provider = begun.identity.provider if begun else None
    page = {**_ways(request, user, least), "form": form, "next": asked, "level": level, "provider": provider}
    return render(request, "mfa/step_up.html", page, status=200 if not form.errors else 400)


def _level(request: HttpRequest) -> str:
    asked = request.POST.get("level", request.GET.get("level", ""))
    return asked if asked in LEVELS else ""


@public("the way in without a password: the passkey is both factors")
@sensitive_post_parameters("credential")
@require_POST
def sign_in_by_passkey(request: HttpRequest) -> HttpResponse:
    form = CodeForm(request.POST)
    try:
        passkey = passkeys.finish_use(request, None, form.data.get("credential", ""))
        if signs_in_elsewhere(passkey.user):
            raise services.WrongCode("Your account signs in through your organisation. Go back and use its button.")
    except Refusal as refusal:
        return render(request, "mfa/passkey_refused.html", {"detail": refusal.detail}, status=refusal.status)
    next_page = safe_page(request, request.POST.get("next", ""))
    proof.start_passkey_session(request, passkey)
    return redirect(next_page)


@public("hands out a challenge, which is worth nothing without a passkey")
@require_POST
def passkey_options(request: HttpRequest, use: str) -> HttpResponse:
    """What the browser hands to the authenticator: to make a passkey, or to use one."""
    if use == "new":
        user = enrolling(request)
        if isinstance(user, HttpResponse):
            return JsonResponse({"detail": "Sign in first."}, status=403)
        return JsonResponse(passkeys.begin_making(request, user)[1])
    if is_signed_in(request.user):
        who: Any = request.user
    else:
        who = pending_user(request) if use == "mine" else None
    return JsonResponse(passkeys.begin_use(request, who))


@public(HALFWAY)
@require_POST
def send_message(request: HttpRequest, channel: str) -> HttpResponse:
    """Send a code to one's own address, and go back to the page on which it is entered."""
    is_inside = is_signed_in(request.user)
    user = request.user if is_inside else pending_user(request)
    if not isinstance(user, User):
        return redirect("sign-in")
    device = MessageDevice.objects.filter(user=user, channel=channel, confirmed=True).first()
    if device is None:
        raise Http404
    try:
        messages.send_code(request, device)
        notes.info(request, f"A code was sent to {device.shown_address}. It is good for ten minutes.")
    except Refusal as refusal:
        notes.error(request, refusal.detail)
    asked = {"method": channel, "next": request.POST.get("next", ""), "level": request.POST.get("level", "")}
    return redirect(f"{resolve_url('step-up' if is_inside else 'second-step')}?{urlencode(asked)}")


# --- one's own factors --------------------------------------------------------------------------------------------


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
            proved = _prove(request, user, form)
            if not is_enough(proved.level, "otp"):
                raise proof.TooWeak("A code by message is not enough for new recovery codes.")
            return _show_codes(request, user, services.renew_codes(user), "my-security")
        except Refusal as refusal:
            form.add_error("code", refusal.detail)
    page = {**_ways(request, user, "otp"), "form": form, "left": services.codes_left(user), "next": "", "level": "otp"}
    return render(request, "mfa/renew_codes.html", page, status=200 if not form.errors else 400)


@guarded("me:update")
@require_http_methods(["GET", "POST"])
def remove_factor(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Ask, then take it off. Passkeys can be named anew here as well."""
    user = request.user
    assert isinstance(user, User)
    factor = next((factor for factor in services.factors_of(user) if factor.uid == uid), None)
    if factor is None:
        raise Http404
    proof.require_to_manage(request)
    problem = ""
    if request.method == "POST":
        try:
            proof.remove(request, factor)
            notes.success(request, f"“{factor.name}” was taken off your account.")
            return redirect("my-security")
        except Refusal as refusal:
            problem = refusal.detail
    page = {"factor": factor, "problem": problem, "is_passkey": isinstance(factor, Passkey)}
    return render(request, "mfa/remove.html", page, status=409 if problem else 200)


@guarded("me:update")
@require_POST
def rename_passkey(request: HttpRequest, uid: UUID) -> HttpResponse:
    passkey = Passkey.objects.filter(user=request.user.pk, uid=uid).first()
    form = CodeForm(request.POST)
    form.is_valid()
    if passkey is None:
        raise Http404
    name = form.cleaned_data.get("name", "")
    if name:
        services.rename(passkey, name)
    return redirect("my-security")
