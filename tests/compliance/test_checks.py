"""The three controls, in each state that live data can put them."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from accounts.models import User
from compliance.catalogue.controls import CONTROLS
from compliance.checks import base
from compliance.models import Control, State
from rbac.models import Role, RoleAssignment, RoleEffect
from rbac.services import assign_role, create_unit, root_unit
from scanning.models import ScanState, Severity, Status
from tests.compliance.factories import make_asset, make_finding, make_scan
from tests.conftest import enrolled, make_person

NOW = timezone.now()
HOUR, WEEK = timedelta(hours=1), timedelta(hours=168)


def verdicts(result) -> dict[str, bool]:
    """Whether each record failed, by the label of its row."""
    return {row.label: row.failed for row in result.row_set.rows.all()}


def people(result) -> dict[str, bool]:
    emails = dict(User.objects.values_list("uid", "email"))
    return {emails[row.resource_uid].partition("@")[0]: row.failed for row in result.row_set.rows.all()}


def test_every_control_has_a_test_and_every_test_a_control(db):
    assert base.registry.keys() == {entry.key for entry in CONTROLS}
    assert set(Control.objects.values_list("key", flat=True)) == base.registry.keys()
    with pytest.raises(ValueError, match="two tests"):
        base.control_test("vuln.cadence")(lambda params, at: base.unknown("x"))


# --- iam.mfa.privileged -------------------------------------------------------------------------------------------


def give(role: str, *, user=None, group=None, since=-1, until=None) -> RoleAssignment:
    """An assignment from `since` to `until`, in days from now."""
    return RoleAssignment.objects.create(
        user=user, group=group, role=Role.objects.get(key=role), unit=root_unit(), reason="test",
        valid_from=NOW + timedelta(days=since), valid_until=NOW + timedelta(days=until) if until else None,
    )  # fmt: skip


def test_privileged_people_with_a_factor_pass(olga, adam, dev, evaluate):
    enrolled(olga)
    result = evaluate("iam.mfa.privileged")
    assert (result.state, people(result)) == (State.PASS, {"olga": False})
    assert "1 of 1" in result.reason


def test_one_without_a_factor_fails_and_the_row_says_why(olga, evaluate):
    ada = make_person("Ada", "administrator")
    enrolled(olga)
    result = evaluate("iam.mfa.privileged")
    assert (result.state, people(result)) == (State.FAIL, {"olga": False, "ada": True})
    assert result.reason.startswith("1 of 2 privileged accounts without a confirmed second factor.")
    row = result.row_set.rows.get(failed=True)
    assert (row.resource_type, row.resource_uid) == ("accounts.user", ada.uid)
    assert row.detail == "No confirmed second factor. Privileged as Administrator."


def test_an_unconfirmed_factor_or_recovery_codes_alone_are_none(olga, evaluate):
    from accounts.mfa.models import RecoveryDevice

    enrolled(olga).delete()
    device = enrolled(olga)
    device.confirmed = False
    device.save()
    RecoveryDevice.objects.create(user=olga, name="recovery code")
    assert people(evaluate("iam.mfa.privileged")) == {"olga": True}


def test_nobody_privileged_is_unknown(adam, dev, evaluate):
    result = evaluate("iam.mfa.privileged")
    assert (result.state, result.population) == (State.UNKNOWN, 0)
    assert "nothing to test" in result.reason


def test_a_role_held_through_a_group_counts(eve, adam, evaluate):
    group = Group.objects.create(name="on call")
    eve.groups.add(group)
    give("officer", group=group)
    give("officer", group=Group.objects.create(name="empty"))
    assert people(evaluate("iam.mfa.privileged")) == {"eve": True}


def test_a_role_at_one_team_counts_as_well(eve, evaluate):
    assign_role(eve, "officer", reason="test", unit=create_unit("Team", parent=root_unit()))
    assert people(evaluate("iam.mfa.privileged")) == {"eve": True}


def test_two_roles_and_two_ways_make_one_row(eve, evaluate):
    group = Group.objects.create(name="on call")
    eve.groups.add(group)
    for way in ({"group": group}, {"user": eve}):
        give("officer", **way)
    give("administrator", user=eve)
    result = evaluate("iam.mfa.privileged")
    assert result.population == 1
    assert "Privileged as Administrator, Security officer." in result.row_set.rows.get().detail


@pytest.mark.parametrize("when", [{"since": -2, "until": -1}, {"since": 1}])
def test_an_assignment_that_is_over_or_to_come_does_not_count(eve, evaluate, when):
    give("officer", user=eve, **when)
    assert evaluate("iam.mfa.privileged").state == State.UNKNOWN


def test_services_and_inactive_people_are_left_out(olga, evaluate):
    for person, change in ((make_person("Robot"), {"kind": "service"}), (make_person("Gone"), {"is_active": False})):
        give("administrator", user=person)
        for name, value in change.items():
            setattr(person, name, value)
        person.save()
    enrolled(olga)
    assert people(evaluate("iam.mfa.privileged")) == {"olga": False}


@pytest.mark.parametrize(
    ("permission", "counts"), [("admin:enter", True), ("assignments:create", True), ("findings:triage", False)]
)
def test_what_a_role_may_do_makes_it_privileged_not_its_name(eve, evaluate, permission, counts):
    role = Role.objects.create(key="helper", name="Helper")
    RoleEffect.objects.create(role=role, permission=permission, via=role)
    give("helper", user=eve)
    assert evaluate("iam.mfa.privileged").population == counts


def test_no_name_of_a_person_is_kept_with_the_rows(olga, evaluate):
    result = evaluate("iam.mfa.privileged")
    kept = f"{result.reason} {[(r.label, r.detail) for r in result.row_set.rows.all()]}"
    assert "olga" not in kept.lower()


# --- vuln.cadence -------------------------------------------------------------------------------------------------


def test_assets_with_a_completed_scan_in_time_pass(evaluate):
    for name, age in (("shop", HOUR), ("api", WEEK)):
        make_scan(make_asset(name), ended=NOW - age)
    result = evaluate("vuln.cadence", at=NOW)
    assert (result.state, verdicts(result)) == (State.PASS, {"shop": False, "api": False})
    assert result.params == {"within_hours": 168}


def test_an_asset_never_scanned_or_scanned_too_long_ago_fails(evaluate):
    make_scan(make_asset("shop"), ended=NOW - HOUR)
    make_scan(make_asset("api"), ended=NOW - WEEK - timedelta(seconds=1))
    make_asset("new")
    result = evaluate("vuln.cadence", at=NOW)
    assert (result.state, verdicts(result)) == (State.FAIL, {"shop": False, "api": True, "new": True})
    assert result.reason.startswith("2 of 3 assets without a completed scan in the last 168 hours.")
    assert result.row_set.rows.get(label="new").detail == "Never scanned."


@pytest.mark.parametrize("state", [ScanState.COMPLETED_WITH_ERRORS, *ScanState.failures()])
def test_a_run_that_proves_nothing_does_not_count(evaluate, state):
    shop, api = make_asset("shop"), make_asset("api")
    make_scan(shop, ended=NOW - 2 * HOUR)
    make_scan(shop, state, ended=NOW - HOUR)  # the completed one before it still counts, and the row tells of both
    make_scan(api, state, ended=NOW - HOUR)
    result = evaluate("vuln.cadence", at=NOW)
    assert verdicts(result) == {"shop": False, "api": True}
    assert "does not count" in result.reason
    assert "; the latest, " in result.row_set.rows.get(label="shop").detail
    assert result.row_set.rows.get(label="api").detail.startswith("No completed scan; the latest, ")


@pytest.mark.parametrize("state", [ScanState.QUEUED, ScanState.RUNNING])
def test_a_scan_that_has_not_ended_is_none_yet(evaluate, state):
    make_scan(make_asset("shop"), state)
    assert verdicts(evaluate("vuln.cadence", at=NOW)) == {"shop": True}


def test_a_scan_dated_ahead_is_none_yet(evaluate):
    make_scan(make_asset("shop"), ended=NOW + HOUR)
    assert evaluate("vuln.cadence", at=NOW).state == State.FAIL


def test_every_tool_in_use_must_have_completed_in_time(evaluate):
    """The newest run of any tool is not enough: one tool's clean run would hide that another fails for weeks."""
    shop, api = make_asset("shop"), make_asset("api")
    for asset, age in ((shop, HOUR), (api, WEEK + HOUR)):
        make_scan(asset, ended=NOW - age)
        make_scan(asset, ended=NOW - HOUR, scanner="checkov")
    make_scan(api, ScanState.FAILED, ended=NOW - 2 * HOUR)
    result = evaluate("vuln.cadence", at=NOW)
    assert (result.state, verdicts(result)) == (State.FAIL, {"shop": False, "api": True})
    detail = result.row_set.rows.get(label="api").detail
    assert detail.startswith("bandit: last completed scan ")
    assert "failed" in detail and "checkov" not in detail
    make_finding(shop, due=NOW + HOUR)
    result = evaluate("vuln.sla.critical", at=NOW)
    assert (result.state, verdicts(result)) == (State.PASS, {"shop": False})
    assert "api (the latest scan by bandit failed)" in result.reason


