"""Through every door: what policies refuse, ask for and leave alone, and what is written about it."""

import ipaddress
import json
import logging
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from django.db import connection
from django.db.models import JSONField, Value
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.logins.models import Login
from accounts.logins.services import LOGIN
from accounts.mfa.models import TOTPDevice
from audit.models import AuditEntry
from opssight.kernel import access, facts
from opssight.kernel.actor import ActorMiddleware, acting_as
from rbac.access import services
from rbac.access.gate import gate, load
from rbac.access.models import AccessTrace, Policy, Zone
from rbac.models import RoleAssignment
from rbac.services import assign_role, create_unit, root_unit
from scanning.models import Asset, Finding, Scan
from tests.accounts.test_sign_in import code_for
from tests.conftest import enrolled, make_person
from tests.opssight.test_console import make_asset, make_findings, make_scan, text
from tests.rbac.access.conftest import ALWAYS, AWAY, IN_OFFICE, NEVER, OFFICE, UNKNOWN, make_policy
from tests.rows import untold

JSON_NULL = Value(None, JSONField())


@pytest.fixture
def rows(db) -> list[Finding]:
    return make_findings(make_scan(make_asset()), 3)


def proved(client: Client, seconds_ago: int) -> None:
    at = timezone.now() - timedelta(seconds=seconds_ago)
    Login.objects.filter(uid=client.session[LOGIN]).update(stepped_up_at=at)


# --- every door ---


def doors(olga, client_for, token):
    """Each way to the findings, as a function that asks from an address."""
    browser, machine = client_for(olga, step_up=True), token(olga)
    admin = reverse("admin:scanning_finding_changelist")
    return {
        "page": lambda address: browser.get("/findings", REMOTE_ADDR=address),
        "session": lambda address: browser.get("/api/v1/findings", REMOTE_ADDR=address),
        "token": lambda address: machine.client.get("/api/v1/findings", REMOTE_ADDR=address),
        "admin": lambda address: browser.get(admin, REMOTE_ADDR=address),
    }


@pytest.mark.parametrize("door", ["page", "session", "token", "admin"])
@pytest.mark.parametrize("effect", ["deny", "allow"])
def test_every_door_is_gated_and_the_next_request_sees_a_change(door, effect, olga, client_for, token, rows, office):
    ask = doors(olga, client_for, token)[door]
    assert ask(AWAY).status_code == 200
    condition = {"not": IN_OFFICE} if effect == "deny" else IN_OFFICE
    policy = make_policy("findings:read", effect, condition)
    refused = ask(AWAY)
    assert refused.status_code == 403
    assert "Only from the office." in refused.content.decode()
    assert rows[0].title not in refused.content.decode()
    assert ask(OFFICE).status_code == 200
    assert ask("2001:db8:1::5").status_code == 200

    office.networks = ["192.0.2.0/24"]
    services.save_zone(office)
    assert ask(OFFICE).status_code == 403
    policy.enabled = False
    services.save_policy(policy)
    assert ask(AWAY).status_code == 200


def test_what_the_api_says_of_a_refusal(olga, token, office):
    make_policy("findings:read", "deny", {"not": IN_OFFICE}, name="Office only")
    response = token(olga)("GET", "/findings")
    body = response.json()
    assert response["Content-Type"] == "application/problem+json"
    assert (body["status"], body["detail"]) == (403, "Only from the office.")
    assert (body["policy"], body["missing_permission"]) == ("Office only", "findings:read")
    assert "step_up" not in body


def test_the_zone_is_that_of_the_client_behind_trusted_proxies_only(olga, token, office, settings):
    make_policy("findings:read", "deny", {"not": IN_OFFICE})
    client = token(olga).client

    def ask(peer: str, claim: str) -> int:
        return client.get("/api/v1/findings", REMOTE_ADDR=peer, headers={"x-forwarded-for": claim}).status_code

    assert ask(AWAY, OFFICE) == 403  # a claim that nobody vouches for
    settings.TRUSTED_PROXIES = [ipaddress.ip_network("192.0.2.1/32")]
    assert ask("192.0.2.1", OFFICE) == 200
    assert ask("192.0.2.1", AWAY) == 403
    assert ask("192.0.2.1", f"{OFFICE}, {AWAY}") == 403  # the client's own claim, further left
    assert ask("192.0.2.1", f"{AWAY}, {OFFICE}") == 200
    assert ask(AWAY, f"{OFFICE}, 192.0.2.1") == 403
    assert ask("::ffff:10.1.2.3", "") == 200  # a mapped address is its IPv4 address


