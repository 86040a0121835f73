"""Grants on single objects by API, admin and Access page."""

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audit.models import AuditEntry
from opssight.kernel.access import decide
from rbac import grants, role_book, services
from rbac.models import DenyRule, Role
from scanning.models import Asset, AssetGroupGrant, AssetUserGrant
from tests.conftest import make_person

NOW = timezone.now()


@pytest.fixture
def team(db):
    return services.create_unit("Payments", parent=services.root_unit())


@pytest.fixture
def asset(team):
    return Asset.objects.create(name="pay", location="/pay", unit=team)


@pytest.fixture
def elsewhere(db):
    return Asset.objects.create(
        name="shop", location="/shop", unit=services.create_unit("Shop", parent=services.root_unit())
    )


@pytest.fixture
def tina(team):
    """Administers the team and may look up people; nothing elsewhere."""
    person = make_person("Tina")
    for role in ("administrator", "developer"):
        services.assign_role(person, role, reason="head of the team", unit=team)
    role_book.save_role(Role(key="directory", name="Directory"), permissions={"users:read", "units:read"}, parents=[])
    services.assign_role(person, "directory", reason="gives rights")
    return person


def call(client: Client, method: str, path: str, data: object = None):
    body = json.dumps(data) if data is not None else ""
    return client.generic(method, f"/api/v1{path}", body, content_type="application/json")


def asked(asset: Asset, **who: object) -> dict[str, object]:
    return {"permission": "findings:read", "object": str(asset.uid), "reason": "covers for Dev", **who}


def test_a_grant_is_made_listed_used_and_revoked(olga, eve, asset, client_for):
    olgas, eves = client_for(olga), client_for(eve)
    assert eves.get("/api/v1/findings").status_code == 403
    until = (NOW + timedelta(days=3)).isoformat()
    made = call(olgas, "POST", "/grants", asked(asset, user=str(eve.uid), valid_until=until))
    assert made.status_code == 201, made.content
    assert made.json()["granted_by"] == str(olga.uid)
    assert eves.get("/api/v1/findings").status_code == 200
    for query in (
        "",
        f"user={eve.uid}",
        f"object={asset.uid}",
        "permission=findings:read",
        "ends_before=2100-01-01T00:00:00Z",
    ):
        rows = olgas.get(f"/api/v1/grants?{query}").json()["results"]
        assert [row["uid"] for row in rows] == [made.json()["uid"]], query
    for query in (f"user={olga.uid}", f"object={eve.uid}", "permission=assets:read", "group=x"):
        assert olgas.get(f"/api/v1/grants?{query}").json()["results"] == [], query
    assert olgas.get(made["Location"]).json() == made.json()
    assert olgas.delete(made["Location"]).status_code == 204
    assert eves.get("/api/v1/findings").status_code == 403
    assert olgas.get(made["Location"]).status_code == 404
    told = AuditEntry.objects.filter(event__in=["grants:made", "grants:revoked"]).order_by("id")
    assert [(entry.event, entry.actor_id) for entry in told] == [("grants:made", olga.pk), ("grants:revoked", olga.pk)]


def test_grants_to_groups_and_people_are_one_list_in_pages(olga, eve, asset, client_for):
    group = Group.objects.create(name="Leads")
    client, made = client_for(olga), []
    for number in range(5):
        other = Asset.objects.create(name=f"asset {number}", location=f"/{number}", unit=asset.unit)
        for who in ({"user": str(eve.uid)}, {"group": "Leads"}):
            made.append(call(client, "POST", "/grants", asked(other, **who)).json()["uid"])
    eve.groups.add(group)
    assert decide(eve, "findings:read").allowed
    seen, address = [], "/api/v1/grants?limit=3"
    while address:
        page = client.get(address).json()
        seen += [row["uid"] for row in page["results"]]
        before, address = address, page["next"]
    assert seen == made[::-1]
    back = client.get(client.get(before).json()["previous"]).json()
    assert [row["uid"] for row in back["results"]] == made[::-1][6:9]
    assert [row["group"] for row in client.get("/api/v1/grants?group=Leads").json()["results"]] == ["Leads"] * 5