@pytest.mark.parametrize("key", ["vuln.cadence", "vuln.sla.critical"])
def test_no_assets_is_unknown(evaluate, key):
    result = evaluate(key)
    assert (result.state, result.population) == (State.UNKNOWN, 0)
    assert "There are no assets" in result.reason


# --- vuln.sla.critical --------------------------------------------------------------------------------------------


@pytest.fixture
def shop(db):
    asset = make_asset("shop")
    make_scan(asset, ended=NOW - HOUR)
    return asset


def test_without_an_overdue_critical_finding_it_passes(shop, evaluate):
    make_finding(shop, due=NOW)  # due now is not past due
    make_finding(shop, due=NOW + HOUR)
    make_finding(shop, due=NOW - HOUR, severity=Severity.HIGH)
    for decided in (Status.FIXED, Status.FALSE_POSITIVE, Status.ACCEPTED, Status.DUPLICATE):
        make_finding(shop, due=NOW - HOUR, status=decided)
    result = evaluate("vuln.sla.critical", at=NOW)
    assert (result.state, verdicts(result)) == (State.PASS, {"shop": False})


@pytest.mark.parametrize("status", Status.unresolved())
@pytest.mark.parametrize("due", [NOW - timedelta(seconds=1), None])
def test_an_overdue_critical_finding_fails_its_asset(shop, evaluate, status, due):
    make_scan(make_asset("api"), ended=NOW - WEEK)
    finding = make_finding(shop, due=due, status=status)
    result = evaluate("vuln.sla.critical", at=NOW)
    assert (result.state, verdicts(result)) == (State.FAIL, {"shop": True, "api": False})
    assert result.reason == "1 of 2 assets with critical findings past their deadline. Fix them and scan again."
    assert finding.label in result.row_set.rows.get(failed=True).detail


