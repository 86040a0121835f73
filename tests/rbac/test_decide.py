"""The two forms of the rule agree, whatever the tree, the roles and the dates."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import User
from opssight.kernel.access import decide, permitted
from rbac import services
from rbac.models import Role, RoleAssignment, Unit, UnitPath
from scanning.models import Asset, Finding

NOW = timezone.now()
ROLES = ["employee", "developer", "analyst", "auditor", "officer", "administrator"]
spans = st.sampled_from([(-2, None), (-2, 1), (-2, -1), (1, None), (1, 2)])  # days from now: valid twice, then not
grants = st.tuples(st.sampled_from(ROLES), st.integers(0, 5), spans, st.booleans())


class Undo(Exception):
    pass


@pytest.mark.parametrize("permission", ["assets:read", "assets:create", "assignments:read", "trail:read", "users:read"])
@given(parents=st.lists(st.integers(0, 4), min_size=5, max_size=5), given_roles=st.lists(grants, max_size=4))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_decide_and_permitted_agree(db, permission, parents, given_roles):
    try:
        with transaction.atomic():
            check_agreement(permission, parents, given_roles)
            raise Undo
    except Undo:
        pass


def check_agreement(permission, parents, given_roles):
    user = User.objects.create(email="someone@example.org")
    group = Group.objects.create(name="some group")
    user.groups.add(group)
    units = [services.root_unit()]
    for number, parent in enumerate(parents):
        units.append(services.create_unit(f"unit {number}", parent=units[parent % len(units)]))
    for unit in units:
        Asset.objects.create(name=f"asset of {unit}", location=f"/{unit}", unit=unit)
    for key, where, (start, end), by_group in given_roles:
        RoleAssignment.objects.create(
            user=None if by_group else user,
            group=group if by_group else None,
            role=Role.objects.get(key=key),
            unit=units[where],
            valid_from=NOW + timedelta(days=start),
            valid_until=NOW + timedelta(days=end) if end else None,
            reason="test",
        )
    model = {"assets": Asset, "assignments": RoleAssignment, "users": User}.get(permission.partition(":")[0])
    if model is None:
        return
    listed = set(permitted(model.objects.all(), user, permission))
    decided = {row for row in model.objects.all() if decide(user, permission, row).allowed}
    assert listed == decided
    if listed:
        assert decide(user, permission).allowed


def test_rights_flow_down_the_tree_and_not_up(eve):
    team = services.create_unit("Payments", parent=services.root_unit())
    system = services.create_unit("Payments API", parent=team)
    other = services.create_unit("Shop", parent=services.root_unit())
    assets = [
        Asset.objects.create(name=str(unit), location=f"/{unit}", unit=unit)
        for unit in (services.root_unit(), team, system, other)
    ]
    services.assign_role(eve, "developer", reason="test", unit=team)
    assert [decide(eve, "assets:read", asset).allowed for asset in assets] == [False, True, True, False]
    assert set(Asset.objects.permitted(eve, "assets:read")) == {assets[1], assets[2]}
    assert "role Developer at Payments" in decide(eve, "assets:read", assets[2]).reasons[0]
    assert not decide(eve, "trail:read").allowed


def test_the_closure_holds_every_pair(db):
    team = services.create_unit("Team", parent=services.root_unit())
    system = services.create_unit("System", parent=team, kind=Unit.Kind.SYSTEM)
    pairs = set(UnitPath.objects.filter(descendant=system).values_list("ancestor__name", "depth"))
    assert pairs == {("System", 0), ("Team", 1), ("Organisation", 2)}


def test_there_is_one_root(db):
    from django.core.exceptions import ValidationError

    with pytest.raises(ValidationError):
        services.create_unit("Second company", parent=None, kind=Unit.Kind.COMPANY)


def test_nobody_and_nothing_unknown_is_allowed(olga):
    from django.contrib.auth.models import AnonymousUser

    assert not decide(AnonymousUser(), "findings:read").allowed
    assert not decide(olga, "findings:destroy_everything").allowed
    assert not decide(olga, "nonsense").allowed
    assert list(Finding.objects.permitted(AnonymousUser(), "findings:read")) == []
    olga.is_active = False
    assert not decide(olga, "findings:read").allowed


def test_a_permission_is_not_stretched_to_another_kind_of_object(olga):
    assert not decide(olga, "findings:read", olga).allowed
    assert not Unit.objects.permitted(olga, "users:read").exists()