@pytest.mark.parametrize("header", ["", " , ", "unknown", "10.1.2.3:80", f"{OFFICE}, nonsense"])
def test_a_silent_proxy_does_not_lend_its_own_address(header, olga, token, office, settings):
    """Some proxies drop the header when the client names it in Connection; the proxy itself stands in the office."""
    make_policy("findings:read", "deny", {"not": IN_OFFICE})
    settings.TRUSTED_PROXIES = [ipaddress.ip_network("10.0.0.1/32")]
    client, headers = token(olga).client, {"x-forwarded-for": header} if header else {}
    assert client.get("/api/v1/findings", REMOTE_ADDR="10.0.0.1", headers=headers).status_code == 403
    assert client.get("/api/v1/findings", REMOTE_ADDR="10.0.0.2").status_code == 200
    settings.TRUSTED_PROXIES = [ipaddress.ip_network("10.0.0.0/8")]  # the clients stand among the proxies
    headers = {"x-forwarded-for": OFFICE}
    assert client.get("/api/v1/findings", REMOTE_ADDR="10.0.0.1", headers=headers).status_code == 200


def test_without_an_address_the_zone_is_missing_and_refuses(olga, token, office):
    make_policy("findings:read", "deny", IN_OFFICE)
    assert token(olga).client.get("/api/v1/findings", REMOTE_ADDR="").status_code == 403
    assert "zone" in AccessTrace.objects.get().steps[0]["nodes"][0]["fact"]


@pytest.mark.parametrize(("effect", "status"), [("deny", 403), ("allow", 403), ("require_step_up", 302)])
def test_a_missing_fact_counts_against_the_request(effect, status, olga, client_for, monkeypatch):
    client = client_for(olga)
    make_policy("findings:read", effect, UNKNOWN)
    assert client.get("/findings").status_code == status
    monkeypatch.setattr(facts, "_providers", {**facts._providers, "risk_score": lambda request: 90})
    assert client.get("/findings").status_code == (200 if effect == "allow" else status)
    monkeypatch.setattr(facts, "_providers", {**facts._providers, "risk_score": lambda request: 10})
    assert client.get("/findings").status_code == (403 if effect == "allow" else 200)


def test_a_person_is_told_what_is_not_known(olga, client_for):
    make_policy("findings:read", "deny", UNKNOWN)
    page = client_for(olga).get("/findings")
    assert "Only from the office. (Not known here: risk_score.)" in text(page)


@pytest.mark.parametrize(
    ("covers", "findings", "scans", "trail"),
    [
        ("*:*", 403, 403, 403),
        ("*:read", 403, 403, 403),
        ("findings:*", 403, 200, 200),
        ("findings:read", 403, 200, 200),
        ("scans:read", 200, 403, 200),
        ("findings:triage", 200, 200, 200),
    ],
)
def test_what_a_policy_covers(covers, findings, scans, trail, olga, client_for):
    make_policy(covers, "deny", ALWAYS)
    client = client_for(olga)
    assert [client.get(page).status_code for page in ("/findings", "/scans", "/trail")] == [findings, scans, trail]


def test_policies_never_give(eve, olga, client_for):
    for effect in ("allow", "deny", "require_step_up"):
        make_policy("*:*", effect, ALWAYS if effect == "allow" else NEVER)
    response = client_for(eve).get("/findings")
    assert response.status_code == 403
    assert "permission findings:read" in text(response)
    assert client_for(olga).get("/findings").status_code == 200


