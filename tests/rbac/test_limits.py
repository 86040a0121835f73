"""What a change of rights may not do, by every door: groups, dates, tokens, keys to other accounts, old versions."""

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from accounts.tokens import services as tokens
from accounts.tokens.service_accounts import create_service_account
from opssight.kernel.access import decide
from rbac import grants, groups, role_book, services, units
from rbac.explain import effective, explain
from rbac.models import DenyRule, Role, RoleAssignment, Unit
from scanning.models import Asset
from tests.conftest import make_person

NOW = timezone.now()
SOON, LATER = NOW + timedelta(days=5), NOW + timedelta(days=9)


@pytest.fixture
def root(db) -> Unit:
    return services.root_unit()


@pytest.fixture
def team(root) -> Unit:
    return services.create_unit("Payments", parent=root)


@pytest.fixture
def asset(team) -> Asset:
    return Asset.objects.create(name="pay", location="/pay", unit=team)


@pytest.fixture
def leads(db) -> Group:
    return groups.save_group(Group(name="Leads"))


def call(client: Client, method: str, path: str, data: object = None, **headers: str):
    body = json.dumps(data) if data is not None else ""
    return client.generic(method, f"/api/v1{path}", body, content_type="application/json", headers=headers)


def given(group: Group, key: str, unit: Unit) -> RoleAssignment:
    row = RoleAssignment(group=group, role=Role.objects.get(key=key), unit=unit, reason="x")
    return services.save_assignment(row)


def custom(key: str, *permissions: str) -> Role:
    return role_book.save_role(Role(key=key, name=key.title()), permissions=set(permissions), parents=[])


# --- what a group holds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["assignment", "grant"])
def test_members_hold_what_the_group_holds_in_all_three_forms(eve, leads, asset, by):
    if by == "assignment":
        given(leads, "developer", asset.unit)
    else:
        grants.grant_on_object(leads, "assets:read", asset, reason="x")
    other = Asset.objects.create(name="other", location="/other", unit=services.root_unit())
    assert not decide(eve, "assets:read", asset).allowed
    groups.add_member(leads, eve)
    assert decide(eve, "assets:read", asset).allowed
    assert not decide(eve, "assets:read", other).allowed
    assert list(Asset.objects.permitted(eve, "assets:read")) == [asset]
    assert explain(eve, "assets:read", asset).allowed
    assert "Leads" in {held["group"] if isinstance(held, dict) else held.group for held in effective(eve)}
    groups.remove_member(leads, eve)
    assert not decide(eve, "assets:read", asset).allowed
    assert not Asset.objects.permitted(eve, "assets:read").exists()


def test_a_groups_deny_beats_what_its_members_hold(dev, leads, asset):
    groups.add_member(leads, dev)
    assert decide(dev, "assets:read", asset).allowed
    services.save_deny(DenyRule(group=leads, permission="assets:*", unit=asset.unit, reason="x"))
    assert not decide(dev, "assets:read", asset).allowed
    assert not Asset.objects.permitted(dev, "assets:read").exists()
    told = explain(dev, "assets:read", asset)
    assert not told.allowed
    assert "through group Leads" in " ".join(told.reasons)


# --- groups, by admin ---------------------------------------------------------------------------------------------


def test_groups_are_made_filled_emptied_and_deleted_in_the_admin(olga, eve, client_for):
    client = client_for(olga, step_up=True)
    client.post(reverse("admin:auth_group_add"), {"name": "Leads"})
    group = Group.objects.get(name="Leads")
    page = reverse("admin:auth_group_change", args=[group.pk])
    client.post(page, {"name": "Heads", "joining": [eve.pk]})
    assert list(Group.objects.get(name="Heads").user_set.all()) == [eve]
    client.post(page, {"name": "Heads", "leaving": [eve.pk]})
    assert not group.user_set.exists()
    row = given(group, "auditor", services.root_unit())
    delete = reverse("admin:auth_group_delete", args=[group.pk])
    kept = client.post(delete, {"post": "yes"}, follow=True)
    assert "still holds assignments" in kept.content.decode()
    services.revoke_assignment(row)
    client.post(delete, {"post": "yes"})
    assert not Group.objects.exists()


@pytest.mark.parametrize("name", ["", " ", "a/b", ".", "..", "x" * 151, "a\nb", "a\x00b", "a\u202eb", "Leads"])
def test_hostile_names_are_refused_by_both_doors(olga, leads, client_for, name):
    client = client_for(olga, step_up=True)
    page = client.post(reverse("admin:auth_group_add"), {"name": name})
    assert page.status_code == 200
    assert "errorlist" in page.content.decode() or "error" in page.content.decode()
    assert call(client, "POST", "/groups", {"name": name}).status_code == 400
    assert list(Group.objects.all()) == [leads]


