"""Whatever takes a right away is seen by the very next request, through each door that exists."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from accounts.models import User
from accounts.services import set_active
from accounts.tokens.services import issue_token
from rbac import grants, role_book, services
from rbac.access.models import Policy
from rbac.access.services import save_policy
from rbac.models import DenyRule, Role, RoleAssignment, Unit
from scanning.models import Asset, AssetUserGrant, Finding
from tests.architecture.test_admin_leaks import finding as make_finding
from tests.conftest import make_person
from tests.rows import untold

Undo = Callable[[], Any]
READS = {"findings:read", "admin:enter"}
PAST = timezone.now() - timedelta(minutes=1)


@pytest.fixture
def team(db) -> Unit:
    return services.create_unit("Payments", parent=services.root_unit())


@pytest.fixture
def finding(team) -> Finding:
    return make_finding(team)


@pytest.fixture
def ute(db) -> User:
    return make_person("Ute")


def role(key: str, *permissions: str, parents: list[Role] | None = None) -> Role:
    return role_book.save_role(Role(key=key, name=key), permissions={*permissions}, parents=parents or [])


def by_role(ute: User, finding: Finding, team: Unit) -> Undo:
    held = services.assign_role(ute, "officer", reason="x")
    return lambda: services.revoke_assignment(held)


def by_end_of_role(ute: User, finding: Finding, team: Unit) -> Undo:
    held = services.assign_role(ute, "officer", reason="x", until=timezone.now() + timedelta(days=1))
    earlier = {"valid_from": PAST - timedelta(days=1), "valid_until": PAST}
    return untold()(lambda: RoleAssignment.objects.filter(pk=held.pk).update(**earlier))  # as if a day had passed


def by_deny(ute: User, finding: Finding, team: Unit) -> Undo:
    services.assign_role(ute, "officer", reason="x")
    return lambda: services.save_deny(DenyRule(user=ute, permission="findings:read", unit=team, reason="x"))


def by_deny_of_group(ute: User, finding: Finding, team: Unit) -> Undo:
    services.assign_role(ute, "officer", reason="x")
    group = Group.objects.create(name="Leavers")
    services.save_deny(DenyRule(group=group, permission="findings:*", unit=team, reason="x"))
    return lambda: ute.groups.add(group)


def by_grant(ute: User, finding: Finding, team: Unit) -> Undo:
    role("doorkeeper", "admin:enter")
    services.assign_role(ute, "doorkeeper", reason="x")
    grant = grants.grant_on_object(ute, "findings:read", finding.asset, reason="x")
    return lambda: grants.revoke_grant(grant)


def by_end_of_grant(ute: User, finding: Finding, team: Unit) -> Undo:
    by_grant(ute, finding, team)
    earlier = {"valid_from": PAST - timedelta(days=1), "valid_until": PAST}
    return untold()(lambda: AssetUserGrant.objects.update(**earlier))


def by_membership(ute: User, finding: Finding, team: Unit) -> Undo:
    group = Group.objects.create(name="Leads")
    ute.groups.add(group)
    officer = Role.objects.get(key="officer")
    services.save_assignment(RoleAssignment(group=group, role=officer, unit=services.root_unit(), reason="x"))
    return lambda: ute.groups.remove(group)


def by_grant_to_group(ute: User, finding: Finding, team: Unit) -> Undo:
    role("doorkeeper", "admin:enter")
    services.assign_role(ute, "doorkeeper", reason="x")
    group = Group.objects.create(name="Leads")
    ute.groups.add(group)
    grants.grant_on_object(group, "findings:read", finding.asset, reason="x")
    return lambda: ute.groups.remove(group)


def by_end_of_group(ute: User, finding: Finding, team: Unit) -> Undo:
    by_membership(ute, finding, team)
    return lambda: Group.objects.get().delete()


def by_permission_of_role(ute: User, finding: Finding, team: Unit) -> Undo:
    reader = role("reader", *READS)
    services.assign_role(ute, "reader", reason="x", unit=team)
    return lambda: role_book.save_role(reader, permissions={"admin:enter"}, parents=[])


def by_parent_of_role(ute: User, finding: Finding, team: Unit) -> Undo:
    child = role("child", "admin:enter", parents=[role("reader", "findings:read")])
    services.assign_role(ute, "child", reason="x", unit=team)
    return lambda: role_book.save_role(child, permissions={"admin:enter"}, parents=[])


def by_permission_of_parent(ute: User, finding: Finding, team: Unit) -> Undo:
    parent = role("reader", "findings:read")
    role("child", "admin:enter", parents=[parent])
    services.assign_role(ute, "child", reason="x", unit=team)
    return lambda: role_book.save_role(parent, permissions=set(), parents=[])


def by_move_of_the_asset(ute: User, finding: Finding, team: Unit) -> Undo:
    role("reader", *READS)
    services.assign_role(ute, "reader", reason="x", unit=team)
    shop = services.create_unit("Shop", parent=services.root_unit())
    return untold()(lambda: Asset.objects.update(unit=shop))


def by_deactivation(ute: User, finding: Finding, team: Unit) -> Undo:
    services.assign_role(ute, "officer", reason="x")
    return lambda: set_active(ute, False)


def by_policy(ute: User, finding: Finding, team: Unit) -> Undo:
    services.assign_role(ute, "officer", reason="x")
    never = {"not": {"fact": "weekday", "op": "in", "value": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]}}
    policy = Policy(name="closed", resource="findings", effect="allow", condition=never, reason="closed")
    return lambda: save_policy(policy)


WAYS = [value for name, value in list(globals().items()) if name.startswith("by_")]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("door", ["console", "api session", "api token", "admin"])
def test_the_very_next_request_sees_it(ute, team, finding, client_for, way, door):
    make_person("Otto", "administrator")
    take_away = way(ute, finding, team)
    ute.refresh_from_db()  # a group's role has raised the epoch of its row
    one, many = {
        "console": (f"/findings/{finding.uid}", "/findings"),
        "admin": (f"/admin/scanning/finding/{finding.pk}/change/", "/admin/scanning/finding/"),
    }.get(door, (f"/api/v1/findings/{finding.uid}", "/api/v1/findings"))
    if door == "api token":
        _, text = issue_token(ute, name="t", scopes=["findings:read"])
        client = Client(headers={"authorization": f"Bearer {text}"})
    else:
        client = client_for(ute, step_up=True)
    assert client.get(one).status_code == 200
    assert finding.title in client.get(many).content.decode()
    take_away()
    assert client.get(one).status_code in (302, 401, 403, 404)  # 302: no longer signed in, or out of the admin's sight
    assert finding.title not in client.get(many).content.decode()