def test_one_allow_policy_that_holds_is_enough_and_deny_beats_it(olga, client_for):
    client = client_for(olga)
    make_policy("findings:read", "allow", NEVER, name="never")
    assert client.get("/findings").status_code == 403
    make_policy("*:*", "allow", ALWAYS, name="always")
    assert client.get("/findings").status_code == 200
    make_policy("findings:read", "require_step_up", ALWAYS, name="ask")
    assert client.get("/findings").status_code == 302
    make_policy("findings:*", "deny", ALWAYS, name="deny")
    assert client.get("/findings").status_code == 403


def test_time_and_weekday_are_utc(olga, client_for, monkeypatch):
    client = client_for(olga)
    working = {
        "all": [
            {"fact": "weekday", "op": "in", "value": ["mon", "tue", "wed", "thu", "fri"]},
            {"fact": "time", "op": "between", "value": ["08:00", "18:00"]},
        ]
    }
    make_policy("findings:read", "allow", working)
    for moment, status in [
        (datetime(2026, 11, 24, 7, 59, tzinfo=UTC), 403),  # a Tuesday
        (datetime(2026, 11, 24, 8, 0, tzinfo=UTC), 200),
        (datetime(2026, 11, 24, 18, 0, tzinfo=UTC), 403),
        (datetime(2026, 11, 22, 12, 0, tzinfo=UTC), 403),  # a Sunday
    ]:
        clock = SimpleNamespace(now=lambda moment=moment: moment)
        monkeypatch.setattr("rbac.access.facts.timezone", clock)
        assert client.get("/findings").status_code == status
        monkeypatch.undo()


def test_the_kind_of_account_and_of_factor(olga, dev, client_for, token):
    make_policy("findings:read", "deny", {"fact": "factor", "op": "below", "value": "otp"}, name="people only")
    assert client_for(olga).get("/findings").status_code == 200
    assert client_for(olga).get("/api/v1/findings").status_code == 200
    assert token(olga)("GET", "/findings").status_code == 403
    Policy.objects.get().delete()
    make_policy("findings:read", "deny", {"fact": "account_kind", "op": "in", "value": ["service"]}, name="no services")
    assert token(dev)("GET", "/findings").status_code == 200
    dev.kind = "service"
    dev.save()
    assert token(dev)("GET", "/findings").status_code == 403


# --- what stays open ---


def test_ones_own_account_sign_out_and_step_up_stay_open(eve, olga, client_for):
    for effect in ("deny", "require_step_up"):
        make_policy("*:*", effect, ALWAYS)
    make_policy("*:*", "allow", NEVER)
    for person in (eve, olga):
        client = client_for(person)
        for page in ("/my-security", "/step-up", "/my-security/recovery-codes", "/api-guide", "/api/v1/me"):
            assert client.get(page).status_code == 200, page
        assert client.get("/")["Location"] == "/my-security"
        assert client.post("/sign-out").status_code == 302
    assert Client().get("/sign-in").status_code == 200


@pytest.mark.parametrize("covers", ["me:read", "me:*", "me:update"])
def test_no_policy_covers_ones_own_account(covers, db):
    from django.core.exceptions import ValidationError
    from django.db import IntegrityError, transaction

    with pytest.raises(ValidationError, match="own account"):
        make_policy(covers, "deny", ALWAYS)
    with pytest.raises(IntegrityError), transaction.atomic():
        Policy.objects.create(name="x", resource="me", action="*", effect="deny", condition=ALWAYS, reason="x")


def test_signing_in_is_not_gated(olga, office):
    from tests.conftest import PASSWORD

    make_policy("*:*", "deny", {"not": IN_OFFICE})
    device, client = enrolled(olga), Client(REMOTE_ADDR=AWAY)
    assert client.post("/sign-in", {"username": olga.email, "password": PASSWORD}).status_code == 302
    assert client.post("/sign-in/second-step", {"code": code_for(device)}).status_code == 302
    assert client.get("/my-security").status_code == 200
    assert client.get("/findings").status_code == 403


