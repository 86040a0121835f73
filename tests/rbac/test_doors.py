"""Rights by API and admin: the same services, the same refusals."""

import json

import pytest
from django.urls import reverse

from rbac import services
from rbac.models import DenyRule, Role, RoleAssignment, Unit


@pytest.fixture
def call(olga, client_for):
    client = client_for(olga, step_up=True)

    def ask(method: str, path: str, data: object = None, **headers: str):
        body = json.dumps(data) if data is not None else ""
        return client.generic(method, f"/api/v1{path}", body, content_type="application/json", headers=headers)

    return ask


def test_units_are_made_and_renamed_and_not_moved(call):
    root = str(services.root_unit().uid)
    made = call("POST", "/units", {"name": "Payments", "kind": "team", "parent": root})
    assert made.status_code == 201
    path = made["Location"].removeprefix("/api/v1")
    renamed = call("PATCH", path, {"name": "Billing"}, if_match=made["ETag"])
    assert renamed.json()["name"] == "Billing"
    assert call("PATCH", path, {"kind": "system"}, if_match=renamed["ETag"]).status_code == 400
    assert call("POST", "/units", {"name": "Billing", "kind": "team", "parent": root}).status_code == 400
    assert call("POST", "/units", {"name": "X", "kind": "team", "parent": None}).status_code == 400


def test_custom_roles(call):
    employee = str(Role.objects.get(key="employee").uid)
    body = {"key": "reader", "name": "Reader", "permissions": ["assets:read"], "parents": [employee]}
    made = call("POST", "/roles", body)
    assert made.status_code == 201
    assert {"assets:read", "me:read"} <= set(made.json()["effective"])
    path = made["Location"].removeprefix("/api/v1")
    assert call("POST", "/roles", body | {"key": "x", "name": "X", "permissions": ["nope:x"]}).status_code == 400
    circle = call("PATCH", path, {"parents": [made.json()["uid"]]}, if_match=made["ETag"])
    assert (circle.status_code, "its own ancestor" in circle.json()["detail"]) == (400, True)
    builtin = call("GET", f"/roles/{employee}")
    assert call("PATCH", f"/roles/{employee}", {"name": "X"}, if_match=builtin["ETag"]).status_code == 400


def test_assignments_and_denies(call, eve, olga):
    root = str(services.root_unit().uid)
    body = {"user": str(eve.uid), "role": "developer", "unit": root, "reason": "joins"}
    made = call("POST", "/assignments", body)
    assert made.status_code == 201
    again = call("POST", "/assignments", body)
    assert (again.status_code, "is held already" in again.json()["detail"]) == (409, True)
    me = call("POST", "/assignments", body | {"user": str(olga.uid), "role": "developer"})
    assert (me.status_code, "themselves" in me.json()["detail"]) == (403, True)
    inverted = body | {"role": "auditor", "valid_from": "2026-01-02T00:00:00Z", "valid_until": "2026-01-01T00:00:00Z"}
    assert call("POST", "/assignments", inverted).status_code == 400
    nobody = {"role": "auditor", "unit": root, "reason": "x"}
    assert call("POST", "/assignments", nobody).status_code == 400
    assert call("DELETE", made["Location"].removeprefix("/api/v1")).status_code == 204
    deny = call("POST", "/denies", {"user": str(eve.uid), "permission": "findings:*", "unit": root, "reason": "x"})
    assert deny.status_code == 201
    assert (
        call("POST", "/denies", {"user": str(eve.uid), "permission": "x:y", "unit": root, "reason": "x"}).status_code
        == 400
    )
    assert call("GET", f"/denies?user={eve.uid}").json()["results"][0]["permission"] == "findings:*"
    assert call("DELETE", deny["Location"].removeprefix("/api/v1")).status_code == 204
    assert not DenyRule.objects.exists()


def test_the_last_administrator_stays_by_every_door(call, olga, client_for):
    held = olga.assignments.get(role__key="administrator")
    refused = call("DELETE", f"/assignments/{held.uid}")
    assert (refused.status_code, "nobody who can give rights" in refused.json()["detail"]) == (409, True)
    admin = client_for(olga, step_up=True)
    page = admin.post(reverse("admin:rbac_roleassignment_delete", args=[held.pk]), {"post": "yes"}, follow=True)
    assert "nobody who can give rights" in page.content.decode()
    page = admin.post(reverse("admin:accounts_user_change", args=[olga.pk]), {"name": "Gone"}, follow=True)
    assert "nobody who can give rights" in page.content.decode()
    assert "successfully" not in page.content.decode()
    olga.refresh_from_db()
    assert (olga.is_active, olga.name) == (True, "Olga")
    assert RoleAssignment.objects.filter(pk=held.pk).exists()


def test_the_admin_says_what_a_service_refuses_and_saves_nothing(olga, eve, client_for):
    client, root = client_for(olga, step_up=True), services.root_unit()
    role = Role.objects.get(key="developer")
    data = {
        "user": olga.pk,
        "role": role.pk,
        "unit": root.pk,
        "reason": "me",
        "valid_from_0": "2026-01-01",
        "valid_from_1": "00:00",
    }
    page = client.post(reverse("admin:rbac_roleassignment_add"), data, follow=True)
    assert "Nobody gives rights to themselves" in page.content.decode()
    assert not olga.assignments.filter(role=role).exists()
    page = client.post(reverse("admin:rbac_roleassignment_add"), data | {"user": ""}, follow=True)
    assert "Name one user or one group." in page.content.decode()
    assert f">Eve ({eve.email})</option>" in page.content.decode()
    page = client.post(reverse("admin:rbac_roleassignment_add"), data | {"user": eve.pk}, follow=True)
    assert eve.assignments.filter(role=role).exists()


def test_a_role_is_made_in_the_admin(olga, client_for):
    client = client_for(olga, step_up=True)
    data = {"name": "Reader", "key": "reader", "description": "", "grants": ["assets:read"], "parents": []}
    client.post(reverse("admin:rbac_role_add"), data)
    assert Role.objects.get(key="reader").own_permissions == ["assets:read"]
    builtin = Role.objects.get(key="employee")
    assert client.post(reverse("admin:rbac_role_change", args=[builtin.pk]), data).status_code == 403


def test_a_unit_that_vanishes_meanwhile_is_refused_with_a_sentence(call, eve):
    gone = services.create_unit("Gone", parent=services.root_unit())
    uid = str(gone.uid)
    Unit.objects.filter(pk=gone.pk).delete()
    body = {"user": str(eve.uid), "role": "developer", "unit": uid, "reason": "late"}
    answer = call("POST", "/assignments", body)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["unit"])
