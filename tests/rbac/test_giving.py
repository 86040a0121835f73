"""Giving rights and taking them away: limits of delegation, dates, and the last administrator."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts.services import set_active
from audit.models import AuditEntry
from opssight.kernel.access import Forbidden, decide
from rbac import grants, role_book, services
from rbac.models import DenyRule, Role, RoleAssignment
from scanning.models import Asset
from tests.conftest import make_person

NOW = timezone.now()


@pytest.fixture
def team(db):
    return services.create_unit("Payments", parent=services.root_unit())


@pytest.fixture
def tina(team):
    """Administers the team, where she is a developer too."""
    person = make_person("Tina")
    for role in ("administrator", "developer"):
        services.assign_role(person, role, reason="head of the team", unit=team)
    return person


def test_a_delegated_administrator_gives_what_she_holds_where_she_holds_it(tina, eve, team):
    services.assign_role(eve, "developer", reason="joins", unit=team, by=tina)
    below = services.create_unit("Payments API", parent=team)
    services.assign_role(eve, "auditor", reason="joins", unit=below, by=tina)
    assert decide(eve, "assets:read", Asset(unit=below)).allowed


def test_she_gives_nothing_she_lacks_and_nothing_elsewhere(tina, eve, team):
    with pytest.raises(services.NotYours, match="you don't hold assets:create"):
        services.assign_role(eve, "officer", reason="too much", unit=team, by=tina)
    with pytest.raises(Forbidden):
        services.assign_role(eve, "developer", reason="elsewhere", unit=services.root_unit(), by=tina)
    other = services.create_unit("Shop", parent=services.root_unit())
    with pytest.raises(Forbidden):
        services.assign_role(eve, "developer", reason="elsewhere", unit=other, by=tina)


def test_what_is_denied_to_her_she_can_not_give(tina, eve, team):
    services.save_deny(DenyRule(user=tina, permission="findings:read", unit=team, reason="conflict of interest"))
    with pytest.raises(services.NotYours, match="findings:read"):
        services.assign_role(eve, "developer", reason="joins", unit=team, by=tina)


@pytest.mark.parametrize("way", ["directly", "through a group", "by a changed role"])
def test_nobody_gives_to_themselves(tina, team, way):
    if way == "directly":
        with pytest.raises(services.NotYours, match="themselves"):
            services.assign_role(tina, "employee", reason="me", unit=team, by=tina)
    elif way == "through a group":
        group = Group.objects.create(name="heads")
        tina.groups.add(group)
        row = RoleAssignment(group=group, role=Role.objects.get(key="developer"), unit=team, reason="us")
        with pytest.raises(services.NotYours, match="themselves"):
            services.save_assignment(row, by=tina)
    else:
        held = tina.assignments.get(role__key="developer")
        held.role = Role.objects.get(key="officer")
        with pytest.raises(services.NotYours):
            services.save_assignment(held, by=tina)


def test_she_can_not_lift_what_is_denied_to_herself(tina, team):
    deny = services.save_deny(DenyRule(user=tina, permission="findings:read", unit=team, reason="conflict"))
    with pytest.raises(services.NotYours):
        services.remove_deny(deny, by=tina)
    other = make_person("Otto", "administrator")
    services.remove_deny(deny, by=other)
    assert not DenyRule.objects.exists()


def test_a_person_without_the_right_gives_nothing(dev, eve, team):
    with pytest.raises(Forbidden):
        services.assign_role(eve, "employee", reason="no", unit=team, by=dev)
    with pytest.raises(Forbidden):
        services.save_deny(DenyRule(user=eve, permission="me:read", unit=team, reason="no"), by=dev)
    with pytest.raises(Forbidden):
        services.revoke_assignment(eve.assignments.get(), by=dev)


def test_grants_on_single_objects_follow_the_same_limits(tina, olga, eve, team):
    asset = Asset.objects.create(name="pay", location="/pay", unit=team)
    with pytest.raises(grants.NotGrantable, match="There are: assets:create"):
        grants.grant_on_object(eve, "trail:read", asset, reason="no", by=olga)
    with pytest.raises(services.NotYours, match="themselves"):
        grants.grant_on_object(olga, "assets:read", asset, reason="me", by=olga)
    grant = grants.grant_on_object(eve, "assets:read", asset, reason="helps", by=olga)
    assert decide(eve, "assets:read", asset).allowed
    grants.revoke_grant(grant, by=olga)
    assert not decide(eve, "assets:read", asset).allowed


@pytest.mark.parametrize("change", ["revoke", "deactivate", "deny", "end", "weaken the role"])
def test_the_last_administrator_stays(olga, change):
    held = olga.assignments.get(role__key="administrator")
    with pytest.raises(services.LastAdministrator, match="nobody who can give rights"):
        match change:
            case "revoke":
                services.revoke_assignment(held)
            case "deactivate":
                set_active(olga, False)
            case "deny":
                deny = DenyRule(user=olga, permission="assignments:*", unit=services.root_unit(), reason="x")
                services.save_deny(deny)
            case "end":
                held.valid_until = NOW + timedelta(days=30)
                services.save_assignment(held)
            case "weaken the role":
                held.role = Role.objects.get(key="employee")
                held.unit = services.create_unit("Elsewhere", parent=services.root_unit())
                services.save_assignment(held)
    olga.refresh_from_db()
    assert olga.is_active
    assert decide(olga, "assignments:create").allowed


def test_with_a_second_administrator_the_first_may_go(olga):
    make_person("Otto", "administrator")
    set_active(olga, False)
    assert not AuditEntry.objects.filter(event="accounts:deactivated", success=False).exists()


def test_dates_the_wrong_way_round_are_refused(eve, team):
    with pytest.raises(ValidationError, match="ends before it begins"):
        services.assign_role(eve, "developer", reason="x", unit=team, until=NOW - timedelta(days=1))


def test_overlapping_assignments_are_refused_and_adjacent_ones_are_not(eve, team):
    first = services.assign_role(eve, "developer", reason="x", unit=team, until=NOW + timedelta(days=10))
    with pytest.raises(services.Overlaps, match="is held already"):
        services.assign_role(eve, "developer", reason="again", unit=team)
    role = Role.objects.get(key="developer")
    after = RoleAssignment(user=eve, role=role, unit=team, reason="next", valid_from=first.valid_until)
    services.save_assignment(after)
    services.assign_role(eve, "developer", reason="elsewhere", unit=services.create_unit("Shop", parent=team))


@pytest.mark.parametrize("permission", ["nonsense", "findings:destroy", "*", "*:*", "", "findings"])
def test_denies_of_what_does_not_exist_are_refused(eve, team, permission):
    with pytest.raises(ValidationError):
        services.save_deny(DenyRule(user=eve, permission=permission, unit=team, reason="x"))


def test_roles_with_unknown_permissions_and_built_in_ones_are_not_changed(db):
    with pytest.raises(role_book.NotARole, match="Unknown permission: findings:destroy"):
        role_book.save_role(Role(key="x", name="X"), permissions={"findings:destroy"}, parents=[])
    with pytest.raises(role_book.NotARole, match="built in"):
        role_book.save_role(Role.objects.get(key="employee"), permissions=set(), parents=[])
    assert not Role.objects.filter(key="x").exists()


def test_a_unit_in_use_can_not_vanish(eve, team):
    from django.db.models import ProtectedError

    services.assign_role(eve, "developer", reason="x", unit=team)
    with pytest.raises(ProtectedError):
        team.delete()


def test_every_change_is_in_the_trail(olga, eve, team):
    asset = Asset.objects.create(name="pay", location="/pay", unit=team)
    held = services.assign_role(eve, "developer", reason="x", unit=team, by=olga)
    services.revoke_assignment(held, by=olga)
    deny = services.save_deny(DenyRule(user=eve, permission="assets:read", unit=team, reason="x"), by=olga)
    services.remove_deny(deny, by=olga)
    grants.revoke_grant(grants.grant_on_object(eve, "assets:read", asset, reason="x", by=olga), by=olga)
    told = set(AuditEntry.objects.exclude(event="").values_list("event", flat=True))
    assert {"roles:assigned", "roles:revoked", "denies:made", "denies:lifted", "grants:made", "grants:revoked"} <= told