def test_outside_a_request_nothing_is_gated_and_about_others_nothing_is_said(olga, dev, rows):
    make_policy("*:*", "deny", ALWAYS)
    assert access.decide(olga, "findings:read").allowed
    assert Finding.objects.permitted(olga, "findings:read").count() == 3
    with acting_as(olga):
        assert access.decide(olga, "findings:read").allowed
    answers = {}

    def ask(request):
        for person in (olga, dev):
            answers[person.email] = access.decide(person, "findings:read").allowed
        from django.http import HttpResponse

        return HttpResponse()

    from django.test import RequestFactory

    request = RequestFactory().get("/")
    request.user = olga
    ActorMiddleware(ask)(request)
    assert answers == {olga.email: False, dev.email: True}
    assert gate(olga, "findings:read").allowed  # the request is over


# --- lists that stand beside ---


def test_lists_beside_the_page_are_empty_too(olga, client_for, rows, office):
    make_policy("findings:read", "deny", {"not": IN_OFFICE}, name="findings in the office")
    make_policy("trail:read", "deny", {"not": IN_OFFICE}, name="trail in the office")
    client, run = client_for(olga, step_up=True), Scan.objects.get()
    here = text(client.get("/", REMOTE_ADDR=OFFICE))
    assert "Open findings" in here
    for page in ("/scans", f"/scans/{run.uid}"):
        away = client.get(page, REMOTE_ADDR=AWAY)
        assert away.status_code == 200
        assert rows[0].title not in away.content.decode()
    assert "may not read findings now" in text(client.get(f"/scans/{run.uid}", REMOTE_ADDR=AWAY))
    assert rows[0].title in client.get(f"/scans/{run.uid}", REMOTE_ADDR=OFFICE).content.decode()


def test_the_two_forms_agree_in_a_request(olga, rows, office):
    make_policy("findings:read", "deny", {"not": IN_OFFICE})
    seen = {}

    def ask(request):
        from django.http import HttpResponse

        listed = set(Finding.objects.permitted(request.user, "findings:read"))
        decided = {row for row in rows if access.decide(request.user, "findings:read", row).allowed}
        seen[request.META["REMOTE_ADDR"]] = (len(listed), len(decided))
        return HttpResponse()

    from django.test import RequestFactory

    for address in (OFFICE, AWAY):
        request = RequestFactory().get("/", REMOTE_ADDR=address)
        request.user = olga
        ActorMiddleware(ask)(request)
    assert seen == {OFFICE: (3, 3), AWAY: (0, 0)}


# --- step-up ---


def test_a_page_asks_for_the_factor_again_and_leads_back(olga, client_for, rows):
    make_policy("findings:read", "require_step_up", ALWAYS, name="fresh", reason="Findings need a fresh code.")
    client, device = client_for(olga), enrolled(olga)
    asked = client.get("/findings?status=any")
    assert asked["Location"] == "/step-up?next=%2Ffindings%3Fstatus%3Dany"
    back = client.post("/step-up", {"code": code_for(device), "next": "/findings?status=any"})
    assert back["Location"] == "/findings?status=any"
    assert rows[0].title in client.get("/findings").content.decode()
    proved(client, 14 * 60 + 55)
    assert client.get("/findings").status_code == 200
    proved(client, 15 * 60)
    assert client.get("/findings").status_code == 302
    entry = AuditEntry.objects.filter(event="access:step_up_asked").earliest("id")
    assert (entry.actor_id, entry.details) == (olga.pk, {"permission": "findings:read", "policy": "fresh"})
    assert not AuditEntry.objects.filter(event="access:denied").exists()


def test_while_it_is_unmet_lists_are_empty_and_the_rail_still_leads_there(olga, client_for, rows):
    make_policy("findings:read", "require_step_up", ALWAYS)
    client, run = client_for(olga), Scan.objects.get()
    page = client.get(f"/scans/{run.uid}")
    assert rows[0].title not in page.content.decode()
    assert 'href="/findings"' in page.content.decode()
    assert 'id="count-findings"' not in page.content.decode()
    assert "Open findings" not in text(client.get("/"))
    proved(client, 0)
    assert rows[0].title in client.get(f"/scans/{run.uid}").content.decode()
    assert 'id="count-findings"' in client.get("/").content.decode()


