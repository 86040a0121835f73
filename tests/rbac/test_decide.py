"""The two forms of the rule agree, whatever the tree, the roles, the grants, the denies and the dates."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import User
from opssight.kernel.access import decide, permitted
from rbac import grants, role_book, services
from rbac.models import DenyRule, Role, RoleAssignment, Unit, UnitPath
from scanning.models import Asset, AssetGroupGrant, AssetUserGrant, Finding, Scan, Severity
from tests.rows import untold

NOW = timezone.now()
ROLES = ["employee", "developer", "auditor", "officer", "administrator", "custom", "custom-child"]
PERMISSIONS = [
    "assets:read",
    "assets:create",
    "scans:read",
    "findings:read",
    "assignments:read",
    "users:read",
    "tokens:read",
]
spans = st.sampled_from([(-2, None), (-2, 1), (-2, -1), (1, None), (1, 2)])  # days from now: valid twice, then not
unit_index = st.integers(0, 4)
rules = st.fixed_dictionaries(
    {
        "parents": st.lists(st.integers(0, 3), min_size=4, max_size=4),
        "assignments": st.lists(st.tuples(st.sampled_from(ROLES), unit_index, spans, st.booleans()), max_size=3),
        "denies": st.lists(
            st.tuples(st.sampled_from([*PERMISSIONS, "findings:*", "assets:*"]), unit_index, spans, st.booleans()),
            max_size=2,
        ),
        "grants": st.lists(
            st.tuples(
                st.sampled_from(["assets:read", "scans:read", "findings:read"]), unit_index, spans, st.booleans()
            ),
            max_size=2,
            unique_by=lambda grant: (grant[0], grant[1], grant[3]),
        ),
    }
)


class Undo(Exception):
    pass


@given(rule_set=rules)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_decide_and_permitted_agree(custom_roles, rule_set):
    try:
        with transaction.atomic():
            user = build(rule_set)
            for permission in PERMISSIONS:
                check_agreement(user, permission)
            raise Undo
    except Undo:
        pass


@pytest.fixture
def custom_roles(db) -> None:
    custom = role_book.save_role(Role(key="custom", name="custom"), permissions={"assets:create"}, parents=[])
    role_book.save_role(Role(key="custom-child", name="custom child"), permissions={"scans:read"}, parents=[custom])


def dates(span: tuple[int, int | None]) -> dict[str, object]:
    start, end = span
    return {
        "valid_from": NOW + timedelta(days=start),
        "valid_until": NOW + timedelta(days=end) if end else None,
        "reason": "test",
    }


def build(rule_set: dict) -> User:
    """The organisation of one example. Rows are written past the services, which would refuse some of them."""
    with untold():
        return _built(rule_set)


def _built(rule_set: dict) -> User:
    user, group = User.objects.create(email="someone@example.org"), Group.objects.create(name="some group")
    user.groups.add(group)
    units = planted(rule_set["parents"])
    assets = Asset.objects.bulk_create(Asset(name=f"asset of {unit}", location=f"/{unit}", unit=unit) for unit in units)
    scans = Scan.objects.bulk_create(Scan(asset=asset, scanner="bandit") for asset in assets)
    Finding.objects.bulk_create(
        Finding(
            asset=scan.asset, scanner="bandit", fingerprint="1", rule="B1", title="t", severity=Severity.LOW,
            path="a.py", first_seen_at=NOW, last_seen_at=NOW, first_scan=scan, last_scan=scan,
        )
        for scan in scans
    )  # fmt: skip
    for key, where, span, by_group in rule_set["assignments"]:
        RoleAssignment.objects.create(
            user=None if by_group else user, group=group if by_group else None,
            role=Role.objects.get(key=key), unit=units[where], **dates(span),
        )  # fmt: skip
    for permission, where, span, by_group in rule_set["denies"]:
        DenyRule.objects.create(
            user=None if by_group else user, group=group if by_group else None,
            permission=permission, unit=units[where], **dates(span),
        )  # fmt: skip
    for permission, where, span, by_group in rule_set["grants"]:
        row = Permission.objects.get(codename=permission, content_type__model="asset")
        table, who = (AssetGroupGrant, {"group": group}) if by_group else (AssetUserGrant, {"user": user})
        table.objects.create(permission=row, content_object=assets[where], **who, **dates(span))
    return user


def planted(parents: list[int]) -> list[Unit]:
    """The root and a unit per entry, whose parent is an earlier one; with the closure, worked out here anew."""
    units, above = [services.root_unit()], [[0]]
    for number, parent in enumerate(parents):
        parent %= len(units)
        units.append(Unit.objects.create(name=f"unit {number}", parent=units[parent]))
        above.append([number + 1, *above[parent]])
    UnitPath.objects.bulk_create(
        UnitPath(ancestor=units[ancestor], descendant=units[unit], depth=depth)
        for unit, line in enumerate(above)
        for depth, ancestor in enumerate(line)
        if unit
    )
    return units


def check_agreement(user: User, permission: str) -> None:
    from opssight.kernel.access import resources

    model = resources[permission.partition(":")[0]].model
    listed = set(permitted(model.objects.all(), user, permission))
    decided = {row for row in model.objects.all() if decide(user, permission, row).allowed}
    assert listed == decided, permission
    assert permitted(model.objects.all(), user, permission).count() == len(listed)
    if listed:
        assert decide(user, permission).allowed, permission


@pytest.fixture
def tree(db) -> dict[str, Unit]:
    team = services.create_unit("Payments", parent=services.root_unit())
    return {
        "root": services.root_unit(),
        "team": team,
        "system": services.create_unit("Payments API", parent=team, kind=Unit.Kind.SYSTEM),
        "other": services.create_unit("Shop", parent=services.root_unit()),
    }


@pytest.fixture
def assets(tree) -> dict[str, Asset]:
    return {key: Asset.objects.create(name=key, location=f"/{key}", unit=unit) for key, unit in tree.items()}


def seen(user: User, permission: str = "assets:read") -> set[str]:
    return set(Asset.objects.permitted(user, permission).values_list("name", flat=True))


def test_rights_flow_down_the_tree_and_not_up(eve, tree, assets):
    services.assign_role(eve, "developer", reason="test", unit=tree["team"])
    assert seen(eve) == {"team", "system"}
    assert "role Developer at Payments" in decide(eve, "assets:read", assets["system"]).reasons[0]
    assert not decide(eve, "assets:read", assets["other"]).allowed
    assert not decide(eve, "trail:read").allowed


@pytest.mark.parametrize(
    ("where", "left"), [("system", {"team"}), ("team", set()), ("root", set()), ("other", {"team", "system"})]
)
def test_a_deny_beats_every_grant_at_any_depth(eve, tree, assets, where, left):
    services.assign_role(eve, "developer", reason="test", unit=tree["team"])
    grants.grant_on_object(eve, "assets:read", assets["system"], reason="exception")
    services.save_deny(DenyRule(user=eve, permission="assets:*", unit=tree[where], reason="suspended"))
    assert seen(eve) == left
    if left:  # without an object the answer only says whether it is worth asking on
        assert decide(eve, "assets:read").allowed
    if where == "system":
        assert decide(eve, "assets:read", assets["system"]).reasons == ("denied: assets:* at Payments API",)


def test_a_grant_on_one_asset_reaches_it_and_its_findings_until_it_ends(eve, tree, assets):
    from scanning.models import AssetUserGrant

    grants.grant_on_object(eve, "assets:read", assets["other"], reason="helps out", until=NOW + timedelta(days=1))
    grants.grant_on_object(eve, "findings:read", assets["other"], reason="helps out")
    assert seen(eve) == {"other"}
    assert decide(eve, "assets:read").allowed
    assert "a grant on other alone" in decide(eve, "assets:read", assets["other"]).reasons[0]
    assert decide(eve, "findings:read").allowed
    for grant in AssetUserGrant.objects.filter(permission__codename="assets:read"):
        grant.valid_from, grant.valid_until = NOW - timedelta(days=3), NOW - timedelta(days=1)
        grant.save()
    assert seen(eve) == set()
    assert not decide(eve, "assets:read").allowed


def test_deleting_an_object_takes_its_grants_along(eve, tree, assets):
    grants.grant_on_object(eve, "assets:read", assets["other"], reason="helps out")
    assets["other"].delete()
    assert not AssetUserGrant.objects.exists()


def test_roles_inherit_from_their_parents(eve, tree, assets):
    reader = role_book.save_role(Role(key="reader", name="Reader"), permissions={"assets:read"}, parents=[])
    child = role_book.save_role(Role(key="lead", name="Lead"), permissions=set(), parents=[reader])
    services.assign_role(eve, "lead", reason="test", unit=tree["team"])
    assert seen(eve) == {"team", "system"}
    assert "role Lead (from role Reader)" in decide(eve, "assets:read", assets["team"]).reasons[0]
    role_book.save_role(reader, permissions={"scans:read"}, parents=[])
    assert seen(eve) == set()
    with pytest.raises(role_book.NotARole, match="Reader > Lead > Reader"):
        role_book.save_role(reader, permissions=set(), parents=[child])
    with pytest.raises(role_book.NotARole, match="its own ancestor"):
        role_book.save_role(child, permissions=set(), parents=[child])


def test_the_built_in_roles_give_what_they_should(db):
    held = {role.key: set(role.effects.values_list("permission", flat=True)) for role in Role.objects.all()}
    assert held["employee"] < held["developer"] < held["analyst"] < held["officer"]
    assert held["auditor"] < held["officer"] & held["administrator"]
    assert {p.partition(":")[2] for p in held["auditor"]} <= {"read", "explain", "report", "update", "create", "revoke"}
    writes = {p for p in held["auditor"] if not p.endswith((":read", ":explain", ":report"))}
    assert {p.partition(":")[0] for p in writes} == {"devices", "me", "sessions", "tokens"}


def test_the_closure_holds_every_pair(tree):
    pairs = set(UnitPath.objects.filter(descendant=tree["system"]).values_list("ancestor__name", "depth"))
    assert pairs == {("Payments API", 0), ("Payments", 1), ("Organisation", 2)}


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


def test_a_new_account_holds_the_employee_role_and_nothing_else(eve):
    assert [row.role.key for row in eve.assignments.all()] == ["employee"]
    own = {
        "devices": {"create", "read", "revoke"},
        "me": {"read", "update"},
        "sessions": {"read", "revoke"},
        "tokens": {"create", "read", "revoke"},
    }
    assert set(services.permissions_of(eve)) == {f"{name}:{verb}" for name, verbs in own.items() for verb in verbs}
    assert services.check_permission(eve, "me", "read")
    assert not services.check_permission(eve, "findings", "read")


def test_what_is_read_for_a_decision_is_one_query(olga, tree, assets, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert decide(olga, "assets:read", assets["system"]).allowed


@pytest.mark.parametrize("by", ["role", "single grant"])
@pytest.mark.parametrize("path", ["/findings", "/api/v1/findings", "/api/v1/findings/{}", "/api/v1/assets?limit=5"])
def test_rights_add_two_queries_to_a_request(eve, tree, client_for, path, by):
    """What the person holds, and the policies; lists and objects are asked for in the page's own queries."""
    from tests.architecture.test_admin_leaks import finding

    found = finding(tree["team"])
    if by == "role":
        services.assign_role(eve, "developer", reason="x", unit=tree["team"])
    else:
        for permission in ("findings:read", "assets:read"):
            grants.grant_on_object(eve, permission, found.asset, reason="x")
    client = client_for(eve)
    with CaptureQueriesContext(connection) as asked:
        assert client.get(path.format(found.uid)).status_code == 200
    of_rights = ("WITH held", "access_policy", "x.reason, x.valid_until")
    added = [query["sql"] for query in asked if any(mark in query["sql"] for mark in of_rights)]
    assert len(added) == 2, added
