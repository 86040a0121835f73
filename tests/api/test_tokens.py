"""Tokens: what they may do, how they end, and what can't be done with them."""

import io
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from accounts.tokens.models import Token
from accounts.tokens.services import checksum, issue_token
from audit.models import AuditEntry
from tests.api.conftest import Api


def test_a_token_does_what_scope_and_account_both_allow(api, olga, finding):
    caller = api(olga, "findings:read", "me:read")
    assert caller("GET", f"/findings/{finding.uid}").status_code == 200
    body = caller("GET", "/trail").json()
    assert (body["status"], body["missing_permission"]) == (403, "trail:read")
    assert caller("GET", "/me").json()["permissions"] == ["findings:read", "me:read"]


def test_taking_the_role_away_takes_the_right_from_the_token(api, olga, finding):
    caller = api(olga, "findings:read")
    for held in olga.assignments.all():
        held.delete()
    assert caller("GET", "/findings").status_code == 403


@pytest.mark.parametrize("end", ["revoked", "expired", "epoch", "inactive", "changed", "unknown", "cut", "empty"])
def test_tokens_that_are_not_valid(olga, end):
    token, text = issue_token(olga, name="t", scopes=["me:read"])
    assert Api(text)("GET", "/me").status_code == 200
    match end:
        case "revoked":
            token.revoked_at = timezone.now()
            token.save()
        case "expired":
            token.expires_at = timezone.now() - timedelta(seconds=1)
            token.save()
        case "epoch":
            olga.auth_epoch += 1
            olga.save()
        case "inactive":
            olga.is_active = False
            olga.save()
        case "changed":
            text = text[:-1] + ("a" if text[-1] != "a" else "b")
        case "unknown":
            text = "ops_" + "a" * 12 + "_" + "b" * 43
            text += checksum(text)
        case "cut":
            text = text[:-1]
        case "empty":
            text = ""
    response = Api(text)("GET", "/me")
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert AuditEntry.objects.filter(event="tokens:refused").count() == 1


def test_a_wrong_token_is_refused_even_beside_a_good_session(olga, client_for):
    assert client_for(olga).get("/api/v1/me", headers={"authorization": "Bearer ops_x"}).status_code == 401


@pytest.mark.parametrize("place", ["?token={}", "?access_token={}"])
def test_a_token_in_the_address_is_nothing(olga, place):
    _, text = issue_token(olga, name="t", scopes=["me:read"])
    assert Client().get("/api/v1/me" + place.format(text)).status_code == 401


def test_a_token_opens_no_page_and_no_admin(olga):
    _, text = issue_token(olga, name="t", scopes=["me:read", "admin:enter", "findings:read"])
    client = Client(headers={"authorization": f"Bearer {text}"})
    for path in ("/", "/findings", "/admin/"):
        assert client.get(path).status_code == 302


def test_the_secret_is_kept_nowhere(olga):
    token, text = issue_token(olga, name="t", scopes=["me:read"])
    secret = text.rpartition("_")[2]
    assert secret not in str(Token.objects.values())
    for entry in AuditEntry.objects.all():
        assert secret not in str(entry.old_and_new) + str(entry.details)
    assert token.secret_hash not in str(AuditEntry.objects.latest("id").old_and_new)


def test_the_trail_names_the_account_behind_the_token(api, olga, asset):
    api(olga, "scans:create", "assets:read")("POST", "/scans", {"asset": str(asset.uid)})
    entry = AuditEntry.objects.filter(event="scans:requested").latest("id")
    assert (entry.actor_id, entry.actor_label) == (olga.pk, olga.email)


def test_a_person_makes_and_ends_a_token_with_a_fresh_factor(olga, client_for):
    client = client_for(olga)
    asked = {"name": "ci", "scopes": ["findings:read"], "days": 7}
    stale = client.post("/api/v1/tokens", asked, content_type="application/json")
    assert (stale.status_code, stale.json()["step_up"]) == (403, "/step-up")
    fresh = client_for(olga, step_up=True)
    made = fresh.post("/api/v1/tokens", asked, content_type="application/json")
    assert made.status_code == 201
    text = made.json()["token"]
    assert Api(text)("GET", "/findings").status_code == 200
    uid = made.json()["uid"]
    assert "token" not in fresh.get(f"/api/v1/tokens/{uid}").json()
    assert fresh.delete(f"/api/v1/tokens/{uid}").status_code == 204
    assert Api(text)("GET", "/findings").status_code == 401


def test_a_token_can_not_make_tokens(api, olga):
    caller = api(olga)
    assert caller("POST", "/tokens", {"name": "x", "scopes": ["me:read"]}).status_code == 403
    assert caller("DELETE", f"/tokens/{Token.objects.get().uid}").status_code == 403


def test_tokens_are_ones_own(olga, adam, client_for):
    token, _ = issue_token(adam, name="adams", scopes=["me:read"])
    client = client_for(olga, step_up=True)
    assert client.get("/api/v1/tokens").json()["results"] == []
    assert client.get(f"/api/v1/tokens/{token.uid}").status_code == 404
    assert client.delete(f"/api/v1/tokens/{token.uid}").status_code == 404


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"scopes": ["nonsense:read"]}, 400),
        ({"scopes": ["assets:update"]}, 400),  # Eve does not hold it
        ({"scopes": []}, 400),
        ({"scopes": "me:read"}, 400),
        ({"days": 0}, 400),
        ({"days": 10**9}, 400),
        ({"days": "x"}, 400),
        ({"name": ""}, 400),
        ({"user": "olga@example.org"}, 400),
    ],
)
def test_tokens_that_are_not_issued(eve, client_for, asked, status):
    body = {"name": "ci", "scopes": ["me:read"]} | asked
    response = client_for(eve, step_up=True).post("/api/v1/tokens", body, content_type="application/json")
    assert response.status_code == status
    assert not Token.objects.exists()


def test_a_session_needs_its_csrf_token(olga, client_for):
    client = client_for(olga, step_up=True)
    client.handler.enforce_csrf_checks = True
    response = client.post("/api/v1/tokens", {"name": "x", "scopes": ["me:read"]}, content_type="application/json")
    assert response.status_code == 403
    assert not Token.objects.exists()


def test_the_command_prints_a_working_token(olga):
    out = io.StringIO()
    call_command("issue_token", "--user", "OLGA@example.org", "--scopes", "findings:read", "--days", "1", stdout=out)
    assert Api(out.getvalue().strip())("GET", "/findings").status_code == 200


@pytest.mark.parametrize(
    "args",
    [
        ["nobody@example.org", "--scopes", "me:read"],
        ["eve@example.org", "--scopes", "trail:read"],
        ["eve@example.org", "--scopes", ""],
        ["eve@example.org", "--scopes", "me:read", "--days", "0"],
    ],
)
def test_the_command_refuses_with_3(eve, args):
    args = ["--user", *args]
    with pytest.raises(CommandError) as refusal:
        call_command("issue_token", *args)
    assert refusal.value.returncode == 3


def test_use_is_noted_once_a_minute(api, olga, django_assert_num_queries):
    caller = api(olga, "me:read")
    caller("GET", "/me")
    first = Token.objects.get().last_used_at
    caller("GET", "/me")
    assert Token.objects.get().last_used_at == first
