"""No admin page shows a row, a choice, a filter value or an action on what its reader may not see.

Generated from the site's registry: Ulla is officer and administrator of the unit Alpha, and nothing of the unit Bravo
(nor of the organisation above both) may reach her.
"""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.text import slugify

from accounts.devices.models import Device
from accounts.mfa.models import FactorReset, MessageDevice, Passkey
from accounts.models import User
from accounts.notify import kinds
from accounts.notify.services import notify
from accounts.personal.models import Collection
from accounts.personal.services import set_own
from accounts.sso.models import ClaimRule, Identity, Provider
from accounts.sso.services import save_provider
from accounts.tokens.models import ServiceAccount
from accounts.tokens.service_accounts import create_service_account
from accounts.tokens.services import issue_token
from audit.models import AuditEntry
from compliance.models import Control, Framework
from compliance.services import evaluate
from opssight.kernel.admin import GuardedAdmin
from rbac.access.models import AccessTrace, FactorRule, Policy, Zone
from rbac.grants import grant_on_object
from rbac.models import DenyRule, Role, RoleAssignment, Unit
from rbac.services import assign_role, create_unit, root_unit, save_deny
from scanning.imports.models import Import
from scanning.models import Asset, Finding, Scan, Severity
from scanning.tools.models import Installation
from scanning.triage.models import BulkAction, Comment, Decision
from tests.conftest import enrolled, make_person, opened

SECRET = "bravo"  # stands in each text of an object that must stay out of sight


def asset(unit: Unit) -> Asset:
    return Asset.objects.create(name=f"asset {unit.name}", location=f"/srv/{unit.name}", unit=unit)


def scan(unit: Unit) -> Scan:
    return Scan.objects.create(asset=asset(unit), scanner="bandit", reason=unit.name)


def decision(unit: Unit) -> Decision:
    about = finding(unit)
    return Decision.objects.create(
        finding=about, asset=about.asset, status="accepted", was="open", reason=unit.name,
        decided_by=person(unit), until=timezone.now() + timedelta(days=9),
    )  # fmt: skip


def installation(unit: Unit) -> Installation:
    return Installation.objects.create(tool="bandit", version="1.9.4", state="failed", reason=unit.name)


def comment(unit: Unit) -> Comment:
    about = finding(unit)
    return Comment.objects.create(finding=about, asset=about.asset, author=person(unit), text=unit.name)


def finding(unit: Unit) -> Finding:
    run, now = scan(unit), timezone.now()
    return Finding.objects.create(
        asset=run.asset, scanner="bandit", fingerprint=unit.name, rule="B1", title=f"finding {unit.name}",
        severity=Severity.HIGH, path=f"{unit.name}.py", first_seen_at=now, last_seen_at=now, first_scan=run,
        last_scan=run, due_at=now + timedelta(days=1),
    )  # fmt: skip


def person(unit: Unit) -> User:
    return make_person(f"{unit.name}-person")


def assignment(unit: Unit) -> RoleAssignment:
    return assign_role(person(unit), "developer", reason=f"because {unit.name}", unit=unit)


def policy(unit: Unit) -> Policy:
    condition = {"fact": "weekday", "op": "in", "value": ["mon"]}
    return Policy.objects.create(
        name=f"policy {unit.name}", enabled=False, effect="deny", condition=condition, reason=unit.name
    )


def passkey(unit: Unit) -> Passkey:
    return Passkey.objects.create(
        user=person(unit), name=f"passkey {unit.name}", credential_id=unit.name.encode(), public_key=b""
    )


def message_device(unit: Unit) -> MessageDevice:
    device = MessageDevice(user=person(unit), name=f"message {unit.name}", channel="sms")
    device.address = "+4930901820"
    device.save()
    return device


def factor_rule(unit: Unit) -> FactorRule:
    role = Role.objects.create(key=f"ruled-{unit.name}", name=f"Ruled {unit.name}")
    return FactorRule.objects.create(role=role, level="otp")