@pytest.mark.parametrize(
    ("change", "status", "told"),
    [
        ({"permission": "trail:read"}, 400, "can't be granted on a single object. There are: assets:"),
        ({"permission": "findings:destroy"}, 400, "can't be granted"),
        ({"permission": 7}, 400, "permission"),
        ({"object": "01a20bd9-1d59-7949-b8ec-209801f0f979"}, 400, "no asset with this uid that you may see"),
        ({"object": "x"}, 400, "object"),
        ({"user": None}, 400, "Give a user or a group"),
        ({"group": "nobody"}, 400, "group"),
        ({"reason": ""}, 400, "reason"),
        ({"reason": "a\u202eb"}, 400, "not allowed here"),
        ({"valid_until": "2026-01-01T00:00:00Z"}, 400, "ends before it begins"),
        ({"valid_from": "2027-01-02T00:00:00Z", "valid_until": "2027-01-01T00:00:00Z"}, 400, "ends before it begins"),
        ({"valid_until": "tomorrow"}, 400, "valid_until"),
        ({"more": 1}, 400, "more"),
        ({"granted_by": "x"}, 400, "granted_by"),
    ],
)
def test_bad_input_is_refused_with_a_sentence(olga, eve, asset, client_for, change, status, told):
    answer = call(client_for(olga), "POST", "/grants", asked(asset, user=str(eve.uid)) | change)
    assert (answer.status_code, told in answer.content.decode()) == (status, True), answer.content
    assert not AssetUserGrant.objects.exists()


def test_the_limits_of_delegation(tina, olga, eve, asset, elsewhere, client_for):
    tinas = client_for(tina)
    assert call(tinas, "POST", "/grants", asked(asset, user=str(eve.uid))).status_code == 201
    again = call(tinas, "POST", "/grants", asked(asset, user=str(eve.uid)))
    assert (again.status_code, "is granted already" in again.json()["detail"]) == (409, True)
    me = call(tinas, "POST", "/grants", asked(asset, user=str(tina.uid)))
    assert (me.status_code, "themselves" in me.json()["detail"]) == (403, True)
    tina.groups.add(Group.objects.create(name="Mine"))
    tinas = client_for(tina)  # whose rights change signs in anew
    assert call(tinas, "POST", "/grants", asked(asset, group="Mine")).status_code == 403
    lacking = call(tinas, "POST", "/grants", asked(asset, user=str(eve.uid), permission="findings:triage"))
    assert (lacking.status_code, "you don't hold it there" in lacking.json()["detail"]) == (403, True)
    assert call(tinas, "POST", "/grants", asked(elsewhere, user=str(eve.uid))).status_code == 400  # out of sight
    # In sight, with what she would give, but she gives nothing there.
    services.assign_role(tina, "developer", reason="helps out", unit=elsewhere.unit)
    tinas = client_for(tina)
    there = call(tinas, "POST", "/grants", asked(elsewhere, user=str(eve.uid)))
    assert (there.status_code, there.json()["missing_permission"]) == (403, "grants:create")
    services.save_deny(DenyRule(user=tina, permission="findings:read", unit=asset.unit, reason="conflict"))
    tinas = client_for(tina)
    adam = make_person("Otto")
    assert call(tinas, "POST", "/grants", asked(asset, user=str(adam.uid))).status_code == 403
    foreign = grants.grant_on_object(eve, "assets:read", elsewhere, reason="x")
    assert tinas.get(f"/api/v1/grants/{foreign.uid}").status_code == 404
    assert tinas.delete(f"/api/v1/grants/{foreign.uid}").status_code == 404
    assert [row["object"] for row in tinas.get("/api/v1/grants").json()["results"]] == [str(asset.uid)]


def test_a_grant_that_has_ended_makes_way_for_a_new_one(eve, asset):
    old = grants.grant_on_object(
        eve, "assets:read", asset, reason="x", since=NOW - timedelta(days=9), until=NOW - timedelta(days=1)
    )
    assert not decide(eve, "assets:read", asset).allowed
    new = grants.grant_on_object(eve, "assets:read", asset, reason="again")
    assert decide(eve, "assets:read", asset).allowed
    assert list(AssetUserGrant.objects.values_list("pk", flat=True)) == [new.pk] != [old.pk]


def test_the_auditor_reads_grants_and_makes_none(adam, eve, asset, client_for):
    grant = grants.grant_on_object(eve, "assets:read", asset, reason="x")
    client = client_for(adam)
    assert client.get("/api/v1/grants").json()["results"][0]["uid"] == str(grant.uid)
    for answer in (
        call(client, "POST", "/grants", asked(asset, user=str(eve.uid))),
        client.delete(f"/api/v1/grants/{grant.uid}"),
    ):
        assert (answer.status_code, answer.json()["missing_permission"][:7]) == (403, "grants:")
    assert client_for(eve).get("/api/v1/grants").status_code == 403