@pytest.mark.parametrize("name", ["<script>alert(1)", "'; DROP TABLE auth_group; --", "Ämter & Co?#%25", "%2F"])
def test_names_that_only_look_hostile_work_and_are_escaped(olga, client_for, name):
    client = client_for(olga, step_up=True)
    made = call(client, "POST", "/groups", {"name": name})
    assert made.status_code == 201
    assert call(client, "GET", made["Location"].removeprefix("/api/v1")).json()["name"] == name
    assert b"<script>alert(1)" not in client.get(reverse("admin:auth_group_changelist")).content
    assert call(client, "DELETE", made["Location"].removeprefix("/api/v1")).status_code == 204


@pytest.mark.parametrize("kind", ["assignments", "denies", "grants"])
def test_a_group_that_holds_anything_stays_and_one_with_members_goes(olga, eve, leads, asset, client_for, kind):
    groups.add_member(leads, eve)
    match kind:
        case "assignments":
            row = given(leads, "auditor", asset.unit)
        case "denies":
            row = services.save_deny(DenyRule(group=leads, permission="assets:read", unit=asset.unit, reason="x"))
        case "grants":
            row = grants.grant_on_object(leads, "assets:read", asset, reason="x")
    client = client_for(olga, step_up=True)
    kept = call(client, "DELETE", "/groups/Leads")
    assert (kept.status_code, f"still holds {kind}" in kept.json()["detail"]) == (409, True)
    assert eve.groups.get() == leads
    row.delete()
    assert call(client, "DELETE", "/groups/Leads").status_code == 204
    assert not eve.groups.exists()


def test_members_by_admin_follow_the_rules_of_giving(eve, leads, root, client_for):
    tina = make_person("Tina")
    custom("groups", "admin:enter", "groups:read", "groups:update", "users:read")
    services.assign_role(tina, "groups", reason="runs groups")
    given(leads, "officer", root)
    client, page = client_for(tina, step_up=True), reverse("admin:auth_group_change", args=[leads.pk])
    for person, told in ((tina, "themselves"), (eve, "hold there yourself")):
        answer = client.post(page, {"name": "Leads", "joining": [person.pk]}, follow=True)
        assert told in answer.content.decode().replace("&#x27;", "'")
        assert not leads.user_set.exists()


# --- versions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["assignments", "denies", "grants", "groups"])
def test_a_delete_of_another_version_is_refused(olga, eve, leads, asset, client_for, kind):
    client = client_for(olga, step_up=True)
    match kind:
        case "assignments":
            address = f"/assignments/{services.assign_role(eve, 'developer', reason='x').uid}"
        case "denies":
            deny = services.save_deny(DenyRule(user=eve, permission="assets:read", unit=asset.unit, reason="x"))
            address = f"/denies/{deny.uid}"
        case "grants":
            address = f"/grants/{grants.grant_on_object(eve, 'assets:read', asset, reason='x').uid}"
        case "groups":
            address = "/groups/Leads"
    read = call(client, "GET", address)["ETag"]
    if kind == "groups":
        groups.add_member(leads, eve)
    elif kind != "grants":  # which are never changed
        changed = call(client, "PATCH", address, {"reason": "another"}, if_match=read)
        assert changed.status_code == 200, changed.content
    stale = '"0123"' if kind == "grants" else read
    assert call(client, "DELETE", address, if_match=stale).status_code == 412
    now = call(client, "GET", address)["ETag"]
    assert call(client, "DELETE", address, if_match=now).status_code == 204
    assert call(client, "GET", address).status_code == 404


def test_without_a_version_a_delete_is_of_what_is_there(olga, leads, client_for):
    assert call(client_for(olga, step_up=True), "DELETE", "/groups/Leads").status_code == 204


# --- the limits ---------------------------------------------------------------------------------------------------


def test_a_role_is_not_widened_beyond_what_one_holds_where_it_is_held(eve, root, client_for):
    tina = make_person("Tina")
    custom("roles", "admin:enter", "roles:read", "roles:update", "assets:read")
    services.assign_role(tina, "roles", reason="runs roles")
    reader = custom("reader", "assets:read")
    services.assign_role(eve, "reader", reason="x")
    client, address = client_for(tina, step_up=True), f"/roles/{reader.uid}"
    for wanted in (["assets:read", "users:update"], ["assignments:create"]):
        refused = call(client, "PATCH", address, {"permissions": wanted}, if_match="*")
        assert (refused.status_code, "would get" in refused.json()["detail"]) == (403, True)
    data = {"name": "Reader", "key": "reader", "description": "", "grants": ["users:update"], "parents": []}
    page = client.post(reverse("admin:rbac_role_change", args=[reader.pk]), data, follow=True)
    assert "would get users:update" in page.content.decode()
    assert not decide(eve, "users:update").allowed
    own = Role.objects.get(key="roles")
    mine = call(
        client, "PATCH", f"/roles/{own.uid}", {"permissions": [*own.own_permissions, "units:read"]}, if_match="*"
    )
    assert (mine.status_code, "themselves" in mine.json()["detail"]) == (403, True)


