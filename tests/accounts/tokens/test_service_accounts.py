"""Accounts for programs, their secrets, and `client_credentials` (RFC 6749 §4.4)."""

import base64
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from accounts.tokens.models import Token
from accounts.tokens.service_accounts import create_service_account
from accounts.tokens.services import checksum, issue_token
from rbac.models import DenyRule
from rbac.services import assign_role, root_unit, save_deny
from tests.accounts.test_sign_in import entries
from tests.accounts.tokens.conftest import Caller
from tests.conftest import put

OAUTH = "/api/v1/tokens/oauth"


def ask(account: User, secret: str, *, basic: bool = True, **form: str) -> Any:
    form = {"grant_type": "client_credentials"} | form
    client = Client(REMOTE_ADDR="192.0.2.10")
    headers = {}
    if basic:
        pair = f"{quote(str(account.uid))}:{quote(secret)}".encode()
        headers["authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    else:
        form |= {"client_id": str(account.uid), "client_secret": secret}
    return client.post(OAUTH, urlencode(form), content_type="application/x-www-form-urlencoded", headers=headers)


@pytest.fixture
def robot(db: None) -> User:
    robot = create_service_account("Robot@example.org", name="Robot")
    assign_role(robot, "developer", reason="scans")
    return robot


@pytest.fixture
def secret(robot: User) -> str:
    return issue_token(robot, name="ci", scopes=["findings:read", "me:read"])[1]


@pytest.mark.parametrize("basic", [True, False])
def test_a_secret_gives_an_access_token(robot, secret, basic):
    answer = ask(robot, secret, basic=basic)
    given = answer.json()
    assert answer.status_code == 200
    assert given.keys() == {"access_token", "token_type", "expires_in", "scope"}  # and no refresh token
    assert (given["token_type"], given["expires_in"] // 60, given["scope"]) == ("Bearer", 30, "findings:read me:read")
    assert (answer["Cache-Control"], answer["Pragma"]) == ("no-store", "no-cache")
    me = Caller(given["access_token"])("GET", "/me").json()
    assert (me["email"], me["kind"], me["permissions"]) == (robot.email, "service", ["findings:read", "me:read"])
    assert Caller(given["access_token"])("GET", "/scans").json()["missing_permission"] == "scans:read"


def test_a_scope_narrows(robot, secret):
    given = ask(robot, secret, scope="me:read").json()
    assert given["scope"] == "me:read"
    assert Caller(given["access_token"])("GET", "/findings").status_code == 403
    beyond = ask(robot, secret, scope="me:read scans:read")
    assert (beyond.status_code, beyond.json()["error"]) == (400, "invalid_scope")


def test_what_the_account_loses_its_tokens_lose(robot, secret):
    access = ask(robot, secret).json()["access_token"]
    for held in robot.assignments.filter(role__key="developer"):
        held.delete()
    assert Caller(access)("GET", "/findings").status_code == 403
    save_deny(DenyRule(user=robot, permission="me:read", unit=root_unit(), reason="x"))
    assert Caller(access)("GET", "/me").status_code == 401


@pytest.mark.parametrize(
    "wrong", ["secret", "id", "revoked", "expired", "inactive", "a person's", "nothing", "both ways"]
)
def test_clients_that_are_none(robot, secret, olga, wrong):
    account, extra = robot, {}
    match wrong:
        case "secret":
            secret = secret[:-7] + ("a" if secret[-7] != "a" else "b")
            secret += checksum(secret)
        case "id":
            account = create_service_account("other@example.org", name="Other")
        case "revoked":
            put(Token.objects.all(), revoked_at=timezone.now())
        case "expired":
            put(Token.objects.all(), expires_at=timezone.now())
        case "inactive":
            put(User.objects.filter(pk=robot.pk), is_active=False)
        case "a person's":
            account, (_, secret) = olga, issue_token(olga, name="t", scopes=["me:read"])
        case "nothing":
            secret = ""
        case "both ways":
            extra = {"client_secret": secret}
    answer = ask(account, secret, **extra)
    if wrong == "both ways":
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
        return
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, 'Basic realm="OpsSight"')
    assert answer.json() == {
        "error": "invalid_client",
        "error_description": "Client id or secret is not right.",
    }


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("", "invalid_request"),
        ("grant_type=", "invalid_request"),
        ("grant_type=password", "unsupported_grant_type"),
        ("grant_type=client_credentials&grant_type=client_credentials", "invalid_request"),
        ("grant_type=client_credentials&scope=a&scope=b", "invalid_request"),
        ("grant_type=%00", "unsupported_grant_type"),
        ("grant_type=client_credentials&client_id=%FF&client_secret=%00", "invalid_client"),
        ("grant_type=client_credentials&client_id=" + "x" * 9000, "invalid_client"),
        ("%", "invalid_request"),
    ],
)
def test_requests_that_are_none(db, body, error):
    answer = Client().post(OAUTH, body, content_type="application/x-www-form-urlencoded")
    assert (answer.status_code, answer.json()["error"]) == (401 if error == "invalid_client" else 400, error)


