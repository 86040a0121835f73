from celery import current_app
from django.contrib import messages
from django.contrib.auth import authenticate
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from accounts import pending, services
from accounts.forms import ChangePasswordForm, ForgottenForm, SetupForm, SignInForm
from accounts.models import User
from accounts.sso.models import Provider
from accounts.step_up import require_step_up_here
from opssight.kernel.guards import guarded, is_signed_in, public


@public("the way in")
@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    if is_signed_in(request.user):
        return redirect("overview")
    form = SignInForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        if services.is_spraying(request):
            return locked_out(request)
        user = authenticate(request, **form.cleaned_data)
        if isinstance(user, User):
            pending.remember(request, user, request.POST.get("next", ""))
            return redirect("second-step")
        form.add_error(None, "E-mail or password is not right.")
    page = {
        "form": form,
        "next": request.POST.get("next", request.GET.get("next", "")),
        "providers": Provider.objects.filter(is_enabled=True).order_by("name"),
    }
    return render(request, "accounts/sign_in.html", page, status=400 if form.errors else 200)


def locked_out(request: HttpRequest, response: HttpResponse | None = None, credentials: object = None) -> HttpResponse:
    """What django-axes answers in place of the page once an account and address have failed too often."""
    return render(request, "accounts/locked_out.html", status=429)


@public("whoever forgot the password has no session; it tells nobody whether there is an account")
@require_http_methods(["GET", "POST"])
def forgotten(request: HttpRequest) -> HttpResponse:
    """Ask for the link by e-mail. The work is a worker's, so that accounts can't be told by answer or by time."""
    form = ForgottenForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        if not services.may_ask_for_links(request):
            return render(request, "accounts/forgotten.html", {"form": form, "too_many": True}, status=429)
        asked = [form.cleaned_data["email"]]
        transaction.on_commit(lambda: current_app.send_task("accounts.tasks.send_reset_link", args=asked), robust=True)
        return render(request, "accounts/forgotten.html", {"sent_to": form.cleaned_data["email"]})
    return render(request, "accounts/forgotten.html", {"form": form}, status=400 if form.errors else 200)


@guarded("me:update")
@sensitive_post_parameters("old", "password", "again")
@require_http_methods(["GET", "POST"])
def change_password(request: HttpRequest) -> HttpResponse:
    """The old password and a fresh second factor; every other session ends."""
    require_step_up_here(request)
    user = request.user
    assert isinstance(user, User)
    form = ChangePasswordForm(request.POST or None, user=user)
    if request.method == "POST" and form.is_valid():
        if authenticate(request, username=user.email, password=form.cleaned_data["old"]) == user:
            services.change_own_password(request, user, form.cleaned_data["password"])
            messages.success(request, "Your password is changed, and all your other sessions are ended.")
            return redirect("my-security")
        form.add_error("old", "This is not the password you have now.")
    return render(request, "accounts/change_password.html", {"form": form}, status=400 if form.errors else 200)


@public("the one-time token in the address is the permission")
@sensitive_post_parameters("password", "again")
@require_http_methods(["GET", "POST"])
def set_up(request: HttpRequest, token: str) -> HttpResponse:
    """The first officer, or a person with a link, sets a password; the second factor follows at once."""
    try:
        link = services.find_setup_link(token)
    except services.LinkNotValid as refusal:
        return render(request, "accounts/link_not_valid.html", {"detail": refusal.detail}, status=refusal.status)
    form = SetupForm(request.POST or None, user=link.user)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        with transaction.atomic():
            user = link.user
            if user is None:
                user = services.create_account(data["email"], name=data["name"], password=data["password"])
            else:
                services.change_password(user, data["password"])
            services.use_setup_link(link, user)
        pending.remember(request, user)
        return redirect("enrol")
    return render(request, "accounts/set_up.html", {"form": form, "link": link}, status=400 if form.errors else 200)
