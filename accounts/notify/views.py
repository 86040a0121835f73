from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from accounts.models import User
from accounts.notify import kinds, services
from opssight.kernel.guards import guarded


@guarded("me:update")
@require_POST
def set_preference(request: HttpRequest, kind: str) -> HttpResponse:
    """Turn one kind of mail off, or on again; the ones that warn of a stranger stay on."""
    assert isinstance(request.user, User)
    known = kinds.registry.get(kind)
    if known is None:
        raise Http404
    by_email = request.POST.get("by_email") == "on"
    try:
        services.set_preference(request.user, kind, by_email=by_email)
        messages.success(request, f"{known.says}: {'you get a mail' if by_email else 'no mail any more'}.")
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    return redirect("my-security")
