"""Looks at sensitive rows: one entry a request, through every door, and none that feed themselves."""

import pytest
from django.test import Client
from django.urls import reverse

from audit.models import AuditEntry
from opssight.kernel import reads
from scanning.models import Finding
from tests.compliance.factories import make_asset, make_finding, make_scan

API = "/api/v1"


@pytest.fixture
def finding(db):
    asset = make_asset("shop")
    make_scan(asset)
    return make_finding(asset, due=None)


def looks():
    return list(AuditEntry.objects.filter(action=AuditEntry.Action.ACCESS).select_related("personal").order_by("id"))


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        (lambda finding, user: f"{API}/findings/{finding.uid}", "scanning.finding"),
        (lambda finding, user: f"/findings/{finding.uid}", "scanning.finding"),
        (lambda finding, user: reverse("admin:accounts_user_change", args=[user.pk]), "accounts.user"),
    ],
)
def test_a_look_at_an_object_is_one_entry(finding, olga, client_for, address, kind):
    answer = client_for(olga, step_up=True).get(address(finding, olga))
    assert answer.status_code == 200
    [entry] = looks()
    target = finding if kind == "scanning.finding" else olga
    assert (entry.event, entry.resource_type, entry.resource_id) == ("records:read", kind, str(target.uid))
    assert (entry.actor_id, entry.object_repr, entry.request_id) == (olga.pk, str(target), answer["X-Request-ID"])
    assert entry.mac == entry.expected_mac()


@pytest.mark.parametrize(
    ("address", "kind", "count", "asked"),
    [
        (f"{API}/findings?status=open&limit=10", "scanning.finding", 1, "status=open"),
        ("/findings?status=open", "scanning.finding", 1, "status=open"),
        (f"{API}/assignments", "rbac.roleassignment", 3, ""),
        ("/admin/accounts/user/?kind__exact=person", "accounts.user", 1, "kind__exact=person"),
        ("/trail?event=sessions:started", "audit.auditentry", 0, "event=sessions%3Astarted"),
    ],
)
def test_a_look_at_a_list_is_one_entry_with_filter_and_count(finding, olga, client_for, address, kind, count, asked):
    answer = client_for(olga, step_up=True).get(address)
    assert answer.status_code == 200
    [entry] = looks()
    assert (entry.event, entry.resource_type, entry.resource_id) == ("records:listed", kind, "")
    assert entry.details == {"count": count, "filter": asked}
    assert "filter" not in entry.additional_data  # people type names into it


def test_what_is_refused_or_not_sensitive_is_no_look(finding, eve, olga, client_for):
    for address in ("/findings", f"{API}/findings", f"{API}/trail", "/trail"):
        assert client_for(eve).get(address).status_code == 403
    client = client_for(olga)
    assert client.get(f"{API}/units").status_code == 200
    assert client.get(f"{API}/findings/{olga.uid}").status_code == 404
    assert looks() == []
    tag = client.get(f"{API}/findings/{finding.uid}")["ETag"]
    assert client.get(f"{API}/findings/{finding.uid}", headers={"if-none-match": tag}).status_code == 304
    assert len(looks()) == 1


def test_the_same_page_again_is_the_same_look_and_another_reader_is_not(finding, olga, adam, client_for):
    client = client_for(olga)
    for _ in range(3):
        client.get(f"{API}/findings")
    assert len(looks()) == 1
    client.get(f"{API}/findings?status=fixed")
    client_for(olga).get(f"{API}/findings")  # another session
    client_for(adam).get(f"{API}/findings")
    assert len(looks()) == 4


def test_reading_the_trail_does_not_feed_itself(olga, client_for):
    client, address = client_for(olga), f"{API}/trail?limit=1"
    for _ in range(5):
        page = client.get(address).json()
        address = page["next"]
        client.get(f"{API}/trail?limit=1")
    assert len(looks()) == 1


def test_an_export_is_told(olga):
    reads.exported(Finding, count=3, filter="status=open", format="csv")
    [entry] = looks()
    assert (entry.event, entry.details) == ("records:exported", {"count": 3, "format": "csv", "filter": "status=open"})


def test_the_api_speaks_the_seeds_names(finding, olga, client_for):
    client = client_for(olga)
    client.get(f"{API}/findings/{finding.uid}", headers={"user-agent": "curl/8"}, REMOTE_ADDR="10.1.2.3")
    [row] = client.get(f"{API}/trail?event=records:read").json()["results"]
    told = {name: row[name] for name in ("user_id", "action", "event", "resource_type", "resource_id", "success")}
    assert told == {
        "user_id": str(olga.pk),
        "action": "READ",
        "event": "records:read",
        "resource_type": "scanning.finding",
        "resource_id": str(finding.uid),
        "success": True,
    }
    assert (row["ip_address"], row["user_agent"], row["error_message"]) == ("10.1.2.3", "curl/8", "")
    assert (row["old_values"], row["new_values"], row["impersonator_id"]) == ({}, {}, None)
    assert len(row["session"]) == 16
    key = client.session.session_key
    assert key not in str(AuditEntry.objects.values_list()) and row["session"] not in key


def test_two_sessions_have_two_references(olga, client_for):
    for _ in range(2):
        client_for(olga).get(f"{API}/assignments")
    first, second = looks()
    assert first.session != second.session
    assert Client().get("/sign-in").status_code == 200
