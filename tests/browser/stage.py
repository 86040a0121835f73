"""What tests arrange behind the scenes. Runs in the server's process, on its database; see server.py."""

import json
import secrets
from datetime import timedelta
from io import BytesIO
from ipaddress import ip_network
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.sessions.backends.db import SessionStore
from django.core.cache import cache
from django.utils import timezone
from django_otp import DEVICE_ID_SESSION_KEY

from accounts.devices.models import Device
from accounts.logins.models import Login
from accounts.logins.services import LOGIN
from accounts.mfa.models import MessageDevice, TOTPDevice
from accounts.models import User
from accounts.pending import KEY as PENDING
from accounts.pending import PATIENCE
from accounts.personal.models import Collection, PersonalDetails
from accounts.personal.services import set_own
from accounts.services import create_account, issue_setup_link
from accounts.sso.models import Identity, Provider
from accounts.tokens.services import issue_token
from audit.models import AuditEntry
from audit.sealing.sealer import seal
from audit.sealing.verification import verify_and_keep
from compliance.services import evaluate_all
from opssight.kernel.access import permissions
from opssight.kernel.crypto import keyed_hash
from opssight.settings.env import Outside
from rbac.models import Role, RoleAssignment
from rbac.role_book import save_role
from rbac.services import create_unit, root_unit
from scanning.imports.models import Import
from scanning.imports.services import import_report, undo
from scanning.inventory import create_asset
from scanning.models import Asset, Finding, Scan, ScanState, Severity, Status
from scanning.retired import retire
from scanning.schedules.models import Schedule
from scanning.schedules.services import save_schedule
from scanning.triage import comments, ownership
from scanning.triage import services as triage
from scanning.triage.models import Comment
from tests.accounts.sso.conftest import make_provider
from tests.architecture.test_admin_leaks import MAKE
from tests.conftest import PASSWORD, enrolled, make_person, opened
from tests.opssight.test_console import make_asset, make_findings, make_scan
from tests.rows import untold

ALL = "everything"


def seed() -> None:
    """An installation with something of everything. Olga may do all there is."""
    save_role(Role(key=ALL, name="Everything"), permissions=set(permissions()), parents=[])
    enrolled(make_person("Olga", ALL))
    enrolled(make_person("Eve"))
    now = timezone.now()
    scan = make_scan(make_asset("payments"), files_read=12, new=20, parts_total=4, parts_done=4)
    make_findings(scan, 2, Severity.CRITICAL, due_at=now - timedelta(hours=8), description="Long. " * 60)
    make_findings(scan, 6, Severity.HIGH, help_url="https://bandit.readthedocs.io/", cwe=78, confidence="high")
    make_findings(scan, 1, Severity.MEDIUM, title="Weak hash in the ledger", rule="B303", path="a" * 120 + ".py")
    make_findings(scan, 10, Severity.LOW)
    make_findings(scan, 2, Severity.LOW, status=Status.FIXED, fixed_at=now)
    errors = "\n".join(f"src/{n}.py: not read" for n in range(5))
    partly = make_scan(make_asset("ledger"), ScanState.COMPLETED_WITH_ERRORS, files_read=3, reason=errors)
    make_findings(partly, 1, Severity.INFO, code="")
    make_scan(make_asset("website"), ScanState.FAILED, reason="website does not exist. Nothing was closed.")
    make_scan(make_asset("mailer"), ScanState.NOT_INSTALLED, reason="bandit is not installed. Run: make install")
    make_scan(make_asset("archive"), at=now - timedelta(days=9), files_read=3)
    make_scan(make_asset("router"), files_read=4)
    make_asset("label-printer")
    reported(make_asset("reports"))
    _kinds()
    _talk_about(Finding.objects.filter(severity=Severity.CRITICAL).earliest("id"))
    evaluate_all()
    for page in admin.site._registry.values():
        if not page.model._default_manager.exists():
            unit = create_unit(f"with-{page.model._meta.model_name}", parent=root_unit())
            MAKE[page.model._meta.label_lower](unit)
    seal()
    verify_and_keep()