def test_the_api_says_where_to_step_up_and_a_token_never_can(olga, client_for, token):
    make_policy("findings:read", "require_step_up", ALWAYS, name="fresh", reason="Findings need a fresh code")
    session = client_for(olga).get("/api/v1/findings")
    assert (session.status_code, session["Content-Type"]) == (403, "application/problem+json")
    assert session.json()["step_up"] == "/step-up"
    assert session.json()["detail"].endswith("Findings need a fresh code. Open /step-up, then repeat the request.")
    machine = token(olga)("GET", "/findings")
    assert (machine.status_code, machine.json()["step_up"]) == (403, "/step-up")
    assert "no token can" in machine.json()["detail"]
    assert client_for(olga, step_up=True).get("/api/v1/findings").status_code == 200
    assert [trace.outcome for trace in AccessTrace.objects.all()] == ["step_up"] * 2


def test_forms_and_fragments_lead_to_the_page_they_stand_on(olga, client_for, rows):
    make_policy("scans:create", "require_step_up", ALWAYS)
    make_policy("findings:read", "require_step_up", ALWAYS)
    client, run = client_for(olga), Scan.objects.get()
    page = f"/scans/{run.uid}"
    posted = client.post(f"/assets/{run.asset.uid}/scan", headers={"referer": f"http://localhost:8000{page}"})
    assert posted["Location"] == f"/step-up?next=http%3A%2F%2Flocalhost%3A8000%2Fscans%2F{run.uid}"
    assert client.post(f"/assets/{run.asset.uid}/scan")["Location"] == "/step-up?next="
    headers = {"hx-request": "true", "hx-current-url": "http://testserver/findings?q=x"}
    fragment = client.get(f"/findings/{rows[0].uid}", headers=headers)
    assert fragment["HX-Redirect"] == "/step-up?next=%2Ffindings%3Fq%3Dx"
    assert rows[0].title not in fragment.content.decode()
    assert Scan.objects.count() == 1


def test_the_admin_asks_too(olga, client_for):
    make_policy("admin:enter", "require_step_up", ALWAYS)
    assert client_for(olga).get("/admin/")["Location"] == "/step-up?next=%2Fadmin%2F"
    assert client_for(olga, step_up=True).get("/admin/").status_code == 200


def test_a_condition_on_the_age_of_the_factor(olga, client_for):
    make_policy("findings:read", "deny", {"fact": "factor_age", "op": "older_than", "value": 3600})
    client = client_for(olga)
    proved(client, 3590)
    assert client.get("/findings").status_code == 200
    proved(client, 3610)
    assert client.get("/findings").status_code == 403


def test_an_old_second_factor_device_is_no_factor(olga, client_for):
    """A session whose device is gone is half signed in, and reaches nothing at all."""
    client = client_for(olga)
    TOTPDevice.objects.all().delete()
    assert client.get("/findings")["Location"].startswith("/sign-in")


# --- traces ---


def test_a_refusal_leaves_its_trace_and_an_allowed_request_none(olga, token, office):
    make_policy("findings:read", "deny", {"not": IN_OFFICE}, name="Office only")
    make_policy("findings:read", "deny", NEVER, name="another")
    machine = token(olga)
    assert machine.client.get("/api/v1/findings", REMOTE_ADDR=OFFICE).status_code == 200
    assert not AccessTrace.objects.exists()
    refused = machine.client.get("/api/v1/findings", REMOTE_ADDR=AWAY)
    trace = AccessTrace.objects.get()
    assert (trace.user, trace.permission, trace.outcome, trace.policy) == (olga, "findings:read", "deny", "Office only")
    assert (trace.request_id, trace.address) == (refused["X-Request-ID"], AWAY)
    assert [(step["policy"], step["effect"], step["result"]) for step in trace.steps] == [("Office only", "deny", True)]
    assert trace.steps[0]["nodes"] == [
        {"path": "not", "op": "not", "result": True},
        {"path": "not", "op": "in", "fact": "zone", "value": ["office"], "found": [], "result": False},
    ]
    entry = AuditEntry.objects.get(event="access:denied")
    assert (entry.request_id, entry.success, entry.error_message) == (trace.request_id, False, "Only from the office.")
    assert entry.details == {"permission": "findings:read", "policy": "Office only"}