@pytest.mark.parametrize("header", ["Basic", "Basic !", "Basic " + "A" * 9000, "Basic /w==", "Bearer x", "Basic OmE="])
def test_headers_that_are_none(db, header):
    body = "grant_type=client_credentials"
    answer = Client(headers={"authorization": header}).post(
        OAUTH, body, content_type="application/x-www-form-urlencoded"
    )
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_other_methods_and_types(db):
    assert Client().get(OAUTH).status_code == 405
    answer = Client().post(OAUTH, {"grant_type": "client_credentials"}, content_type="application/json")
    assert (answer.status_code, answer.json()["error"]) == (415, "invalid_request")
    assert Client().post(f"{OAUTH}?grant_type=client_credentials").status_code in (400, 415)


# --- the accounts -------------------------------------------------------------------------------------------------


@pytest.fixture
def officer(olga, client_for):
    client = client_for(olga, step_up=True)

    def call(method: str, path: str, data: object = None, **headers: str) -> Any:
        import json

        body = "" if data is None else json.dumps(data)
        return client.generic(method, f"/api/v1{path}", body, content_type="application/json", headers=headers)

    return call


def test_an_account_from_the_first_call_to_the_last(officer):
    made = officer("POST", "/service-accounts", {"email": "Build@example.org", "name": "Build"})
    assert made.status_code == 201
    path, account = made["Location"].removeprefix("/api/v1"), User.objects.get(email="build@example.org")
    assert (account.kind, account.has_usable_password()) == ("service", False)
    body = {"name": "pipeline", "scopes": ["me:read"], "days": 30, "addresses": ["192.0.2.0/24"]}
    issued = officer("POST", f"{path}/tokens", body)
    assert issued.status_code == 201
    assert ask(account, issued.json()["token"]).status_code == 200
    rotated = officer("POST", f"{path}/tokens/{issued.json()['uid']}/rotate", {"grace_hours": 0})
    assert rotated.json()["addresses"] == ["192.0.2.0/24"]
    assert ask(account, issued.json()["token"]).status_code == 401
    assert ask(account, rotated.json()["token"]).status_code == 200
    listed = officer("GET", f"{path}/tokens").json()
    assert [token["name"] for token in listed] == ["pipeline", "pipeline"]
    assert "token" not in listed[0]
    assert officer("POST", f"{path}/tokens/{rotated.json()['uid']}/revoke").status_code == 204
    assert officer("POST", f"{path}/tokens/{rotated.json()['uid']}/revoke").status_code == 404
    assert ask(account, rotated.json()["token"]).status_code == 401
    last = issue_token(account, name="t", scopes=["me:read"])[1]
    etag = officer("GET", path)["ETag"]
    off = officer("PATCH", path, {"is_active": False}, if_match=etag)
    assert (off.status_code, off.json()["is_active"]) == (200, False)
    assert ask(account, last).status_code == 401
    assert len(entries("accounts:deactivated")) == 1


