"""API tokens on My security: made with a fresh second factor, shown once, never more than their owner may."""

import re
from datetime import timedelta

import pytest

from accounts.tokens.models import Token
from audit.models import AuditEntry
from tests.accounts.tokens.conftest import Caller

NEW = "/my-security/tokens/new"
ASKED = {"name": "nightly scan", "days": "30", "addresses": "192.0.2.0/24, 198.51.100.7", "scopes": ["findings:read"]}


def test_one_is_made_and_shown_once(dev, client_for):
    client = client_for(dev, step_up=True)
    made = client.post(NEW, ASKED)
    assert made.status_code == 200
    found = re.search(r"ops_[A-Za-z0-9]{12}_[A-Za-z0-9]{49}", made.content.decode())
    assert found
    token = Token.objects.get()
    assert (token.user, token.name, token.scopes) == (dev, "nightly scan", ["findings:read"])
    assert token.addresses == ["192.0.2.0/24", "198.51.100.7"]
    assert round((token.expires_at - token.created_at) / timedelta(days=1)) == 30
    assert Caller(found[0])("GET", "/findings").status_code == 200
    assert Caller(found[0])("GET", "/scans").status_code == 403
    assert Caller(found[0], address="203.0.113.9")("GET", "/findings").status_code == 401
    page = client.get("/my-security").content.decode()
    assert "nightly scan" in page
    assert found[0] not in page
    entry = AuditEntry.objects.get(event="tokens:issued")
    assert (entry.actor_id, entry.details["scopes"]) == (dev.pk, ["findings:read"])


def test_it_takes_a_fresh_second_factor(dev, client_for):
    client = client_for(dev)
    assert client.get(NEW)["Location"].startswith("/step-up?next=%2Fmy-security%2Ftokens%2Fnew")
    assert client.post(NEW, ASKED)["Location"].startswith("/step-up")
    assert not Token.objects.exists()


def test_only_what_is_held_is_offered(dev, eve, client_for):
    assert 'value="findings:read"' in client_for(dev, step_up=True).get(NEW).content.decode()
    client = client_for(eve, step_up=True)
    offered = re.findall(r'name="scopes" value="([^"]+)"', client.get(NEW).content.decode())
    assert offered == sorted(offered)
    assert "me:read" in offered
    assert "findings:read" not in offered
    assert client.post(NEW, ASKED).status_code == 400
    assert not Token.objects.exists()


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("name", "", "This field is required"),
        ("name", "scan\u202egnp", "not allowed here"),
        ("days", "0", "greater than or equal to 1"),
        ("days", "367", "less than or equal to 366"),
        ("days", "soon", "whole number"),
        ("addresses", "the office", "is no network"),
        ("addresses", " ".join(f"10.0.0.{n}" for n in range(51)), "at most 50"),
        ("scopes", [], "Tick at least one"),
        ("scopes", ["everything"], "not one of the available choices"),
        ("user", "olga@example.org", "Unknown field: user"),
    ],
)
def test_what_is_wrong_is_said(dev, client_for, field, value, says):
    answer = client_for(dev, step_up=True).post(NEW, ASKED | {field: value})
    assert answer.status_code == 400
    assert says in answer.content.decode()
    assert not Token.objects.exists()
