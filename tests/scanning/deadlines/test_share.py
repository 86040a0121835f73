"""The share within the SLA, against one that looks at each finding by itself."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rbac.services import assign_role, create_unit, root_unit
from scanning.deadlines.share import Period, Share, within
from scanning.models import Asset, Finding, ScanState, Severity, Status
from tests.conftest import make_person
from tests.opssight.test_console import make_asset, make_findings, make_scan

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
URL = "/api/v1/findings/within-sla"
DAYS = st.integers(0, 6)  # few, so that moments meet
ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(Severity), st.sampled_from(Status), DAYS, st.none() | DAYS),
    max_size=12,
)


def naive(rows: list[Finding], since: datetime, until: datetime) -> dict[str, object]:
    """Finding by finding, in the words of the documentation."""
    total, severities, units = [0, 0, 0], dict[int, list[int]](), dict[str, list[int]]()
    left = dict.fromkeys(["no_deadline", "accepted", "false_positive", "duplicate", "inactive"], 0)
    for f in rows:
        was_fixed = f.status == Status.FIXED and since <= f.fixed_at < until
        waited = f.is_unresolved or (f.status == Status.FIXED and f.fixed_at >= until)
        overdue = waited and f.due_at is not None and f.due_at < until
        if not f.asset.is_active:
            left["inactive"] += was_fixed or overdue
        elif was_fixed and f.due_at is None:
            left["no_deadline"] += 1
        elif was_fixed or overdue:
            part = 2 if overdue else 1 if f.fixed_at > f.due_at else 0
            for counts in (
                total, severities.setdefault(f.severity, [0] * 3), units.setdefault(f.asset.unit.name, [0] * 3)
            ):  # fmt: skip
                counts[part] += 1
        elif f.is_unresolved and f.due_at is None and f.first_seen_at < until:
            left["no_deadline"] += 1
        elif f.status in left and f.due_at is not None and f.due_at < until:
            left[f.status] += 1
    return {"total": total, "severities": severities, "units": units, "left": left}


def parts(share: Share) -> list[int]:
    return [share.in_time, share.late, share.overdue]


@pytest.fixture
def assets(db) -> list[Asset]:
    made = [make_asset("a", root_unit()), *(make_asset(n, create_unit(n.upper(), parent=root_unit())) for n in "bc")]
    off = make_asset("off")
    off.is_active = False
    off.save()
    return [*made, off]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, begin=DAYS, length=st.integers(1, 4))
def test_as_finding_by_finding(assets, olga, rows, begin, length):
    Finding.objects.all().delete()
    for number, severity, status, at, due in rows:
        more = {"fixed_at": NOON + at * DAY} if status == Status.FIXED else {}
        due_at = None if due is None else NOON + due * DAY
        seen = NOON + (at - 3) * DAY
        scan = assets[number].scans.first() or make_scan(assets[number])
        make_findings(scan, 1, severity, status=status, due_at=due_at, first_seen_at=seen, **more)
    since, until = NOON + begin * DAY, NOON + (begin + length) * DAY
    found = within(olga, Period(since, until))
    assert {
        "total": parts(found.total),
        "severities": {severity: parts(share) for severity, share in found.by_severity.items()},
        "units": {unit.name: parts(share) for unit, share in found.by_unit.items()},
        "left": found.left_out,
    } == naive(list(Finding.objects.select_related("asset__unit")), since, until)
    assert [sum(c) for c in zip(*map(parts, found.by_unit.values()), strict=True)] in ([], parts(found.total))


@pytest.mark.parametrize(
    ("share", "percent"),
    [(Share(), None), (Share(in_time=1899, late=101), "94.9"), (Share(in_time=95, overdue=5), "95.0"),
     (Share(late=1), "0.0"), (Share(in_time=7), "100.0"), (Share(in_time=99_999, late=1), "99.9")],
)  # fmt: skip
def test_the_percent_never_rounds_up(share, percent):
    assert (share.percent if percent is None else str(share.percent)) == percent


def test_how_much_is_not_known_is_told(olga, client_for):
    now = timezone.now()
    for name, state, at in [
        ("fine", ScanState.COMPLETED, now), ("stale", ScanState.COMPLETED, now - 8 * DAY),
        ("partly", ScanState.COMPLETED_WITH_ERRORS, now), ("failed", ScanState.FAILED, now),
        ("missing", ScanState.NOT_INSTALLED, now), ("undone", ScanState.UNDONE, now), ("going", ScanState.RUNNING, now),
    ]:  # fmt: skip
        make_scan(make_asset(name), state, at=at)
    make_asset("never")
    two = make_asset("two tools")
    make_scan(two)
    make_scan(two, ScanState.FAILED, scanner="semgrep")
    off = make_asset("off")
    off.is_active = False
    off.save()
    answer = client_for(olga).get(URL).json()
    assert answer["known"] == {"assets": 9, "not_known": 8}
    assert (answer["counted"], answer["percent"]) == (0, None)


def test_a_share_has_its_numbers(olga, client_for):
    now = timezone.now()
    scan = make_scan(make_asset())
    make_findings(scan, 3, Severity.HIGH, status=Status.FIXED, fixed_at=now - DAY, due_at=now)
    make_findings(scan, 1, Severity.LOW, status=Status.FIXED, fixed_at=now - DAY, due_at=now - 2 * DAY)
    make_findings(scan, 1, Severity.LOW, due_at=now - 90 * DAY)
    make_findings(scan, 9, Severity.LOW, status=Status.FIXED, fixed_at=now - 40 * DAY, due_at=now)
    client = client_for(olga)
    told = client.get(URL).json()
    assert [told[name] for name in ("in_time", "late", "overdue", "counted", "percent")] == [3, 1, 1, 5, "60.0"]
    assert [(row["severity"], row["counted"]) for row in told["by_severity"]] == [("high", 3), ("low", 2)]
    assert [(row["unit"], row["percent"]) for row in told["by_unit"]] == [(str(root_unit().uid), "60.0")]
    assert client.get(URL, {"days": 41}).json()["in_time"] == 12
    since, until = now - 60 * DAY, now - 30 * DAY
    told = client.get(URL, {"since": since.isoformat(), "until": until.isoformat()}).json()
    assert (told["in_time"], told["overdue"]) == (9, 1)
    assert parse_datetime(told["until"]) == until


@pytest.mark.parametrize(
    "asked",
    [
        {"days": 0}, {"days": 367}, {"days": "x"}, {"days": 3, "since": "2026-01-01T00:00:00Z"},
        {"until": "2026-01-01T00:00:00Z"}, {"since": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
        {"since": "2999-01-01T00:00:00Z"}, {"since": "2026-11-01T00:00:00Z", "until": "2999-01-01T00:00:00Z"},
        {"since": "1999-01-01T00:00:00Z"}, {"since": "yesterday"}, {"since": ""}, {"unit": "x"}, {"days": "3\0"},
        {"since": "0001-01-01T00:00:00+14:00"}, {"since": "9999-12-31T23:59:59-14:00"},
    ],
)  # fmt: skip
def test_what_is_no_period_is_refused(olga, client_for, asked):
    answer = client_for(olga).get(URL, asked)
    assert answer.status_code == 400, answer.content
    assert answer["Content-Type"] == "application/problem+json"


def test_each_sees_the_share_of_their_own(client_for, eve):
    team = create_unit("Team", parent=root_unit())
    lead = make_person("Lead")
    assign_role(lead, "developer", unit=team, reason="test")
    due = timezone.now() - DAY
    make_findings(make_scan(make_asset("mine", team)), 1, due_at=due)
    make_findings(make_scan(make_asset("theirs")), 5, due_at=due)
    told = client_for(lead).get(URL).json()
    assert (told["overdue"], told["known"]) == (1, {"assets": 1, "not_known": 0})
    assert [row["name"] for row in told["by_unit"]] == ["Team"]
    assert client_for(eve).get(URL).status_code == 403
