"""Groups and their members by API: what joining gives, who may put somebody in, and what is refused."""

import json

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from audit.models import AuditEntry
from rbac import role_book, services
from rbac.models import DenyRule, Role, RoleAssignment
from tests.conftest import make_person


@pytest.fixture
def leads(db) -> Group:
    """A group that gives the officer's role everywhere."""
    group = Group.objects.create(name="Leads")
    role = Role.objects.get(key="officer")
    services.save_assignment(RoleAssignment(group=group, role=role, unit=services.root_unit(), reason="leads"))
    return group


@pytest.fixture
def tina(db):
    """Runs groups and looks up people, and holds nothing else that a group could give."""
    person = make_person("Tina")
    permissions = {"groups:read", "groups:update", "users:read"}
    role_book.save_role(Role(key="groups", name="Groups"), permissions=permissions, parents=[])
    services.assign_role(person, "groups", reason="runs groups")
    return person


def call(client: Client, method: str, path: str, data: object = None, **headers: str):
    body = json.dumps(data) if data is not None else ""
    return client.generic(method, f"/api/v1{path}", body, content_type="application/json", headers=headers)


def test_a_group_is_made_renamed_and_deleted(olga, client_for):
    client = client_for(olga, step_up=True)
    made = call(client, "POST", "/groups", {"name": "On call"})
    assert (made.status_code, made.json()) == (201, {"name": "On call", "members": []})
    path = made["Location"].removeprefix("/api/v1")
    renamed = call(client, "PATCH", path, {"name": "Night shift"}, if_match=made["ETag"])
    assert renamed.json()["name"] == "Night shift"
    assert [row["name"] for row in call(client, "GET", "/groups").json()["results"]] == ["Night shift"]
    assert call(client, "GET", path).status_code == 404
    assert call(client, "DELETE", "/groups/Night%20shift").status_code == 204
    assert not Group.objects.exists()


def test_membership_acts_at_the_next_request_and_is_in_the_trail(olga, eve, client_for):
    client, eves = client_for(olga, step_up=True), client_for(eve)
    group = Group.objects.create(name="Readers")
    role = Role.objects.get(key="auditor")
    services.save_assignment(RoleAssignment(group=group, role=role, unit=services.root_unit(), reason="reads"))
    assert call(eves, "GET", "/users").status_code in (403, 404)
    assert call(eves, "GET", "/assets").status_code == 403
    added = call(client, "POST", "/groups/Readers/members", {"user": str(eve.uid)})
    assert (added.status_code, added.json()["members"]) == (200, [str(eve.uid)])
    assert call(eves, "GET", "/assets").status_code == 401  # whose rights change signs in anew
    eves = client_for(eve)
    assert call(eves, "GET", "/assets").status_code == 200
    assert call(client, "DELETE", f"/groups/Readers/members?user={eve.uid}").status_code == 204
    assert call(eves, "GET", "/assets").status_code == 401
    assert call(client_for(eve), "GET", "/assets").status_code == 403
    events = set(AuditEntry.objects.filter(object_pk=str(eve.pk)).values_list("event", flat=True))
    assert {"groups:member_added", "groups:member_removed"} <= events


def test_nobody_adds_themselves_nor_gives_through_a_group_what_they_lack(tina, eve, leads, client_for):
    client = client_for(tina, step_up=True)
    mine = call(client, "POST", "/groups/Leads/members", {"user": str(tina.uid)})
    assert (mine.status_code, "themselves" in mine.json()["detail"]) == (403, True)
    others = call(client, "POST", "/groups/Leads/members", {"user": str(eve.uid)})
    assert (others.status_code, "which you don't hold there" in others.json()["detail"]) == (403, True)
    assert not leads.user_set.exists()


def test_nobody_leaves_a_group_that_denies_them(tina, eve, client_for):
    group = Group.objects.create(name="Held back")
    for person in (tina, eve):
        person.groups.add(group)
    root = services.root_unit()
    services.save_deny(DenyRule(group=group, permission="assets:read", unit=root, reason="x"))
    tina.refresh_from_db()
    client = client_for(tina, step_up=True)
    for person in (tina, eve):
        assert call(client, "DELETE", f"/groups/Held back/members?user={person.uid}").status_code == 403
    assert group.user_set.count() == 2


def test_the_last_administrator_stays_in(tina, eve, client_for):
    group = Group.objects.create(name="Admins")
    role = Role.objects.get(key="administrator")
    eve.groups.add(group)
    services.save_assignment(RoleAssignment(group=group, role=role, unit=services.root_unit(), reason="x"))
    RoleAssignment.objects.filter(user__isnull=False, role=role).delete()
    refused = call(client_for(tina, step_up=True), "DELETE", f"/groups/Admins/members?user={eve.uid}")
    assert (refused.status_code, "nobody who can give rights" in refused.json()["detail"]) == (409, True)
    assert group.user_set.get() == eve


def test_bad_input_is_refused_with_a_sentence(olga, leads, client_for):
    client = client_for(olga, step_up=True)
    for name in ("", "Leads", "a/b", "..", "x" * 151, "a\nb", "a\x00b", None, 3.5, ["x"]):
        assert call(client, "POST", "/groups", {"name": name}).status_code == 400, name
    for body in ({}, {"user": "x"}, {"user": None}, {"user": str(leads.pk)}, {"user": "0" * 32}):
        assert call(client, "POST", "/groups/Leads/members", body).status_code == 400, body
    assert call(client, "DELETE", "/groups/Leads/members").status_code == 400
    assert call(client, "DELETE", "/groups/Nobody").status_code == 404
    held = call(client, "DELETE", "/groups/Leads")
    assert (held.status_code, "assignments" in held.json()["detail"]) == (409, True)
