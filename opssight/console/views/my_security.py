from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.mfa.models import RecoveryDevice, TOTPDevice
from accounts.mfa.services import CODES, codes_left
from accounts.models import User
from audit.models import AuditEntry
from opssight.kernel import events
from opssight.kernel.guards import guarded

SHOWN = 15
# What concerns one's own way in: also what others tried in one's name.
EVENTS = [name for name in events.registry if name.startswith(("sessions:", "mfa:", "setup:", "accounts:"))]


@guarded("me:read")
def my_security(request: HttpRequest) -> HttpResponse:
    """One's own, and nothing of anybody else: this page asks for no permission beyond one's own account."""
    user = request.user
    assert isinstance(user, User)
    app = TOTPDevice.objects.filter(user=user, confirmed=True).first()
    kit = RecoveryDevice.objects.filter(user=user).first()
    trail = AuditEntry.objects.select_related("personal").named(EVENTS)
    # One by one, since an "or" is read off no index: the newest of each are enough.
    mine = [trail.by(user), *(trail.about(thing) for thing in (user, app, kit) if thing)]
    found = {entry.pk: entry for rows in mine for entry in rows[:SHOWN]}
    entries = sorted(found.values(), key=lambda entry: (entry.timestamp, entry.pk), reverse=True)
    page = {
        "app": app,
        "left": codes_left(user),
        "codes": CODES,
        "entries": entries[:SHOWN],
    }
    return render(request, "console/my_security.html", page)
