"""What roles ask of the second factor: at sign-in, in each request, and rehearsed before it is switched on."""

import json
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from accounts.logins.models import Login
from accounts.logins.services import LOGIN
from accounts.mfa.models import MessageDevice, Passkey
from accounts.models import User
from audit.models import AuditEntry
from opssight.kernel.access import factor_needed
from rbac.access import factors
from rbac.access.models import FactorRule
from rbac.models import Role
from rbac.services import assign_role
from tests.accounts.test_sign_in import code_for, password_step
from tests.conftest import enrolled, put
from tests.rbac.access.conftest import make_policy


def rule(role: str = "developer", level: str = "passkey", grace_days: int = 0, **values) -> FactorRule:
    wanted = FactorRule(role=Role.objects.get(key=role), level=level, grace_days=grace_days, enabled=True, **values)
    return factors.save_rule(wanted)


def passkey_of(user: User) -> Passkey:
    return Passkey.objects.create(user=user, name="key", credential_id=user.email.encode(), public_key=b"")


def by_message(user: User) -> MessageDevice:
    device = MessageDevice(user=user, name="text", channel="sms")
    device.address = "+4930901820"
    device.save()
    return device


def stand_on(client: Client, device, age: int = 0) -> Client:
    session = client.session
    session["otp_device_id"] = device.persistent_id
    session.save()
    proved_at = timezone.now() - timedelta(seconds=age)
    Login.objects.filter(uid=session[LOGIN]).update(level=device.level, stepped_up_at=proved_at)
    return client


# --- what is asked ------------------------------------------------------------------------------------------------


def test_privileged_roles_ask_for_more_than_a_message_without_any_rule(olga, adam, dev, eve):
    assert factor_needed(olga).level == "otp"
    assert "Security officer" in factor_needed(olga).roles
    assert [factor_needed(person).level for person in (adam, dev, eve)] == ["", "", ""]


def test_of_several_the_strictest_counts(dev):
    rule("employee", "otp")
    assert factor_needed(dev).level == "otp"
    rule("developer", "passkey", max_age=60)
    needed = factor_needed(dev)
    assert (needed.level, needed.roles, needed.max_age) == ("passkey", ("Developer",), timedelta(hours=1))


def test_grace_counts_from_when_it_was_switched_on(dev, eve):
    made = rule(grace_days=7)
    needed = factor_needed(dev)
    assert (needed.level, needed.coming, needed.coming_at) == ("", "passkey", made.due_at)
    put(FactorRule.objects.all(), enabled_at=timezone.now() - timedelta(days=7))
    assert factor_needed(dev).level == "passkey"
    made.refresh_from_db()
    made.grace_days = 14
    assert factors.save_rule(made).enabled_at < timezone.now() - timedelta(days=6)  # a longer grace starts no new one
    made.enabled = False
    factors.save_rule(made)
    assert factor_needed(dev).level == ""
    assert factor_needed(eve).level == ""


# --- at sign-in ---------------------------------------------------------------------------------------------------


def test_a_weak_factor_leads_to_enrolment_and_to_nothing_else(dev):
    device = enrolled(dev)
    rule()
    client = password_step(dev)
    answer = client.post("/sign-in/second-step", {"code": code_for(device)})
    assert answer["Location"] == "/sign-in/enrol"
    assert client.get("/sign-in/enrol")["Location"] == "/sign-in/enrol/passkey"
    assert client.get("/sign-in/enrol/passkey").status_code == 200
    assert client.post("/sign-in/passkey/options/new").status_code == 200
    for address in ("/", "/my-security", "/findings", "/step-up", "/my-security/recovery-codes"):
        assert client.get(address)["Location"].startswith("/sign-in"), address
    assert client.get("/api/v1/mfa").status_code == 401
    assert client.post("/sign-out").status_code == 302
    assert client.get("/sign-in/enrol/passkey")["Location"] == "/sign-in"