def test_the_last_administrators_role_is_not_emptied(root):
    keys = custom("keys", "assignments:create", "roles:update", "roles:read")
    services.assign_role(make_person("Kai"), "keys", reason="x")
    with pytest.raises(services.LastAdministrator):
        role_book.save_role(Role.objects.get(key="keys"), permissions={"roles:read"}, parents=[])
    assert "assignments:create" in keys.own_permissions


def test_whoever_is_denied_does_not_shorten_it(olga, root, client_for):
    make_person("Otto", "administrator")
    deny = services.save_deny(DenyRule(user=olga, permission="findings:read", unit=root, reason="conflict"))
    client = client_for(olga, step_up=True)
    for change in ({"valid_until": SOON.isoformat()}, {"permission": "findings:triage"}, {"reason": "x"}):
        refused = call(client, "PATCH", f"/denies/{deny.uid}", change, if_match="*")
        assert (refused.status_code, "themselves" in refused.json()["detail"]) == (403, True)
    deny.refresh_from_db()
    assert (deny.valid_until, deny.permission) == (None, "findings:read")


def test_what_was_taken_away_meanwhile_is_not_saved_back(eve, leads, root):
    held = services.assign_role(eve, "developer", reason="x")
    deny = services.save_deny(DenyRule(user=eve, permission="assets:read", unit=root, reason="x"))
    stale = [(services.save_assignment, held), (services.save_deny, deny), (groups.save_group, leads)]
    copies = [(save, type(row).objects.get(pk=row.pk)) for save, row in stale]
    services.revoke_assignment(held)
    services.remove_deny(deny)
    groups.delete_group(leads)
    for save, row in copies:
        with pytest.raises(services.TakenAway):
            save(row)
    assert not eve.assignments.filter(role__key="developer").exists()
    assert not Group.objects.exists()


def test_the_stored_row_counts_and_not_only_what_it_shall_become(eve, root, team, client_for):
    """Tina administers the team: an assignment at the organisation is not hers to move into it."""
    tina = make_person("Tina", "auditor")
    for role in ("administrator", "developer"):
        services.assign_role(tina, role, reason="x", unit=team)
    held = services.assign_role(eve, "developer", reason="x")
    client = client_for(tina, step_up=True)
    moved = call(client, "PATCH", f"/assignments/{held.uid}", {"unit": str(team.uid)}, if_match="*")
    assert (moved.status_code, moved.json()["missing_permission"]) == (403, "assignments:update")
    held.refresh_from_db()
    assert held.unit == root


def test_what_is_denied_below_is_not_given_above(olga, eve, root, team):
    make_person("Otto", "administrator")
    services.save_deny(DenyRule(user=olga, permission="findings:read", unit=team, reason="conflict"))
    with pytest.raises(services.NotYours, match="findings:read"):
        services.assign_role(eve, "developer", reason="x", by=olga)


def test_a_unit_is_not_moved_by_any_way(root, team):
    shop = services.create_unit("Shop", parent=root)
    team.parent = shop
    with pytest.raises(units.NotMoved):
        services.save_unit(team)
    assert Unit.objects.get(pk=team.pk).parent == root


# --- dates, tokens, keys ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("until", "status"), [(None, 403), (LATER, 403), (SOON, 201), (NOW + timedelta(days=1), 201)])
def test_nobody_gives_for_longer_than_they_hold(olga, eve, asset, client_for, until, status):
    tina = make_person("Tina", "auditor")
    for role in ("administrator", "developer"):
        services.assign_role(tina, role, reason="covers", until=SOON)
    client, root = client_for(tina, step_up=True), str(services.root_unit().uid)
    who = {"user": str(eve.uid), "reason": "x", "valid_until": until and until.isoformat()}
    role = call(client, "POST", "/assignments", who | {"role": "developer", "unit": root})
    assert role.status_code == status, role.content
    grant = call(client, "POST", "/grants", who | {"permission": "scans:create", "object": str(asset.uid)})
    assert grant.status_code == status, grant.content
    if status == 403:
        assert "not for as long" in role.json()["detail"]
        assert "not for as long" in grant.json()["detail"]


def test_nobody_puts_in_for_longer_than_they_hold(eve, leads, root):
    tina = make_person("Tina")
    services.assign_role(tina, "administrator", reason="covers", until=SOON)
    given(leads, "auditor", root)
    with pytest.raises(services.NotYours, match="not for as long"):
        groups.add_member(leads, eve, by=tina)


