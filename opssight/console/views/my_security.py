from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from accounts.logins.models import Login
from accounts.mfa.models import RecoveryDevice, TOTPDevice
from accounts.mfa.services import CODES, codes_left
from accounts.models import User
from accounts.tokens.models import Token
from audit.models import AuditEntry
from opssight.kernel import events
from opssight.kernel.guards import guarded

SHOWN = 15
# What concerns one's own way in: also what others tried in one's name.
EVENTS = [name for name in events.registry if name.startswith(("sessions:", "mfa:", "setup:", "accounts:", "tokens:"))]


@guarded("me:read")
def my_security(request: HttpRequest) -> HttpResponse:
    """One's own, and nothing of anybody else: this page asks for no permission beyond one's own account."""
    user = request.user
    assert isinstance(user, User)
    app = TOTPDevice.objects.filter(user=user, confirmed=True).first()
    kit = RecoveryDevice.objects.filter(user=user).first()
    trail = AuditEntry.objects.all()
    mine = trail.about(user) | trail.by(user)
    for device in (app, kit):
        mine = mine | trail.about(device) if device else mine
    page = {
        "app": app,
        "left": codes_left(user),
        "codes": CODES,
        "sessions": list(Login.objects.open(at=timezone.now()).filter(user=user).order_by("-id")),
        "tokens": list(Token.objects.valid(at=timezone.now()).filter(user=user).order_by("-id")),
        "entries": list(mine.filter(event__in=EVENTS).select_related("personal").order_by("-id")[:SHOWN]),
    }
    return render(request, "console/my_security.html", page)