def test_who_has_the_stronger_one_must_use_it(dev):
    device = enrolled(dev)
    passkey_of(dev)
    rule()
    client = password_step(dev)
    answer = client.post("/sign-in/second-step", {"code": code_for(device)})
    assert "a passkey: use yours" in answer.content.decode()
    assert client.get("/sign-in/enrol/passkey")["Location"] == "/sign-in/second-step"


def test_within_grace_people_are_told_and_get_in(dev):
    device = enrolled(dev)
    made = rule(grace_days=3)
    client = password_step(dev)
    assert client.post("/sign-in/second-step", {"code": code_for(device)})["Location"] == "/"
    page = client.get("/findings").content.decode()
    assert f"From {made.due_at:%Y-%m-%d} your roles ask for a passkey" in page
    assert "your roles ask for a passkey" in client.get("/my-security").content.decode()


# --- in each request ----------------------------------------------------------------------------------------------


def test_a_session_from_before_reaches_its_own_pages_only(dev, client_for):
    client = client_for(dev, step_up=True)
    assert client.get("/findings").status_code == 200
    rule()
    assert client.get("/findings")["Location"] == "/step-up?next=%2Ffindings&level=passkey"
    answer = client.get("/api/v1/findings")
    told = answer.json()
    assert (answer.status_code, told["step_up"], told["strength"]) == (403, "/step-up?level=passkey", "passkey")
    assert "As Developer you sign in with a passkey" in told["detail"]
    for address in ("/my-security", "/sign-in/enrol/passkey", "/api/v1/me", "/step-up?level=passkey"):
        assert client.get(address).status_code == 200, address
    stand_on(client, passkey_of(dev))
    assert client.get("/findings").status_code == 200
    assert AuditEntry.objects.filter(event="access:step_up_asked").count() == 2


def test_lists_stay_empty_too(dev, client_for, django_user_model):
    from opssight.kernel.actor import _request
    from scanning.models import Asset

    rule()
    request = client_for(dev).get("/my-security").wsgi_request
    token = _request.set(request)
    try:
        assert not Asset.objects.permitted(request.user, "assets:read").exists()
    finally:
        _request.reset(token)


def test_a_privileged_session_by_message_does_nothing(olga, client_for):
    client = stand_on(client_for(olga), by_message(olga))
    assert client.get("/findings")["Location"].endswith("level=otp")
    assert client.get("/api/v1/trail").status_code == 403
    assert client.get("/admin/").status_code in (302, 403)
    assert client.get("/my-security").status_code == 200


def test_an_old_proof_is_asked_for_again(dev, client_for):
    rule(level="otp", max_age=30)
    client = stand_on(client_for(dev), enrolled(dev), age=29 * 60)
    assert client.get("/findings").status_code == 200
    stand_on(client, enrolled(dev), age=31 * 60)
    assert client.get("/findings")["Location"].startswith("/step-up?next=%2Ffindings")
    client.post("/step-up", {"code": code_for(enrolled(dev)), "next": "/findings"})
    assert client.get("/findings").status_code == 200


def test_tokens_are_for_policies_to_judge(olga, client_for, dev):
    from accounts.tokens.services import issue_token

    _, text = issue_token(dev, name="ci", scopes=["findings:read"])
    rule()
    assert Client().get("/api/v1/findings", headers={"authorization": f"Bearer {text}"}).status_code == 200


def test_a_policy_asks_for_strength_and_age_of_one_action(dev, client_for):
    always = {"fact": "account_kind", "op": "in", "value": ["person"]}
    make_policy("scans:create", "require_step_up", always, level="passkey", max_age=5)
    client = stand_on(client_for(dev), enrolled(dev))
    assert client.get("/findings").status_code == 200
    body = json.dumps({"asset": "01a20bd9-1d59-7949-b8ec-209801f0f979"})
    answer = client.post("/api/v1/scans", body, content_type="application/json")
    assert (answer.status_code, answer.json()["step_up"]) == (403, "/step-up?level=passkey")
    key = passkey_of(dev)
    for age, expected in ((4 * 60, 404), (6 * 60, 403)):
        stand_on(client, key, age)
        assert client.post("/api/v1/scans", body, content_type="application/json").status_code == expected