def test_a_service_account_never_signs_in_by_a_page(robot):
    robot.set_password("a long enough passphrase")
    robot.save()
    page = Client().post("/sign-in", {"username": robot.email, "password": "a long enough passphrase"})
    assert page.status_code == 400
    body = {"email": robot.email, "password": "a long enough passphrase", "code": "123456"}
    assert Caller()("POST", "/tokens/jwt", body).status_code == 401


def test_nobody_makes_a_token_with_more_than_they_hold(robot, olga, client_for):
    """An administrator who may not start scans must not come by it through a program's secret."""
    from tests.conftest import make_person

    clerk = client_for(make_person("Otto", "administrator"), step_up=True)
    path = f"/api/v1/service-accounts/{robot.uid}/tokens"
    refused = clerk.post(path, {"name": "x", "scopes": ["scans:create"]}, content_type="application/json")
    assert (refused.status_code, "otto@example.org does not hold" in refused.json()["detail"]) == (400, True)
    lacking = clerk.post(path, {"name": "x", "scopes": ["trail:read"]}, content_type="application/json")
    assert (lacking.status_code, "robot@example.org does not hold" in lacking.json()["detail"]) == (400, True)
    assert (
        clerk.post(path, {"name": "x", "scopes": ["findings:read"]}, content_type="application/json").status_code == 201
    )


def test_accounts_of_people_are_none_of_programs(officer, olga, eve):
    for person in (olga, eve):
        assert officer("GET", f"/service-accounts/{person.uid}").status_code == 404
        body = {"name": "x", "scopes": ["me:read"]}
        assert officer("POST", f"/service-accounts/{person.uid}/tokens", body).status_code == 404
    assert officer("GET", "/service-accounts").json()["results"] == []


def test_an_employee_reaches_none_of_it(eve, robot, client_for):
    client = client_for(eve, step_up=True)
    path = f"/api/v1/service-accounts/{robot.uid}"
    assert client.get(path).status_code == 403
    for body, address in (
        ({"email": "x@example.org", "name": "x"}, "/api/v1/service-accounts"),
        ({}, f"{path}/tokens"),
    ):
        assert client.post(address, body, content_type="application/json").status_code == 403


@pytest.mark.parametrize("body", [{}, {"email": "x", "name": "X"}, {"email": "olga@example.org", "name": "X"},
                                  {"email": "x@example.org", "name": ""}, {"email": "x@example.org", "name": "\0"},
                                  {"email": "x@example.org", "name": "X", "kind": "person"}])  # fmt: skip
def test_accounts_that_are_not_made(officer, body):
    assert officer("POST", "/service-accounts", body).status_code == 400
    assert not User.objects.filter(kind="service").exists()


def test_changing_them_needs_a_fresh_second_factor(olga, robot, client_for):
    client, path = client_for(olga), f"/api/v1/service-accounts/{robot.uid}"
    asked = [client.post(address, body, content_type="application/json") for address, body in (
        ("/api/v1/service-accounts", {"email": "x@example.org", "name": "x"}),
        (f"{path}/tokens", {"name": "x", "scopes": ["me:read"]}),
    )]  # fmt: skip
    assert [(answer.status_code, answer.json()["step_up"]) for answer in asked] == [(403, "/step-up")] * 2


# --- pages --------------------------------------------------------------------------------------------------------


def test_service_accounts_in_the_admin(olga, client_for):
    client = client_for(olga, step_up=True)
    client.post(reverse("admin:tokens_serviceaccount_add"), {"email": "Night@example.org", "name": "Night"})
    account = User.objects.get(email="night@example.org")
    assert (account.kind, account.has_usable_password()) == ("service", False)
    text = issue_token(account, name="nightly", scopes=["me:read"])[1]
    change = reverse("admin:tokens_serviceaccount_change", args=[account.pk])
    client.post(change, {"name": "Nightly"})  # an unticked box: out
    account.refresh_from_db()
    assert (account.name, account.is_active) == ("Nightly", False)
    assert Caller(text)("GET", "/me").status_code == 401
    assert client.get(reverse("admin:tokens_serviceaccount_change", args=[olga.pk])).status_code in (302, 404)