def _kinds() -> None:
    """What is not a folder, and when it is scanned."""
    git = {"location": "https://git.example/shop.git", "branch": "main", "username": "ci"}
    create_asset(kind="git", name="shop.git", unit=root_unit(), secret="hidden", **git)
    packed = create_asset(kind="archive", name="shop.zip", unit=root_unit(), location="")
    olga = User.objects.get(email="olga@example.org")
    save_schedule(Schedule(asset=packed), by=olga)
    save_schedule(Schedule(asset=packed, scanner="bandit", every="week", is_active=False), by=olga)
    retire(packed, "trivy", reason="Nothing of it is packed in an image. " * 9, by=olga)


def report(*findings: tuple[str, str], errors: Any = ()) -> BytesIO:
    """One of a tool of somebody's own: rule and severity of each finding."""
    found = [
        {"rule": rule, "title": f"{rule} in the shop", "severity": severity, "path": "shop/pay.py", "line": line}
        for line, (rule, severity) in enumerate(findings, 1)
    ]
    told = {"tool": "our-linter", "version": "2.1", "files": ["shop/pay.py"], "findings": found, "errors": errors}
    return BytesIO(json.dumps(told).encode())


def reported(asset: Asset) -> None:
    """Three imports: the second closed something, and the third was undone."""
    first, second = (("HTTP", "low"), ("XXE", "medium")), (("HTTP", "low"), ("RACE", "low"))
    for name, findings in (("monday.json", first), ("tuesday.json", second), ("wednesday.json", (("SSRF", "low"),))):
        diff = import_report(asset, report(*findings), name=name)
    assert diff.row
    undo(diff.row)


def _talk_about(found: Finding) -> None:
    olga = User.objects.get(email="olga@example.org")
    ownership.assign(found, olga, by=olga)
    ownership.retag(found, by=olga, add=["needs-review", "w" * 30])
    comments.comment(found, "Reachable from outside?\n\n" + "w" * 200, by=olga)
    triage.decide(found, "triaged", by=olga, reason="It is, through the proxy.")
    until = timezone.now() + timedelta(days=9)
    triage.decide(found, "accepted", by=olga, reason="The proxy goes next week.", until=until)


def objects() -> dict[str, Any]:
    """Of what a page needs one to show: by the address pattern; of scans by their state; of the admin by the model."""
    entry = AuditEntry.objects.filter(action=AuditEntry.Action.CREATE, resource_type="scanning.asset").latest("id")
    found, run = Finding.objects.filter(severity=Severity.CRITICAL).first(), Scan.objects.order_by("id").first()
    assert found
    assert run
    return {
        "findings/<uuid:uid>": str(found.uid),
        "findings/<uuid:uid>/decide": str(found.uid),
        "comments/<uuid:uid>/edit": str(Comment.objects.earliest("id").uid),
        "scans/<uuid:uid>": str(run.uid),
        "scans/<uuid:uid>/progress": str(run.uid),
        "assets/<uuid:uid>": str(Asset.objects.get(name="reports").uid),
        "assets/<uuid:uid>/change": str(Asset.objects.get(name="shop.git").uid),
        "assets/<uuid:uid>/upload": str(Asset.objects.get(name="shop.zip").uid),
        "assets/<uuid:uid>/schedules/new": str(Asset.objects.get(name="payments").uid),
        "imports/<uuid:uid>": str(Import.objects.get(name="tuesday.json").uid),
        "packed": str(Asset.objects.get(name="shop.zip").uid),
        "undone": {
            "import": str(Import.objects.get(name="wednesday.json").uid),
            "scan": str(Scan.objects.get(state=ScanState.UNDONE).uid),
        },
        "trail/<uuid:uid>": str(entry.uid),
        "compliance/<str:key>": "vuln.cadence",
        "personal-details/<uuid:uid>/reveal": str(PersonalDetails.objects.earliest("id").uid),
        "states": {scan.state: str(scan.uid) for scan in Scan.objects.order_by("-id")},
        "admin": {
            page.model._meta.label_lower: page.model._default_manager.order_by("pk").first().pk
            for page in admin.site._registry.values()
        },
    }