@pytest.mark.parametrize("values", [{"level": "passkey"}, {"max_age": 5}])
def test_strength_and_age_belong_to_step_ups(olga, client_for, values):
    policy = {
        "name": "p",
        "resource": "scans",
        "action": "create",
        "effect": "deny",
        "condition": {"fact": "weekday", "op": "in", "value": ["mon"]},
        "reason": "x",
        **values,
    }
    client = client_for(olga, step_up=True)
    answer = client.post("/api/v1/policies", json.dumps(policy), content_type="application/json")
    assert answer.status_code == 400
    assert "belong to a step-up" in str(answer.json()["errors"])


# --- rules and rehearsal ------------------------------------------------------------------------------------------


def test_a_rule_is_rehearsed_switched_on_and_taken_away_by_api(olga, dev, adam, client_for):
    client = client_for(olga, step_up=True)
    passkey_of(adam)
    assign_role(adam, "developer", reason="helps")
    told = client.get("/api/v1/factor-rules/rehearsal?role=developer&level=passkey").json()
    assert (told["holders"], [person["email"] for person in told["blocked"]]) == (2, [dev.email])
    body = {"role": "developer", "level": "passkey", "grace_days": 7, "enabled": True}
    made = client.post("/api/v1/factor-rules", json.dumps(body), content_type="application/json")
    assert made.status_code == 201
    assert made.json()["due_at"]
    entry = AuditEntry.objects.get(event="factor-rules:changed")
    assert (entry.actor_id, entry.details["level"], entry.details["role"]) == (olga.pk, "passkey", "developer")
    assert client.delete(made["Location"]).status_code == 204
    assert not FactorRule.objects.exists()
    assert client_for(dev).get("/api/v1/factor-rules/rehearsal?role=developer&level=otp").status_code == 403


def test_nobody_shuts_themselves_out(olga, client_for):
    client = client_for(olga, step_up=True)
    body = {"role": "officer", "level": "passkey", "grace_days": 0, "enabled": True}
    answer = client.post("/api/v1/factor-rules", json.dumps(body), content_type="application/json")
    assert answer.status_code == 409
    assert "Set one up first" in answer.json()["detail"]
    passkey_of(olga)
    assert client.post("/api/v1/factor-rules", json.dumps(body), content_type="application/json").status_code == 201


@pytest.mark.parametrize(
    "query", ["", "?role=developer", "?role=nobody&level=otp", "?role=developer&level=none", "?role=developer&x=1"]
)
def test_a_rehearsal_of_nothing(olga, client_for, query):
    assert client_for(olga).get(f"/api/v1/factor-rules/rehearsal{query}").status_code == 400


@pytest.mark.parametrize(
    "change", [{"level": "none"}, {"max_age": 1}, {"grace_days": 91}, {"role": "nobody"}, {"due_at": "2030-01-01"}]
)
def test_rules_that_are_none(olga, client_for, change):
    body = {"role": "developer", "level": "otp", **change}
    client = client_for(olga, step_up=True)
    assert client.post("/api/v1/factor-rules", json.dumps(body), content_type="application/json").status_code == 400


def test_the_admin_shows_who_would_be_stopped(olga, dev, client_for):
    made = FactorRule.objects.create(role=Role.objects.get(key="developer"), level="passkey")
    page = client_for(olga, step_up=True).get(f"/admin/access/factorrule/{made.pk}/change/").content.decode()
    assert dev.email in page
    passkey_of(dev)
    page = client_for(olga, step_up=True).get(f"/admin/access/factorrule/{made.pk}/change/").content.decode()
    assert "nobody" in page


def test_the_command_names_them(dev, capsys):
    with pytest.raises(SystemExit) as ended:
        call_command("rehearse_factors", "--role", "developer", "--level", "passkey", "--json")
    assert ended.value.code == 1
    answer = {"role": "developer", "level": "passkey", "holders": 1, "blocked": [dev.email]}
    assert json.loads(capsys.readouterr().out) == answer
    passkey_of(dev)
    call_command("rehearse_factors", "--role", "developer", "--level", "passkey")
    assert "0 of 1" in capsys.readouterr().out