def test_a_trace_outlives_the_rollback(olga, token, client_for):
    """The service asks inside its transaction; page and API answer after it."""
    asset = make_asset()
    make_policy("scans:create", "deny", ALWAYS)
    assert client_for(olga).post(f"/assets/{asset.uid}/scan").status_code == 403
    assert token(olga)("POST", "/scans", {"asset": str(asset.uid)}).status_code == 403
    assert [trace.permission for trace in AccessTrace.objects.all()] == ["scans:create"] * 2
    assert not Scan.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_refusal_inside_a_real_transaction_is_recorded_after_it(olga, client_for, monkeypatch):
    """The service wrote a row and then asked: the row is gone, the trace and the entry are there."""
    from django.db import transaction

    asset = make_asset()
    make_policy("scans:create", "deny", ALWAYS)

    @transaction.atomic
    def request_scans(asset, scanners, by):
        scan = Scan.objects.create(asset=asset, scanner="bandit")
        access.check(by, "scans:create", scan)
        return scan

    client = client_for(olga)
    monkeypatch.setattr("opssight.console.views.scans.request_scans", request_scans)
    monkeypatch.setattr("opssight.kernel.guards.check", lambda *args: None)  # past the door, to the service
    assert client.post(f"/assets/{asset.uid}/scan").status_code == 403
    assert not Scan.objects.exists()
    assert AccessTrace.objects.get().permission == "scans:create"
    assert AuditEntry.objects.filter(event="access:denied").count() == 1


def test_a_refusal_by_roles_leaves_no_trace(eve, client_for):
    make_policy("*:*", "deny", ALWAYS)
    assert client_for(eve).get("/findings").status_code == 403
    assert not AccessTrace.objects.exists()
    assert AuditEntry.objects.get(event="access:denied").details == {"permission": "findings:read"}


def test_the_admin_leaves_traces_and_entries_as_well(olga, dev, client_for, office):
    make_policy("assets:read", "deny", {"not": IN_OFFICE}, name="Office only")
    make_policy("assets:create", "deny", {"not": IN_OFFICE}, name="No new ones from outside")
    make_policy("assignments:delete", "deny", {"not": IN_OFFICE}, name="No removals from outside")
    client = client_for(olga, step_up=True)
    asset, held = make_asset(), RoleAssignment.objects.filter(user=dev).first()
    for address in (
        reverse("admin:scanning_asset_changelist"),
        reverse("admin:scanning_asset_change", args=[asset.pk]),
        reverse("admin:scanning_asset_add"),
        reverse("admin:rbac_roleassignment_delete", args=[held.pk]),
    ):
        refused = client.get(address, REMOTE_ADDR=AWAY)
        assert refused.status_code == 403
        assert "Only from the office." in text(refused)
        assert client.get(address, REMOTE_ADDR=OFFICE).status_code == 200
    traced = list(AccessTrace.objects.order_by("id").values_list("permission", flat=True))
    assert traced == ["assets:read", "assets:read", "assets:create", "assignments:delete"]
    assert AuditEntry.objects.filter(event="access:denied").count() == 4


def test_a_step_up_asked_for_within_the_admin_leads_there_and_back(olga, client_for, monkeypatch):
    """Also on the pages that show what a service refuses: a denial is none of these."""
    make_policy("assignments:create", "require_step_up", ALWAYS)
    client, add = client_for(olga), reverse("admin:rbac_roleassignment_add")
    monkeypatch.setattr("opssight.console.admin.is_stepped_up", lambda request: True)
    assert client.get(add)["Location"] == f"/step-up?next={add.replace('/', '%2F')}"
    proved(client, 0)
    assert client.get(add).status_code == 200


def test_admin_actions_do_not_pass(olga, client_for, office):
    make_policy("scans:create", "deny", {"not": IN_OFFICE})
    asset = make_asset()
    data = {"action": "scan", "_selected_action": [asset.pk], "index": "0"}
    client = client_for(olga, step_up=True)
    client.post(reverse("admin:scanning_asset_changelist"), data, REMOTE_ADDR=AWAY)
    assert not Scan.objects.exists()
    client.post(reverse("admin:scanning_asset_changelist"), data, REMOTE_ADDR=OFFICE)
    assert Scan.objects.exists()