def test_a_token_gives_only_what_its_scopes_hold(olga, eve, leads, root):
    wanted = ["assignments:create", "assignments:read", "users:read", "units:read", "me:read"]
    _, text = tokens.issue_token(olga, name="t", scopes=wanted)
    client = Client(headers={"authorization": f"Bearer {text}"})
    body = {"user": str(eve.uid), "unit": str(root.uid), "reason": "x"}
    refused = call(client, "POST", "/assignments", body | {"role": "developer"})
    assert (refused.status_code, "assets:read" in refused.json()["detail"]) == (403, True)
    custom("looks", "units:read", "users:read")
    assert call(client, "POST", "/assignments", body | {"role": "looks"}).status_code == 201
    assert not decide(eve, "assets:read").allowed


def test_nobody_makes_a_key_to_an_account_that_reaches_further(olga, team, root, client_for):
    """Tina runs service accounts, and administers a team only: with the key of one that administers the organisation
    she would let it give her anything."""
    tina, robot = make_person("Tina"), create_service_account("robot@example.org", name="Robot")
    custom("robots", "service-accounts:read", "service-accounts:update")
    services.assign_role(tina, "robots", reason="x")
    services.assign_role(tina, "administrator", reason="x", unit=team)
    held = services.assign_role(robot, "administrator", reason="x")
    client, asked = client_for(tina, step_up=True), {"name": "key", "scopes": ["assignments:create"]}
    address = f"/service-accounts/{robot.uid}/tokens"
    refused = call(client, "POST", address, asked)
    assert (refused.status_code, "in places where you don't" in refused.json()["detail"]) == (400, True)
    old, _ = tokens.issue_token(robot, name="olga's", scopes=["assignments:create"], by=olga)
    rotated = call(client, "POST", f"{address}/{old.uid}/rotate", {})
    assert rotated.status_code == 400
    services.revoke_assignment(held)
    services.assign_role(robot, "administrator", reason="x", unit=team)
    assert call(client, "POST", address, asked).status_code == 201


def test_nor_to_one_with_grants_on_objects_that_one_does_not_reach(team, asset, client_for):
    tina, robot = make_person("Tina"), create_service_account("robot@example.org", name="Robot")
    custom("robots", "service-accounts:read", "service-accounts:update")
    services.assign_role(tina, "robots", reason="x")
    grants.grant_on_object(robot, "assets:read", asset, reason="x")
    there = services.create_unit("Shop", parent=services.root_unit())
    services.assign_role(tina, "developer", reason="x", unit=there)
    client, asked = client_for(tina, step_up=True), {"name": "key", "scopes": ["assets:read"]}
    assert call(client, "POST", f"/service-accounts/{robot.uid}/tokens", asked).status_code == 400
    services.assign_role(tina, "developer", reason="x", unit=team)
    client = client_for(tina, step_up=True)
    assert call(client, "POST", f"/service-accounts/{robot.uid}/tokens", asked).status_code == 201


def test_a_service_account_gives_back_no_more_than_was_given_to_it(eve, team, root):
    """Tina may give it what she holds, and it may give her that; nothing beyond."""
    tina, robot = make_person("Tina"), create_service_account("robot@example.org", name="Robot")
    services.assign_role(tina, "administrator", reason="x", unit=team)
    services.assign_role(robot, "administrator", reason="x", unit=team, by=tina)
    robot = User.objects.get(pk=robot.pk)
    with pytest.raises(services.NotYours, match="assets:create"):
        services.assign_role(tina, "officer", reason="x", unit=team, by=robot)
    with pytest.raises(services.NotYours, match="themselves"):
        services.assign_role(robot, "auditor", reason="x", unit=team, by=robot)


def test_who_changes_accounts_takes_none_over(olga, client_for):
    """`users:update` renames, lets out and in. The e-mail stays, no link is shown, no factor or password goes."""
    uma = make_person("Uma")
    custom("clerk", "admin:enter", "users:read", "users:update")
    services.assign_role(uma, "clerk", reason="x")
    client = client_for(uma, step_up=True)
    password = olga.password
    data = {"name": "Olga O", "email": "uma+2@example.org", "is_active": "on", "password": "x", "kind": "service"}
    page = client.post(reverse("admin:accounts_user_change", args=[olga.pk]), data, follow=True)
    olga.refresh_from_db()
    assert (olga.name, olga.email, olga.password, olga.kind) == ("Olga O", "olga@example.org", password, "person")
    assert "/set-up/" not in page.content.decode()
    assert not olga.setup_links.exists()
    reset = call(client, "POST", "/resets", {"user": str(olga.uid), "note": "lost"})
    assert (reset.status_code, reset.json()["missing_permission"]) == (403, "resets:create")
