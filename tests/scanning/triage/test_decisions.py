"""Decisions about findings: which are possible, what each needs, and whose word they take."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from audit.models import AuditEntry
from rbac.services import assign_role, create_unit, root_unit
from scanning.inventory import asset_at
from scanning.models import Finding, Status
from scanning.triage import services
from scanning.triage.models import Decision
from tests.conftest import make_person, put
from tests.scanning.triage.conftest import WHY, scanned, status_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def ana(db: None):
    return make_person("Ana", "officer")


@pytest.fixture
def decide(ana, client_for, finding) -> Callable[..., Any]:
    """As Ana, who may also approve, about the first finding."""
    client = client_for(ana)

    def post(status: str, about: Finding = finding, **more: Any) -> Any:
        data = {"finding": str(about.uid), "status": status, **more}
        return client.post("/api/v1/decisions", data, content_type="application/json")

    return post


def in_days(days: float) -> str:
    return (timezone.now() + timedelta(days=days)).isoformat()


def answer(client: Any, decision: Any, word: str, **more: str) -> Any:
    return client.post(f"{decision['Location']}/{word}", more, content_type="application/json")


@pytest.mark.parametrize("was", Status.values)
@pytest.mark.parametrize("status", Status.values)
def test_which_state_follows_which(decide, finding, was, status, ana):
    put(Finding.objects.filter(pk=finding.pk), status=was)
    more = {"until": in_days(9)} if status == "accepted" else {}
    if status == "duplicate":
        more["original"] = str(Finding.objects.get(line=2).uid)
    answered = decide(status, reason=WHY, **more)
    if status not in services.FOLLOWS[was]:
        assert answered.status_code == 409
        assert "after that it can be" in answered.json()["detail"]
        assert (status_of(finding), Decision.objects.count()) == (was, 0)
        return
    assert answered.status_code == 201, answered.content
    assert status_of(finding) == (was if status == "accepted" else status)
    row = Decision.objects.get()
    assert (row.was, row.status, row.reason, row.decided_by) == (was, status, WHY, ana)
    event = "findings:acceptance_asked" if status == "accepted" else "findings:triaged"
    entry = AuditEntry.objects.filter(event=event).get()
    assert (entry.actor_id, entry.resource_id) == (ana.pk, str(finding.uid))


@pytest.mark.parametrize(
    ("status", "more", "told"),
    [
        ("false_positive", {}, "Give a reason"),
        ("false_positive", {"reason": "  "}, "Give a reason"),
        ("fixed", {}, "Give a reason"),
        ("accepted", {"reason": WHY}, "Say until when"),
        ("accepted", {"reason": WHY, "until": in_days(-1)}, "within the next 366 days"),
        ("accepted", {"reason": WHY, "until": in_days(400)}, "within the next 366 days"),
        ("duplicate", {"reason": WHY}, "which finding it is a duplicate of"),
    ],
)
def test_what_is_missing_is_told_and_nothing_changes(decide, finding, status, more, told):
    answered = decide(status, **more)
    assert (answered.status_code, told in answered.json()["detail"]) == (400, True)
    assert (status_of(finding), Decision.objects.count()) == ("open", 0)


def test_work_needs_no_reason_and_the_unknown_is_refused_by_name(decide, finding):
    assert decide("in_progress").status_code == 201
    assert list(decide("gone", reason=WHY).json()["errors"]) == ["status"]
    assert list(decide("fixed", reason=WHY, by="me").json()["errors"]) == ["by"]
    assert list(decide("fixed", reason="x" * 1001).json()["errors"]) == ["reason"]
    assert status_of(finding) == "in_progress"


def test_a_duplicate_is_one_of_another_in_the_same_asset(decide, finding, tmp_path):
    other = Finding.objects.get(line=2)
    (tmp_path / "elsewhere").mkdir()
    scanned(asset_at(tmp_path / "elsewhere"), 1)
    stranger = Finding.objects.exclude(asset=finding.asset).get()
    for wrong in (finding, stranger):
        assert decide("duplicate", reason=WHY, original=str(wrong.uid)).status_code == 400
    assert decide("duplicate", reason=WHY, original="01a20bd9-1d59-7949-b8ec-209801f0f979").status_code == 404
    assert decide("duplicate", reason=WHY, original=str(other.uid)).status_code == 201
    assert decide("duplicate", other, reason=WHY, original=str(finding.uid)).status_code == 400  # it is one itself
    assert Decision.objects.get().original == other


def test_an_acceptance_takes_two_people_and_runs_out(decide, finding, ana, olga, client_for, monkeypatch):
    decision = decide("accepted", reason=WHY, until=in_days(9))
    assert decision.json()["is_approved"] is None
    assert decide("accepted", reason=WHY, until=in_days(9)).status_code == 409  # one waits already
    mine = answer(client_for(ana), decision, "approve")
    assert (mine.status_code, "second person" in mine.json()["detail"]) == (409, True)
    assert status_of(finding) == "open"
    officer = client_for(olga)
    assert [row["uid"] for row in officer.get("/api/v1/decisions?waiting=true").json()["results"]] == [
        decision.json()["uid"]
    ]
    assert answer(officer, decision, "approve").json()["is_approved"] is True
    assert status_of(finding) == "accepted"
    assert answer(officer, decision, "approve").status_code == 409
    scanned(finding.asset, 1, 2)  # a scan does not undo it
    assert status_of(finding) == "accepted"

    assert services.wake() == 0
    later = timezone.now() + timedelta(days=9, minutes=1)
    monkeypatch.setattr(services.timezone, "now", lambda: later)
    assert (services.wake(), services.wake()) == (1, 0)
    row = Finding.objects.get(pk=finding.pk)
    assert (row.status, row.due_at) == ("open", later + timedelta(days=7))
    assert AuditEntry.objects.get(event="findings:woken").resource_id == str(finding.uid)


def test_a_refusal_takes_a_reason_and_leaves_the_finding(decide, finding, olga, client_for):
    decision = decide("accepted", reason=WHY, until=in_days(9))
    officer = client_for(olga)
    assert answer(officer, decision, "refuse").status_code == 400
    refused = answer(officer, decision, "refuse", reason="It is reachable through the proxy.")
    assert (refused.status_code, refused.json()["answer"]) == (200, "It is reachable through the proxy.")
    assert status_of(finding) == "open"
    assert decide("accepted", reason=WHY, until=in_days(9)).status_code == 201  # asked anew


def test_what_changed_meanwhile_is_not_accepted(decide, finding, olga, client_for):
    decision = decide("accepted", reason=WHY, until=in_days(9))
    scanned(finding.asset, 2)
    assert status_of(finding) == "fixed"
    late = answer(client_for(olga), decision, "approve")
    assert (late.status_code, "is fixed by now" in late.json()["detail"]) == (409, True)


def test_what_was_decided_otherwise_does_not_wake(decide, finding, olga, client_for, monkeypatch):
    decision = decide("accepted", reason=WHY, until=in_days(9))
    answer(client_for(olga), decision, "approve")
    assert decide("open", reason="The proxy was opened.").status_code == 201
    assert decide("false_positive", reason=WHY).status_code == 201
    later = timezone.now() + timedelta(days=10)
    monkeypatch.setattr(services.timezone, "now", lambda: later)
    assert services.wake() == 0
    assert status_of(finding) == "false_positive"


def test_who_may(decide, finding, dev, adam, eve, client_for):
    decision = decide("accepted", reason=WHY, until=in_days(9))
    data = {"finding": str(finding.uid), "status": "fixed", "reason": WHY}
    for person, read in ((dev, 200), (adam, 200), (eve, 403)):
        client = client_for(person)
        posted = client.post("/api/v1/decisions", data, content_type="application/json")
        assert (posted.status_code, posted.json()["missing_permission"]) == (403, "findings:triage")
        assert answer(client, decision, "approve").status_code == 403
        assert client.get(decision["Location"]).status_code == read
    elsewhere = create_unit("Elsewhere", parent=root_unit())
    assign_role(eve, "officer", unit=elsewhere, reason="works there")
    client = client_for(eve)
    assert client.post("/api/v1/decisions", data, content_type="application/json").status_code == 404
    assert client.get(decision["Location"]).status_code == 404
    assert status_of(finding) == "open"