def test_allowed_decisions_go_to_the_log(olga, client_for, caplog):
    make_policy("findings:read", "deny", NEVER)
    client = client_for(olga)
    with caplog.at_level(logging.DEBUG, logger="opssight.access"):
        assert client.get("/findings").status_code == 200
    said = [record.said for record in caplog.records if record.name == "opssight.access"]
    assert {"permission": "findings:read", "outcome": "allow", "actor": olga.pk} in said
    assert len(said) == len({record["permission"] for record in said})


def test_a_token_does_not_carry_a_right_out_of_its_conditions(olga, client_for, office):
    make_policy("findings:read", "deny", {"not": IN_OFFICE}, name="Office only")
    client, body = client_for(olga, step_up=True), {"name": "ci", "scopes": ["findings:read"]}
    refused = client.post("/api/v1/tokens", body, "application/json", REMOTE_ADDR=AWAY)
    assert (refused.status_code, refused.json()["policy"]) == (403, "Office only")
    assert client.post("/api/v1/tokens", body, "application/json", REMOTE_ADDR=OFFICE).status_code == 201


def test_an_account_can_be_removed_with_its_traces(dev, client_for):
    make_policy("findings:read", "deny", ALWAYS)
    client_for(dev).get("/findings")
    dev.delete()
    assert not AccessTrace.objects.exists()


# --- rows that are broken ---


