from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from accounts.tokens.models import Token
from accounts.tokens.services import revoke_token
from opssight.kernel.guards import guarded


@guarded("tokens:revoke")
@require_POST
def revoke(request: HttpRequest, uid: UUID) -> HttpResponse:
    """One of one's own, from My security. Taking a right away needs no second factor."""
    mine = Token.objects.permitted(request.user, "tokens:revoke").valid(at=timezone.now())
    token = get_object_or_404(mine, uid=uid)
    revoke_token(token)
    messages.success(request, f"The token {token.name} is no good any more.")
    return redirect("my-security")