def test_the_admin_makes_and_revokes_by_the_same_rules(olga, eve, asset, client_for):
    client, row = client_for(olga, step_up=True), grants.rows_of("assets:read", Asset)
    data = {
        "user": eve.pk, "permission": row.pk, "content_object": asset.pk, "reason": "covers",
        "valid_from_0": "2026-01-01", "valid_from_1": "00:00",
    }  # fmt: skip
    address = reverse("admin:scanning_assetusergrant_add")
    form = client.get(address).content.decode()
    assert "findings:read" in form
    assert "trail:read" not in form
    page = client.post(address, data | {"user": olga.pk}, follow=True)
    assert "Nobody gives rights to themselves" in page.content.decode()
    page = client.post(address, data | {"valid_until_0": "2025-01-01", "valid_until_1": "00:00"}, follow=True)
    assert "It ends before it begins" in page.content.decode()
    assert not AssetUserGrant.objects.exists()
    client.post(address, data)
    grant = AssetUserGrant.objects.get()
    assert (grant.granted_by, decide(eve, "assets:read", asset).allowed) == (olga, True)
    again = client.post(address, data, follow=True).content.decode()
    assert "already" in again
    assert "assets:read" in client.get(reverse("admin:scanning_assetusergrant_changelist")).content.decode()
    assert client.get(reverse("admin:scanning_assetusergrant_change", args=[grant.pk])).status_code == 200
    client.post(reverse("admin:scanning_assetusergrant_delete", args=[grant.pk]), {"post": "yes"})
    assert not decide(eve, "assets:read", asset).allowed
    group = Group.objects.create(name="Leads")
    client.post(
        reverse("admin:scanning_assetgroupgrant_add"),
        {k: v for k, v in data.items() if k != "user"} | {"group": group.pk},
    )
    assert AssetGroupGrant.objects.get().group == group


def test_explanations_and_the_access_page_show_grants(olga, eve, asset, client_for):
    group = Group.objects.create(name="Leads")
    eve.groups.add(group)
    grants.grant_on_object(eve, "assets:read", asset, reason="covers for Dev", until=NOW + timedelta(days=5))
    grants.grant_on_object(group, "findings:read", asset, reason="on call")
    ended = {"since": NOW - timedelta(days=9), "until": NOW - timedelta(days=1)}
    grants.grant_on_object(eve, "scans:read", asset, reason="x", **ended)
    client = client_for(olga)
    holds = client.get(f"/api/v1/explain/holdings?user={eve.email}").json()["holds"]
    single = {(row["permission"], row["at"], row["group"], row["reason"]) for row in holds if "alone" in row["at"]}
    assert single == {
        ("assets:read", "pay alone", "", "covers for Dev"),
        ("findings:read", "pay alone", "Leads", "on call"),
    }
    page = client.get(f"/access?user={eve.email}")
    assert [str(row.content_object) for row, _ in page.context["ending"]] == ["pay"]
    assert "pay alone" in page.content.decode()
    assert "covers for Dev" in page.content.decode()
    mine = client_for(eve).get("/api/v1/explain/holdings").json()
    assert (mine["account"], mine["holds"]) == (eve.email, holds)
    assert client_for(eve).get(f"/api/v1/explain/holdings?user={olga.email}").status_code == 403
    from rbac.explain import explain
    from scanning.models import Scan

    scan = Scan.objects.create(asset=asset, scanner="bandit")
    assert any("a grant on pay alone ended" in line for line in explain(eve, "scans:read", scan).near_misses)


def test_an_explanation_does_not_tell_what_is_out_of_the_askers_sight(tina, eve, elsewhere, client_for):
    """Tina may explain, in her team: neither page nor API names an object elsewhere, or says that there is one."""
    client, nowhere = client_for(tina), "01a20bd9-1d59-7949-b8ec-209801f0f979"
    answers = [
        client.get(f"/api/v1/explain?user={eve.email}&action=assets:read&object={uid}")
        for uid in (elsewhere.uid, nowhere)
    ]
    assert [answer.status_code for answer in answers] == [404, 404]
    page = client.get(f"/access?user={eve.email}&action=assets:read&object={elsewhere.uid}").content.decode()
    assert "There is no object" in page
    assert "shop" not in page


def test_unused_roles_by_api(olga, dev, client_for):
    held = dev.assignments.get(role__key="developer")
    held.valid_from = NOW - timedelta(days=200)
    held.save()
    since = (NOW - timedelta(days=90)).strftime("%Y-%m-%dT%H:%M:%SZ")
    rows = client_for(olga).get(f"/api/v1/assignments?unused_since={since}").json()["results"]
    assert [(row["user"], row["role"]) for row in rows] == [(str(dev.uid), "developer")]