@pytest.mark.parametrize(
    "condition",
    [
        "nonsense", 5, [], {}, JSON_NULL, {"fact": "gone", "op": "in", "value": ["x"]}, {"fact": "zone"},
        {"fact": "zone", "op": "in", "value": ["no-such-zone"]}, {"fact": "zone", "op": "not_in", "value": ["gone"]},
        {"python": "True"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("effect", ["deny", "allow", "require_step_up"])
def test_a_policy_that_can_not_be_read_refuses_what_it_covers(condition, effect, olga, client_for):
    make_policy("findings:read", "allow", ALWAYS)
    policy = make_policy("findings:read", effect, NEVER, name="broken")
    with untold():
        Policy.objects.filter(pk=policy.pk).update(condition=condition)
    client = client_for(olga, step_up=True)
    refused = client.get("/findings")
    assert refused.status_code == 403
    assert "“broken” can't be read" in text(refused)
    assert AccessTrace.objects.get().steps[0]["fault"]
    assert client.get("/scans").status_code == 200


@pytest.mark.parametrize("networks", ["10.0.0.0/8", ["10.0.0.0/99"], 5, JSON_NULL, [5], {"a": 1}])
def test_a_zone_that_can_not_be_read_breaks_its_policies(networks, olga, client_for, office):
    make_policy("findings:read", "deny", IN_OFFICE)
    with untold():
        Zone.objects.update(networks=networks)
    client = client_for(olga)
    assert client.get("/findings").status_code == 403
    assert client.get("/scans").status_code == 200


def test_a_zone_removed_by_hand_breaks_its_policies(olga, client_for, office):
    make_policy("findings:read", "deny", IN_OFFICE)
    Zone.objects.all().delete()
    assert client_for(olga).get("/findings", REMOTE_ADDR=AWAY).status_code == 403


# --- cost ---


@pytest.mark.parametrize("path", ["/findings", "/scans", "/trail", "/", "/api/v1/findings", "/admin/scanning/finding/"])
def test_policies_add_one_query_to_a_request(path, olga, client_for, rows, office, monkeypatch):
    client = client_for(olga, step_up=True)
    for address in ("127.0.0.1", OFFICE):  # the first look from each leaves an entry
        client.get(path, REMOTE_ADDR=address)
    with monkeypatch.context() as patch:
        patch.setattr("rbac.decide._barred", lambda user, permission: access.Decision(True))
        with CaptureQueriesContext(connection) as without:
            assert client.get(path).status_code == 200
    for number in range(30):
        make_policy("*:*", "deny", {"any": [NEVER, {"not": {"any": [IN_OFFICE, ALWAYS]}}]}, name=f"policy {number}")
    with CaptureQueriesContext(connection) as gated:
        assert client.get(path, REMOTE_ADDR=OFFICE).status_code == 200
    assert len(gated) - len(without) == 1


def test_the_book_is_read_in_one_query(office, django_assert_num_queries):
    make_policy("findings:read", "deny", IN_OFFICE, name="b")
    make_policy("*:read", "allow", ALWAYS, name="a", enabled=True)
    make_policy("*:*", "deny", ALWAYS, name="off", enabled=False)
    with django_assert_num_queries(1):
        book = load()
    assert [(rule.name, rule.effect, json.loads(rule.condition)) for rule in book.rules] == [
        ("a", "allow", ALWAYS),
        ("b", "deny", IN_OFFICE),
    ]
    assert book.rules[0].uid == Policy.objects.get(name="a").uid
    assert book.zones == {"office": (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8:1::/48"))}


def test_nobody_costs_nothing(db, django_assert_num_queries):
    with django_assert_num_queries(0):
        Client().get("/findings")


# --- a policy for one unit's people is not a hole for others ---


def test_a_developer_of_a_unit_is_gated_like_everybody(client_for, office):
    team = create_unit("Payments", parent=root_unit())
    person = make_person("Pia")
    assign_role(person, "developer", unit=team, reason="test")
    Asset.objects.create(name="own", location="/own", unit=team)
    make_policy("assets:read", "deny", {"not": IN_OFFICE})
    client = client_for(person)
    assert client.get("/api/v1/assets", REMOTE_ADDR=OFFICE).json()["results"][0]["name"] == "own"
    assert client.get("/api/v1/assets", REMOTE_ADDR=AWAY).status_code == 403


def test_a_page_says_what_is_not_shown_rather_than_never_scanned(adam, client_for):
    """A policy that refuses one kind of rows must not turn "I may not see" into "there is nothing"."""
    client = client_for(adam)
    make_scan(make_asset())
    assert "were read, and nothing is open" in text(client.get("/findings"))
    for permission in ("scans:read", "assets:read"):
        policy = make_policy(permission, "deny", ALWAYS)
        page, overview = text(client.get("/findings")), text(client.get("/"))
        assert "Never scanned" not in page + overview
        assert "Never run" not in overview
        assert f"is not yours to see: that needs {permission}" in page
        services.delete_policy(policy)


def test_a_control_says_why_its_rows_are_not_shown(adam, client_for):
    from compliance.models import Control
    from compliance.services import evaluate

    control = Control.objects.create(key="x.y", title="X", kind="config", weight=1, max_age_hours=1)
    evaluate(control)
    make_policy("results:read", "deny", ALWAYS, reason="Not at night.")
    page = text(client_for(adam).get("/compliance/x.y"))
    assert "Not at night." in page
    assert "Never evaluated" not in page


def test_a_refused_item_of_a_bulk_request_leaves_its_entry_and_trace(olga):
    """Each item is decided by itself, so each refusal is told by itself, also the one of a dry run."""
    from rest_framework.request import Request
    from rest_framework.test import APIRequestFactory

    from opssight.kernel.rest.bulk import each
    from opssight.kernel.rest.parsers import StrictJSONParser

    make_policy("assets:create", "deny", ALWAYS)
    asked = APIRequestFactory().post("/", json.dumps({"items": [{}, {}]}), content_type="application/json")
    asked.user = olga

    def refuse(item, request, *, dry_run):
        access.check(olga, "assets:create")

    def answer(asked):
        return each(Request(asked, parsers=[StrictJSONParser()]), refuse)

    answers = []
    ActorMiddleware(lambda request: answers.append(answer(request)) or SimpleNamespace(headers={}))(asked)
    assert [item["status"] for item in answers[0].data["results"]] == [403, 403]
    assert AuditEntry.objects.filter(event="access:denied").count() == 2
    assert AccessTrace.objects.filter(permission="assets:create").count() == 2