def test_an_officer_revokes_anybodys_token(robot, secret, olga, client_for):
    client, token = client_for(olga, step_up=True), Token.objects.get()
    page = client.get(reverse("admin:tokens_token_change", args=[token.pk])).content.decode()
    assert token.key in page
    assert token.secret_hash not in page
    listed = reverse("admin:tokens_token_changelist")
    client.post(listed, {"action": "revoke", "_selected_action": [token.pk], "index": "0"})
    assert Caller(secret)("GET", "/me").status_code == 401
    assert [e.actor_label for e in entries("tokens:revoked")] == [olga.email]


def test_ones_own_tokens_on_my_security(eve, olga, client_for):
    mine, text = issue_token(eve, name="laptop", scopes=["me:read"], addresses=["192.0.2.0/24"])
    client, stranger = client_for(eve), client_for(olga)
    page = client.get("/my-security").content.decode()
    assert f"ops_{mine.key}" in page
    assert "192.0.2.0/24" in page
    assert stranger.post(f"/my-security/tokens/{mine.uid}/revoke").status_code == 404
    assert Caller(text)("GET", "/me").status_code == 200
    assert client.post(f"/my-security/tokens/{mine.uid}/revoke").status_code == 302
    assert Caller(text)("GET", "/me").status_code == 401
    assert f"ops_{mine.key}" not in client.get("/my-security").content.decode()


# --- rotation -----------------------------------------------------------------------------------------------------


def test_a_rotated_token_works_for_its_grace_time(eve, client_for):
    old, text = issue_token(eve, name="laptop", scopes=["me:read"], days=30, addresses=["192.0.2.0/24"])
    client, path = client_for(eve, step_up=True), f"/api/v1/tokens/{old.uid}/rotate"
    made = client.post(path, {"grace_hours": 2}, content_type="application/json")
    assert made.status_code == 201
    new = made.json()
    assert (new["name"], new["scopes"], new["addresses"]) == ("laptop", ["me:read"], ["192.0.2.0/24"])
    assert [Caller(each)("GET", "/me").status_code for each in (text, new["token"])] == [200, 200]
    old.refresh_from_db()
    assert timedelta(hours=1) < old.expires_at - timezone.now() <= timedelta(hours=2)
    assert timedelta(days=29) < Token.objects.latest("pk").expires_at - timezone.now() <= timedelta(days=30)
    again = client.post(path, {}, content_type="application/json")
    assert (again.status_code, "was replaced" in again.json()["detail"]) == (409, True)
    put(Token.objects.filter(pk=old.pk), expires_at=timezone.now())
    assert [Caller(each)("GET", "/me").status_code for each in (text, new["token"])] == [401, 200]
    assert len(entries("tokens:rotated")) == 1


@pytest.mark.parametrize("body", [{"grace_hours": -1}, {"grace_hours": 169}, {"grace_hours": "x"}, {"days": 1}])
def test_rotations_that_are_not_made(eve, client_for, body):
    old, _ = issue_token(eve, name="laptop", scopes=["me:read"])
    path = f"/api/v1/tokens/{old.uid}/rotate"
    assert client_for(eve, step_up=True).post(path, body, content_type="application/json").status_code == 400
    assert client_for(eve).post(path, {}, content_type="application/json").status_code == 403
    assert Token.objects.count() == 1


@pytest.mark.parametrize(
    "networks", [["x"], ["10.0.0.0/40"], [""], [7], "10.0.0.0/8", ["10.0.0.0/8"] * 51, [None], ["\0"]]
)
def test_networks_that_are_none(eve, client_for, networks):
    body = {"name": "x", "scopes": ["me:read"], "addresses": networks}
    answer = client_for(eve, step_up=True).post("/api/v1/tokens", body, content_type="application/json")
    assert answer.status_code == 400
    assert not Token.objects.exists()
