"""Ending sessions, and "this was not me"."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from accounts.logins import notices, services
from accounts.logins.models import Login
from accounts.models import User
from accounts.step_up import StepUpRequired, is_stepped_up
from opssight.kernel.actor import acting_as
from opssight.kernel.guards import guarded, public


@guarded("sessions:revoke")
@require_POST
def end_session(request: HttpRequest, uid: UUID) -> HttpResponse:
    """One of one's own, which may be this one."""
    mine = Login.objects.permitted(request.user, "sessions:revoke").open(at=timezone.now())
    login = get_object_or_404(mine, uid=uid)
    services.revoke([login])
    messages.success(request, f"The session on {login.device} is over.")
    return redirect("my-security")


@guarded("sessions:revoke")
@require_POST
def end_others(request: HttpRequest) -> HttpResponse:
    assert isinstance(request.user, User)
    login: Login | None = getattr(request, "login", None)
    ended = services.revoke(services.others(request.user, login).select_related("user"))
    messages.success(request, f"{ended} other session{'' if ended == 1 else 's'} ended. This one goes on.")
    return redirect("my-security")


@guarded("me:update")
@require_http_methods(["GET", "POST"])
def not_me(request: HttpRequest) -> HttpResponse:
    """For somebody who is signed in: with a fresh second factor, or a thief could shut the owner out."""
    assert isinstance(request.user, User)
    if not is_stepped_up(request):
        raise StepUpRequired("This needs your second factor again.")
    if request.method == "POST":
        return redirect(notices.disown(request.user))
    return render(request, "logins/not_me.html", {"account": request.user})


@public("the one-time token in the address is the permission")
@require_http_methods(["GET", "POST"])
def not_me_by_mail(request: HttpRequest, token: str) -> HttpResponse:
    """Opening it changes nothing: mail programs open links by themselves. Its button does."""
    try:
        login = notices.find(token)
        if request.method == "POST":
            with acting_as(login.user):
                return redirect(notices.disown_by_mail(token))
    except notices.NoticeNotValid as refusal:
        return render(request, "accounts/link_not_valid.html", {"detail": refusal.detail}, status=refusal.status)
    return render(request, "logins/not_me.html", {"account": login.user, "login": login})