# --- people -------------------------------------------------------------------------------------------------------


def person(first: str, *roles: str) -> dict[str, Any]:
    """Somebody who has been through set-up: e-mail, password and the secret in their app."""
    user = make_person(first, *roles)
    return {"email": user.email, "password": PASSWORD, "secret": enrolled(user).secret}


def session(email: str, *, step_up: bool = True) -> str:
    """The cookie of somebody who is signed in with both factors."""
    user = User.objects.get(email=email)
    kept = SessionStore()
    kept.update(
        {
            "_auth_user_id": str(user.pk),
            "_auth_user_backend": "accounts.backends.PasswordBackend",
            "_auth_user_hash": user.get_session_auth_hash(),
            DEVICE_ID_SESSION_KEY: enrolled(user).persistent_id,
            LOGIN: str(opened(user, age=timedelta() if step_up else timedelta(hours=1)).uid),
        }
    )
    kept.create()
    return str(kept.session_key)


def halfway(first: str, *, is_enrolled: bool, is_readable: bool = True) -> str:
    """The cookie of somebody whose password was right and whose second step is ahead."""
    user = make_person(first)
    if is_enrolled:
        device = enrolled(user)
        if not is_readable:
            device.secret_encrypted = "v1.k1.AAAA"
            device.save(update_fields=["secret_encrypted"])
    kept = SessionStore()
    until = (timezone.now() + PATIENCE).timestamp()
    kept[PENDING] = {"user": user.pk, "epoch": user.auth_epoch, "until": until, "next": ""}
    kept.create()
    return str(kept.session_key)


def half_a_minute_passes(email: str) -> None:
    """As far as the account's app can tell: the code that it shows now was not used yet."""
    TOTPDevice.objects.filter(user__email=email).update(last_step=-1)


def steps_up_long_ago(email: str) -> None:
    """As far as the account's sessions can tell."""
    Login.objects.filter(user__email=email).update(stepped_up_at=timezone.now() - timedelta(hours=1))


def signed_in_elsewhere(email: str) -> str:
    """The link of the mail about a sign-in on a device that was not seen before."""
    login, token = opened(User.objects.get(email=email)), secrets.token_urlsafe(32)
    login.is_new_device, login.user_agent = True, "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko Firefox/128.0"
    login.address, login.notice_hash = "203.0.113.9", keyed_hash("sign-in-notice", token)
    login.save()
    return f"/not-me/{token}"


def has_a_token(email: str) -> None:
    issue_token(User.objects.get(email=email), name="ci", scopes=["me:read"])


def has_everything(email: str) -> str:
    """My security with all there can be: long names, every state of a device, numbers, a factor that can't be read.
    Returns the uid of the personal details."""
    user = User.objects.get(email=email)
    user.name = "Wilhelmina-Alexandrina von Hohenstaufen-Donaudampfschifffahrtsgesellschaft " + "x" * 40
    user.save(update_fields=["name"])
    now, long = timezone.now(), "laptop-of-the-department-of-everything-" + "w" * 41
    sound = dict.fromkeys(Device.CHECKS, True)
    for n, posture in enumerate([{}, sound, sound | {"firewall": False, "disk_encryption": False}]):
        at = now if posture else None
        version = "6.1.0-18-amd64-and-more" * 2 if posture else ""
        key = f"{email}{n}"[:43]
        Device.objects.create(
            user=user, name=long, platform="linux", public_key=key, os_version=version, reported_at=at, **posture
        )
    message = MessageDevice(user=user, name="text message", channel="sms")
    message.address = "+4930901820"
    message.save()
    message.address_encrypted = "v1.k1.AAAA"
    message.save()
    issue_token(user, name="t" * 80, scopes=["me:read", "me:update"])
    collection = Collection.objects.filter(name="ssn").first() or Collection(name="ssn", reason="Payroll law")
    collection.enabled = True
    collection.save()
    there = Provider.objects.get(slug="with-provider")
    link = Identity(user=user, provider=there, name=there.name, issuer=there.issuer, subject=email + "s" * 60)
    link.claims = "{}"
    link.save()
    return str(set_own(user, phone_number="+49 30 901844", ssn="65070803F018").uid)