def test_assets_without_a_fresh_completed_scan_are_left_out_and_named(shop, evaluate):
    late, broken, new = make_asset("late"), make_asset("broken"), make_asset("new")
    make_scan(late, ended=NOW - WEEK - timedelta(seconds=1))
    make_finding(late, due=NOW - HOUR)
    make_scan(broken, ended=NOW - 2 * HOUR)
    make_scan(broken, ScanState.FAILED, ended=NOW - HOUR)
    result = evaluate("vuln.sla.critical", at=NOW)
    assert (result.state, verdicts(result)) == (State.PASS, {"shop": False})
    assert f"late (stale, scanned {NOW - WEEK:%Y-%m-%d}" in result.reason
    assert "broken (the latest scan failed)" in result.reason
    assert f"{new} (never scanned)" in result.reason


def test_a_scan_that_is_under_way_takes_nothing_away(shop, evaluate):
    make_scan(shop, ScanState.RUNNING)
    assert evaluate("vuln.sla.critical", at=NOW).state == State.PASS


@pytest.mark.parametrize(
    ("state", "age", "why"),
    [
        (ScanState.COMPLETED, WEEK + HOUR, "stale, scanned "),
        (ScanState.FAILED, HOUR, "the latest scan failed"),
        (ScanState.TIMED_OUT, HOUR, "the latest scan timed out"),
        (ScanState.NOT_INSTALLED, HOUR, "found no scanner installed"),
        (ScanState.COMPLETED_WITH_ERRORS, HOUR, "the latest scan completed with errors"),
        (ScanState.RUNNING, HOUR, "never scanned"),
    ],
)
def test_where_no_scan_is_fresh_and_completed_it_is_unknown_and_says_why(evaluate, state, age, why):
    make_scan(make_asset("api"), state, ended=NOW - age)
    result = evaluate("vuln.sla.critical", at=NOW)
    assert (result.state, result.population) == (State.UNKNOWN, 0)
    assert f"api ({'' if why[0] != 'f' else 'the latest scan '}{why}" in result.reason


def test_many_names_are_cut_short(evaluate):
    for number in range(9):
        make_asset(f"asset {number}")
    assert "and 4 more" in evaluate("vuln.sla.critical").reason
