from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from accounts.devices.models import Device
from accounts.logins.models import Login
from accounts.mfa.messages import channels
from accounts.mfa.models import RecoveryDevice
from accounts.mfa.services import CODES, codes_left, factors_of
from accounts.models import User
from accounts.notify.services import preferences
from accounts.personal.services import collects_ssn, details_of
from accounts.sso.models import Identity, Provider
from accounts.tokens.models import Token
from audit.models import AuditEntry
from opssight.kernel import events
from opssight.kernel.access import factor_needed
from opssight.kernel.guards import guarded
from rbac.services import roles_of

SHOWN = 15
# What concerns one's own way in: also what others tried in one's name.
OWN_WAY_IN = ("sessions:", "mfa:", "setup:", "accounts:", "passwords:", "tokens:", "personal:", "sso:")
EVENTS = [name for name in events.registry if name.startswith(OWN_WAY_IN)]


@guarded("me:read")
def my_security(request: HttpRequest) -> HttpResponse:
    """One's own, and nothing of anybody else: this page asks for no permission beyond one's own account."""
    user = request.user
    assert isinstance(user, User)
    factors = factors_of(user)
    kit = RecoveryDevice.objects.filter(user=user).first()
    trail = AuditEntry.objects.select_related("personal").named(EVENTS)
    # One by one, since an "or" is read off no index: the newest of each are enough.
    mine = [trail.by(user), *(trail.about(thing) for thing in (user, kit, *factors) if thing)]
    found = {entry.pk: entry for rows in mine for entry in rows[:SHOWN]}
    entries = sorted(found.values(), key=lambda entry: (entry.timestamp, entry.pk), reverse=True)
    page = {
        "roles": roles_of(user),
        "factors": factors,
        "needed": factor_needed(user),
        "channels": channels(),
        "left": codes_left(user),
        "codes": CODES,
        "links": list(Identity.objects.filter(user=user).select_related("provider").order_by("pk")),
        "linkable": list(Provider.objects.filter(is_enabled=True).exclude(identities__user=user).order_by("name")),
        "sessions": list(Login.objects.open(at=timezone.now()).filter(user=user).order_by("-id")),
        "tokens": list(Token.objects.valid(at=timezone.now()).filter(user=user).order_by("-id")),
        "notices": preferences(user),
        "devices": list(Device.objects.in_use().filter(user=user).order_by("-id")),
        "details": details_of(user),
        "collects_ssn": collects_ssn(),
        "entries": entries[:SHOWN],
    }
    return render(request, "console/my_security.html", page)
