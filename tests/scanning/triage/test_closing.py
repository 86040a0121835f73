"""An acceptance that waits ends with the state that it is about, and who asked hears of it."""

from datetime import timedelta
from io import BytesIO

import pytest
from django.core import mail
from django.utils import timezone

from scanning.imports.services import import_report, undo
from scanning.models import Finding
from scanning.triage import services
from scanning.triage.models import Decision
from tests.conftest import letters, make_person, put
from tests.scanning.triage.conftest import WHY, scanned, status_of

pytestmark = pytest.mark.django_db
REPORT = b'{"tool": "lint", "findings": [{"rule": "R", "title": "Plain HTTP", "severity": "high", "path": "a.py"}]}'


@pytest.fixture
def ana(db: None):
    return make_person("Ana", "officer")


def asked(finding: Finding, by) -> Decision:
    return services.decide(finding, "accepted", by=by, reason=WHY, until=timezone.now() + timedelta(days=9))


def closed(decision: Decision) -> str:
    """Why, and that the requester was told once."""
    decision.refresh_from_db()
    assert (decision.is_approved, decision.answered_by, decision.is_waiting) == (False, None, False)
    letters()
    assert [sent.to for sent in mail.outbox] == [["ana@example.org"]]
    assert decision.answer in mail.outbox[0].body
    return decision.answer


def test_by_another_decision(finding, ana, olga):
    decision = asked(finding, ana)
    services.decide(finding, "in_progress", by=olga)
    assert "is in progress by now" in closed(decision)
    with pytest.raises(services.NotPossible):
        services.answer(decision, approve=True, by=olga)
    assert status_of(finding) == "in_progress"
    assert asked(finding, ana).is_waiting  # can be asked anew


def test_by_a_scan_also_where_the_finding_comes_back(finding, ana, olga, monkeypatch):
    decision = asked(finding, ana)
    scan = scanned(finding.asset, 2)
    from scanning import events

    events.SCAN_FINISHED.emit(target=scan, state=scan.state)
    assert "is fixed by now" in closed(decision)
    scanned(finding.asset, 1, 2)
    assert status_of(finding) == "open"
    with pytest.raises(services.NotPossible):
        services.answer(decision, approve=True, by=olga)
    assert status_of(finding) == "open"


def test_by_the_sweep_where_nothing_else_told(finding, ana):
    decision = asked(finding, ana)
    put(Finding.objects.filter(pk=finding.pk), status="fixed")
    services.wake()
    assert "is fixed by now" in closed(decision)


def test_by_an_import_that_is_undone(asset, ana):
    row = import_report(asset, BytesIO(REPORT)).row
    decision = asked(Finding.objects.get(), ana)
    undo(row)
    assert (Finding.objects.count(), Decision.objects.count()) == (0, 0)
    letters()
    assert [sent.to for sent in mail.outbox] == [["ana@example.org"]]
    assert "The import that brought the finding was undone." in mail.outbox[0].body
    assert decision.reason == WHY


def test_an_answer_is_told_to_who_asked(finding, ana, olga):
    decision = asked(finding, ana)
    services.answer(decision, approve=True, by=olga)
    letters()
    assert [(sent.to, "was approved" in sent.subject) for sent in mail.outbox] == [(["ana@example.org"], True)]


def test_an_older_acceptance_does_not_wake_what_a_newer_one_holds(finding, ana, olga, monkeypatch):
    services.answer(asked(finding, ana), approve=True, by=olga)
    services.decide(finding, "open", by=ana, reason=WHY)
    newer = services.decide(finding, "accepted", by=ana, reason=WHY, until=timezone.now() + timedelta(days=99))
    services.answer(newer, approve=True, by=olga)
    later = timezone.now() + timedelta(days=10)
    monkeypatch.setattr(services.timezone, "now", lambda: later)
    assert services.wake() == 0
    assert status_of(finding) == "accepted"
