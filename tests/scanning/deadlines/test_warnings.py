"""Warnings of deadlines: who is told what, once, in how many letters."""

from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from accounts.notify.models import Notice
from accounts.notify.services import set_preference
from audit.models import AuditEntry
from rbac.models import DenyRule
from rbac.services import assign_role, create_unit, root_unit
from scanning.deadlines import warn as deadlines
from scanning.deadlines.models import Stage, Warning
from scanning.deadlines.notices import DEADLINE
from scanning.deadlines.renewal import renew
from scanning.models import Finding, Severity, Status
from scanning.sla.models import Renewal, SlaPolicy
from scanning.sla.services import save_policy
from tests.conftest import letters, make_person, put
from tests.opssight.test_console import make_asset, make_findings, make_scan

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def unit(db):
    return create_unit("Team", parent=root_unit())


@pytest.fixture
def scan(unit):
    return make_scan(make_asset("api", unit))


@pytest.fixture
def ann(unit):
    """Works the findings of the team."""
    person = make_person("Ann")
    assign_role(person, "analyst", unit=unit, reason="test")
    return person


def late(scan, number: int = 1, severity: int = Severity.HIGH, *, by: timedelta = HOUR, **more) -> list[Finding]:
    now = timezone.now()
    return make_findings(scan, number, severity, first_seen_at=now - timedelta(days=8), due_at=now - by, **more)


def told() -> list[tuple[str, str]]:
    """(to whom, subject) of the letters since the last time."""
    found = [(letter.to[0], letter.subject) for letter in letters()]
    mail.outbox.clear()
    return found


def overdue_entries() -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(event="findings:overdue").order_by("id"))


@pytest.mark.parametrize(
    ("whole", "left", "stage"),
    [
        (24, 6.1, None),
        (24, 5.9, Stage.SOON),
        (2, 1.1, None),  # a quarter is half an hour, and an hour the least
        (2, 0.9, Stage.SOON),
        (168, 42.1, None),
        (168, 41.9, Stage.SOON),
        (2160, 73, None),  # a quarter is 22 days, and what the queue calls soon the most
        (2160, 71, Stage.SOON),
        (24, -0.1, Stage.OVER),
    ],
)
def test_the_last_quarter_and_what_is_past_are_told(scan, ann, whole, left, stage):
    due = timezone.now() + left * HOUR
    make_findings(scan, 1, due_at=due, first_seen_at=due - whole * HOUR)
    assert deadlines.warn() == (stage is not None)
    assert [row.stage for row in Warning.objects.all()] == [stage] * (stage is not None)
    assert (
        told()
        == {
            None: [],
            Stage.SOON: [("ann@example.org", "Findings: 1 due soon")],
            Stage.OVER: [("ann@example.org", "Findings: 1 past the deadline")],
        }[stage]
    )
    assert len(overdue_entries()) == (stage == Stage.OVER)


def test_each_stage_once_and_a_moved_deadline_anew(scan, ann, unit):
    now = timezone.now()
    (finding,) = make_findings(scan, 1, Severity.HIGH, first_seen_at=now - 165 * HOUR, due_at=now + 3 * HOUR)
    assert (deadlines.warn(), deadlines.warn()) == (1, 0)
    assert [subject for _, subject in told()] == ["Findings: 1 due soon"]
    put(Finding.objects.filter(pk=finding.pk), due_at=now - HOUR)
    assert (deadlines.warn(), deadlines.warn()) == (1, 0)
    assert [subject for _, subject in told()] == ["Findings: 1 past the deadline"]
    save_policy(SlaPolicy(unit=unit, critical=24, high=100))  # still overdue, by another deadline
    renew(Renewal.objects.get().pk)
    assert (deadlines.warn(), deadlines.warn()) == (1, 0)
    assert [subject for _, subject in told()] == ["Findings: 1 past the deadline"]
    assert [entry.resource_id for entry in overdue_entries()] == [str(finding.uid)] * 2
    assert Warning.objects.count() == 1


def test_what_needs_nobody_is_not_told(scan, ann, unit):
    for status in (Status.FIXED, Status.ACCEPTED, Status.FALSE_POSITIVE, Status.DUPLICATE):
        late(scan, status=status)
    make_findings(scan, 1)  # without a deadline
    off = make_asset("off", unit)
    off.is_active = False
    off.save()
    late(make_scan(off))
    assert deadlines.warn() == 0
    assert told() == []
    assert overdue_entries() == []


def test_the_owner_is_told_and_nobody_else(scan, ann, dev):
    late(scan, 2, owner=dev)
    late(scan, 1, Severity.CRITICAL)
    assert deadlines.warn() == 3
    anns, letter = sorted(letters(), key=lambda letter: letter.to)
    assert (anns.to, anns.subject) == (["ann@example.org"], "Findings: 1 past the deadline")
    assert letter.to == ["dev@example.org"]
    assert "Findings that are yours: 2 past the deadline." in letter.body
    assert "/findings?due=over&owner=me" in letter.body
    assert "in your units" not in letter.body


def test_what_an_owner_may_not_see_any_more_goes_to_the_unit(scan, ann, eve):
    late(scan, owner=eve)
    deadlines.warn()
    assert [to for to, _ in told()] == ["ann@example.org"]


def test_the_nearest_who_may_triage_are_told(unit, olga, ann):
    """Olga may everywhere; she hears only of what nobody nearer may."""
    below = create_unit("System", parent=unit)
    late(make_scan(make_asset("deep", below)))
    late(make_scan(make_asset("high", root_unit())), 2)
    deadlines.warn()
    assert sorted(told()) == [
        ("ann@example.org", "Findings: 1 past the deadline"),
        ("olga@example.org", "Findings: 2 past the deadline"),
    ]
    DenyRule.objects.create(user=ann, unit=below, permission="findings:triage", reason="left the team")
    late(make_scan(make_asset("deeper", below)))
    deadlines.warn()
    assert [to for to, _ in told()] == ["olga@example.org"]


def test_who_does_not_want_letters_gets_none_and_the_trail_has_all(scan, ann):
    set_preference(ann, DEADLINE.name, by_email=False)
    late(scan)
    assert deadlines.warn() == 1
    assert told() == []
    assert len(overdue_entries()) == 1


def test_the_letter_names_the_worst_ten(scan, ann):
    late(scan, 12, Severity.LOW)
    (worst,) = late(scan, 1, Severity.CRITICAL, by=HOUR / 2, title="The worst of them\r\nBcc: all@example.org")
    deadlines.warn()
    (letter,) = letters()
    assert letter.subject == "Findings: 13 past the deadline"
    named = [line.split()[0] for line in letter.body.splitlines() if line.startswith("F-")]
    assert len(named) == 10
    assert named[0] == worst.label
    assert "… and 3 more." in letter.body


def test_thousands_at_once_are_one_letter_and_few_queries(scan, ann, olga, django_assert_max_num_queries):
    late(scan, 2_000)
    with django_assert_max_num_queries(80):
        assert deadlines.warn() == 2_000
    assert Notice.objects.count() == 1
    assert told() == [("ann@example.org", "Findings: 2,000 past the deadline")]
    with django_assert_max_num_queries(6):
        assert deadlines.warn() == 0


def test_a_run_that_stopped_before_the_letters_is_made_up_for(scan, ann, monkeypatch):
    late(scan)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="stopped"):
        patch.setattr(deadlines.notices, "tell", lambda rows: (_ for _ in ()).throw(OSError("stopped")))
        deadlines.warn()
    assert told() == []
    assert deadlines.warn() == 0
    assert told() == [("ann@example.org", "Findings: 1 past the deadline")]
