from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from accounts.models import User
from accounts.step_up import require_step_up_here
from accounts.tokens.forms import NewTokenForm
from accounts.tokens.models import Token
from accounts.tokens.services import NotIssued, issue_token, revoke_token
from opssight.kernel.access import decide, permissions
from opssight.kernel.guards import guarded


@guarded("tokens:create")
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """Make a token of one's own, with a fresh second factor. Its text is in this answer only."""
    require_step_up_here(request)
    user = request.user
    assert isinstance(user, User)
    held = [name for name in permissions() if decide(user, name).allowed]
    form = NewTokenForm(request.POST or None, held=held)
    if request.method == "POST" and form.is_valid():
        try:
            token, text = issue_token(user, **form.cleaned_data)
        except NotIssued as refusal:
            form.add_error(None, refusal.detail)
        else:
            return render(request, "tokens/made.html", {"token": token, "text": text})
    return render(request, "tokens/new.html", {"form": form}, status=400 if form.errors else 200)


@guarded("tokens:revoke")
@require_POST
def revoke(request: HttpRequest, uid: UUID) -> HttpResponse:
    """One of one's own, from My security. Taking a right away needs no second factor."""
    mine = Token.objects.permitted(request.user, "tokens:revoke").valid(at=timezone.now())
    token = get_object_or_404(mine, uid=uid)
    revoke_token(token)
    messages.success(request, f"The token {token.name} is no good any more.")
    return redirect("my-security")