def before_its_first_person() -> str:
    """The link of a new installation. Until `after_its_first_person`, nobody there was before holds any role."""
    with untold():
        RoleAssignment.objects.update(valid_from=timezone.now() + timedelta(days=1))
    return issue_setup_link()


def after_its_first_person() -> None:
    with untold():
        RoleAssignment.objects.update(valid_from=timezone.now() - timedelta(days=1))


def link_for(first: str) -> str:
    """The link of somebody whose account was made by another."""
    return issue_setup_link(create_account(f"{first.lower()}@example.org", name=first))


def knows_provider(issuer: str) -> None:
    """A real one on loopback, as the row `real`."""
    settings.OUTGOING_ALLOW = Outside(networks=(ip_network("127.0.0.0/8"),), hosts=frozenset())
    make_provider(
        issuer, slug="real", name="Real ID", domains=["example.org"], creates_accounts=True,
        factor_level="otp", factor_values=["mfa"],
    )  # fmt: skip


def rates_begin_anew() -> None:
    cache.clear()


# --- a scan, as its worker would move it --------------------------------------------------------------------------


def queue_scan(asset: str) -> str:
    return str(Scan.objects.create(asset=make_asset(asset), scanner="bandit").uid)


def make_queue(asset: str, findings: int) -> str:
    """An asset of its own with so many open findings; its uid."""
    scan = make_scan(make_asset(asset))
    make_findings(scan, findings, Severity.HIGH)
    return str(scan.asset.uid)


def states_of(asset: str) -> list[str]:
    return list(Finding.objects.filter(asset__uid=asset).order_by("id").values_list("status", flat=True))


def start_scan(uid: str, *, parts: int) -> None:
    scan = Scan.claim(Scan.objects.get(uid=uid).pk)
    assert scan
    scan.hold(parts_total=parts, scanner_version="1.9.0")


def read_part(uid: str, *, name: str, new: int) -> None:
    scan = Scan.objects.get(uid=uid)
    make_findings(scan, new, Severity.HIGH, title=f"Something in {name}")
    done, files = scan.parts_done + 1, scan.files_read + 5
    scan.hold(part=name, parts_done=done, files_read=files, new=scan.new + new)


def finish_scan(uid: str) -> None:
    scan = Scan.objects.get(uid=uid)
    (Scan.claim(scan.pk) or scan).finish(ScanState.COMPLETED, part="")


# --- rows, as the tests look at them ------------------------------------------------------------------------------


def counted() -> dict[str, int]:
    found = Finding.objects.all()
    return {
        "unresolved": found.unresolved().count(),
        "critical": found.unresolved().filter(severity=Severity.CRITICAL).count(),
        "fixed": found.filter(status=Status.FIXED).count(),
    }


def roles_of(email: str) -> list[str]:
    return sorted(RoleAssignment.objects.filter(user__email=email).values_list("role__key", flat=True))


def events_of(email: str) -> list[str]:
    """What the account did, oldest first."""
    user = User.objects.get(email=email)
    return [entry.what for entry in AuditEntry.objects.by(user).order_by("id")]


def newest_entry(asset: str) -> dict[str, Any]:
    entry = AuditEntry.objects.about(Asset.objects.get(name=asset)).latest("id")
    return {"what": entry.what, "actor": entry.actor.email}