def trace(unit: Unit) -> AccessTrace:
    return AccessTrace.objects.create(
        user=person(unit), permission="findings:read", outcome="deny", policy=f"policy {unit.name}", steps=[]
    )


def control(unit: Unit) -> Control:
    """One without a test, so that its result is an error."""
    return Control.objects.create(
        key=f"control.{unit.name}", title=f"Control {unit.name}", kind="config", weight=1, max_age_hours=1
    )


def provider(unit: Unit) -> Provider:
    slug = slugify(unit.name)
    if there := Provider.objects.filter(slug=slug).first():
        return there
    found = Provider(slug=slug, name=f"provider {unit.name}", issuer=f"https://{slug}.example", client_id="x")
    return save_provider(found, secret="x")


def identity(unit: Unit) -> Identity:
    there = provider(unit)
    found = Identity(user=person(unit), provider=there, name=there.name, issuer=there.issuer, subject=unit.name)
    found.claims = "{}"
    found.save()
    return found


def claim_rule(unit: Unit) -> ClaimRule:
    group, _ = Group.objects.get_or_create(name="Claimed")  # groups sit in no unit
    return ClaimRule.objects.create(provider=provider(unit), claim="groups", value=unit.name, group=group)


MAKE: dict[str, Callable[[Unit], Model]] = {
    "accounts.user": person,
    "tokens.token": lambda unit: issue_token(person(unit), name=f"token {unit.name}", scopes=["me:read"])[0],
    "tokens.serviceaccount": lambda unit: ServiceAccount.objects.get(
        pk=create_service_account(f"{unit.name}-robot@example.org", name=f"{unit.name} robot").pk
    ),
    "logins.login": lambda unit: opened(person(unit)),
    "notify.notice": lambda unit: notify(person(unit), kinds.PASSWORD, f"about {unit.name}", "text"),
    "personal.personaldetails": lambda unit: set_own(person(unit), phone_number="+49 30 901820"),
    "personal.collection": lambda unit: Collection.objects.create(name="ssn", enabled=False, reason=unit.name),
    "devices.device": lambda unit: Device.objects.create(
        user=person(unit), name=f"device {unit.name}", platform="linux", public_key=unit.name
    ),
    "mfa.totpdevice": lambda unit: enrolled(person(unit)),
    "mfa.passkey": passkey,
    "mfa.messagedevice": message_device,
    "mfa.factorreset": lambda unit: FactorReset.objects.create(user=person(unit), note=f"because {unit.name}"),
    "sso.provider": provider,
    "sso.identity": identity,
    "sso.claimrule": claim_rule,
    "auth.group": lambda unit: Group.objects.create(name=f"group {unit.name}"),
    "rbac.unit": lambda unit: create_unit(f"below {unit.name}", parent=unit),
    "rbac.role": lambda unit: Role.objects.create(key=f"role-{unit.name}", name=f"Role {unit.name}"),
    "rbac.roleassignment": assignment,
    "access.policy": policy,
    "access.factorrule": factor_rule,
    "access.zone": lambda unit: Zone.objects.create(name=f"zone-{unit.name}", networks=["10.0.0.0/8"]),
    "access.accesstrace": trace,
    "rbac.denyrule": lambda unit: save_deny(
        DenyRule(user=person(unit), permission="me:read", unit=unit, reason=f"because {unit.name}")
    ),
    "audit.auditentry": lambda unit: AuditEntry.objects.filter(object_pk=str(asset(unit).pk)).latest("id"),
    "compliance.framework": lambda unit: Framework.objects.create(key=unit.name, name=f"Framework {unit.name}"),
    "compliance.control": control,
    "compliance.result": lambda unit: evaluate(control(unit)),
    "scanning.asset": asset,
    "scanning.assetusergrant": lambda unit: grant_on_object(person(unit), "assets:read", asset(unit), reason=unit.name),
    "scanning.assetgroupgrant": lambda unit: grant_on_object(
        Group.objects.create(name="Leads"),
        "assets:read",
        asset(unit),
        reason=unit.name,  # groups sit in no unit
    ),
    "scanning.scan": scan,
    "imports.import": lambda unit: Import.objects.create(asset=asset(unit), digest="0" * 64),
    "scanning.finding": finding,
    "triage.decision": decision,
    "tools.installation": installation,
    "triage.comment": comment,
    "triage.bulkaction": lambda unit: BulkAction.objects.create(
        done_by=person(unit), kind="tag", word=unit.name[:30].lower(), changed=1
    ),
}
PAGES = list(admin.site._registry.values())


@pytest.fixture
def bravo(db: None) -> Unit:
    return create_unit(SECRET, parent=root_unit())


@pytest.fixture
def ulla(db: None, client_for) -> Client:
    user, alpha = make_person("Ulla"), create_unit("alpha", parent=root_unit())
    for role in ("officer", "administrator"):
        assign_role(user, role, reason="head of alpha", unit=alpha)
    return client_for(user, step_up=True)


def name_of(page: GuardedAdmin) -> str:
    return page.model._meta.label_lower


def url(page: GuardedAdmin, kind: str, *args: object) -> str:
    return reverse(f"admin:{page.model._meta.app_label}_{page.model._meta.model_name}_{kind}", args=args)


def test_each_registered_page_has_an_object_to_hide():
    assert {name_of(page) for page in PAGES} == MAKE.keys()


def refused(response, hidden: Model) -> None:
    """Not a word of it, whatever the answer is."""
    assert response.status_code in (200, 302, 403, 404)
    assert SECRET not in response.content.decode().lower()
    assert SECRET not in response.get("Location", "").lower()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_is_out_of_sight_stays_out_of_lists_searches_and_filters(page, ulla, bravo):
    hidden = MAKE[name_of(page)](bravo)
    relations = [item for item in page.list_filter if isinstance(item, str)]
    relations = [item for item in relations if page.model._meta.get_field(item).is_relation]
    queries = ["", "?q=asset", f"?q={hidden.pk}", f"?pk={hidden.pk}", f"?id__exact={hidden.pk}", "?p=1", "?all="]
    queries += [f"?{relation}__id__exact={getattr(hidden, relation).pk}" for relation in relations]
    for query in queries:
        refused(ulla.get(url(page, "changelist") + query, follow=True), hidden)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_is_out_of_sight_can_not_be_opened_changed_or_deleted(page, ulla, bravo):
    hidden = MAKE[name_of(page)](bravo)
    for kind in ("change", "delete", "history"):
        for response in (ulla.get(url(page, kind, hidden.pk)), ulla.post(url(page, kind, hidden.pk), {"post": "yes"})):
            refused(response, hidden)
    assert type(hidden)._default_manager.filter(pk=hidden.pk).exists()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_forms_offer_only_what_is_in_sight(page, ulla, bravo):
    MAKE[name_of(page)](bravo)
    make_person(f"{SECRET}-colleague")
    asset(create_unit(f"{SECRET} below", parent=bravo))
    response = ulla.get(url(page, "add"))
    assert response.status_code in (200, 403)
    assert SECRET not in response.content.decode().lower()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_actions_do_nothing_to_what_is_out_of_sight(page, ulla, bravo):
    hidden = MAKE[name_of(page)](bravo)
    told = AuditEntry.objects.exclude(event__in=["access:denied", "records:listed"])
    before = told.count()
    for action in ("delete_selected", *(page.actions or ())):
        data = {"action": action, "_selected_action": [hidden.pk], "index": "0", "post": "yes"}
        refused(ulla.post(url(page, "changelist"), data, follow=True), hidden)
    assert told.count() == before
    assert type(hidden)._default_manager.filter(pk=hidden.pk).exists()


def test_the_same_pages_do_show_what_is_in_sight(ulla, bravo):
    """So that the tests above can't pass for the wrong reason."""
    alpha = Unit.objects.get(name="alpha")
    for model, address in (
        (asset(alpha), "scanning_asset"),
        (finding(create_unit("alpha2", parent=alpha)), "scanning_finding"),
    ):
        page = ulla.get(reverse(f"admin:{address}_changelist")).content.decode()
        assert "alpha" in page
        assert ulla.get(reverse(f"admin:{address}_change", args=[model.pk])).status_code == 200


def test_an_action_works_on_what_is_in_sight(ulla):
    own = asset(Unit.objects.get(name="alpha"))
    ulla.post(
        reverse("admin:scanning_asset_changelist"), {"action": "scan", "_selected_action": [own.pk], "index": "0"}
    )
    assert Scan.objects.get().asset == own


def test_the_index_is_by_task_and_names_only_what_may_be_opened(ulla, olga, client_for):
    everything = client_for(olga, step_up=True).get("/admin/").content.decode()
    for heading in ("People", "Who may do what", "Code and findings", "Evidence"):
        assert heading in everything


def test_lists_are_walked_without_counting(olga, client_for, django_assert_max_num_queries):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    unit = root_unit()
    for number in range(120):
        Asset.objects.create(name=f"asset {number:03}", location=f"/srv/{number}", unit=unit)
    client, seen = client_for(olga, step_up=True), []
    address: str | None = reverse("admin:scanning_asset_changelist")
    while address:
        with CaptureQueriesContext(
            connection,
        ) as asked:
            page = client.get(address)
        assert "COUNT(" not in str(asked.captured_queries)
        seen += [row.name for row in page.context["cl"].result_list]
        older = page.context["cl"].older
        address = reverse("admin:scanning_asset_changelist") + older if older else None
    assert seen == [f"asset {number:03}" for number in range(120)]
    assert client.get(reverse("admin:scanning_asset_changelist") + "?p=nonsense").status_code == 302


def test_a_person_added_in_the_admin_gets_a_link_that_works(olga, client_for):
    client = client_for(olga, step_up=True)
    page = client.post(reverse("admin:accounts_user_add"), {"email": "New@Example.org", "name": "New"}, follow=True)
    assert User.objects.get(email="new@example.org").name == "New"
    import re

    link = re.search(r"http://localhost:8000(/set-up/[\w-]+)", page.content.decode())
    assert link is not None
    assert Client().get(link[1]).status_code == 200


def test_what_the_admin_changes_is_in_the_trail_and_the_console_is_one_click_away(olga, client_for):
    client, unit = client_for(olga, step_up=True), root_unit()
    client.post(reverse("admin:rbac_unit_change", args=[unit.pk]), {"name": "Halden Freight"})
    entry = AuditEntry.objects.filter(resource_type="rbac.unit", action=1).latest("id")
    assert (entry.actor_id, entry.changes["name"]) == (olga.pk, ["Organisation", "Halden Freight"])
    assert entry.request_id
    shown = finding(unit)
    page = client.get(reverse("admin:scanning_finding_change", args=[shown.pk])).content.decode()
    assert f"/findings/{shown.uid}" in page
    history = client.get(reverse("admin:rbac_unit_history", args=[unit.pk]))
    assert history["Location"] == f"/trail?resource_type=rbac.unit&resource_id={unit.uid}"


def test_step_up_leads_back_and_counts_for_a_while(olga, client_for):
    from tests.accounts.test_sign_in import code_for

    client, device = client_for(olga), enrolled(olga)
    assert client.get("/admin/")["Location"] == "/step-up?next=%2Fadmin%2F"
    assert client.post("/step-up", {"code": "000000", "next": "/admin/"}).status_code == 400
    from accounts.mfa.models import TOTPDevice

    TOTPDevice.objects.update(throttling_failure_count=0)
    assert client.post("/step-up", {"code": code_for(device), "next": "/admin/"})["Location"] == "/admin/"
    assert client.get("/admin/").status_code == 200
    assert client.post("/step-up", {"code": code_for(device, 1), "next": "//evil.example"})["Location"] == "/"
