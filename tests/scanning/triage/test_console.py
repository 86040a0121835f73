"""Deciding in the console."""

from datetime import timedelta

import pytest
from django.utils import timezone

from scanning.models import Finding
from scanning.triage.models import Decision
from tests.conftest import make_person
from tests.scanning.triage.conftest import WHY, status_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def officer(client_for):
    return client_for(make_person("Ana", "officer"))


def page(client, finding) -> str:
    return client.get(finding.get_absolute_url()).content.decode()


def test_a_decision_is_made_with_a_form_and_stands_on_the_page(officer, finding):
    address = f"/findings/{finding.uid}/decide"
    assert address in page(officer, finding)
    assert 'value="false_positive"' in officer.get(address).content.decode()
    refused = officer.post(address, {"status": "false_positive", "reason": ""})
    assert (refused.status_code, "Give a reason" in refused.content.decode()) == (400, True)
    assert officer.post(address, {"status": "gone", "reason": WHY}).status_code == 400
    assert officer.post(address, {"status": "duplicate", "reason": WHY, "original": "F-999999"}).status_code == 400
    assert officer.post(address, {"status": "accepted", "reason": WHY, "until": "yesterday"}).status_code == 400
    assert status_of(finding) == "open"
    done = officer.post(address, {"status": "false_positive", "reason": WHY})
    assert (done.status_code, done["Location"]) == (302, finding.get_absolute_url())
    assert status_of(finding) == "false_positive"
    assert WHY in page(officer, finding)
    assert 'value="open"' in officer.get(address).content.decode()


def test_a_duplicate_is_named_by_its_number(officer, finding):
    other = Finding.objects.get(line=2)
    data = {"status": "duplicate", "reason": WHY, "original": other.label.lower()}
    assert officer.post(f"/findings/{finding.uid}/decide", data).status_code == 302
    assert other.label in page(officer, finding)


def test_an_acceptance_is_answered_by_another(officer, finding, olga, client_for):
    day = (timezone.now() + timedelta(days=9)).date()
    officer.post(f"/findings/{finding.uid}/decide", {"status": "accepted", "reason": WHY, "until": str(day)})
    decision = Decision.objects.get()
    assert decision.until.date() == day
    address = f"/decisions/{decision.uid}/answer"
    assert "Waits for a second person" in page(officer, finding)
    told = officer.post(address, {"approve": "yes"}, follow=True).content.decode()
    assert "second person to accept a risk" in told
    second = client_for(olga)
    assert "Say why" in second.post(address, {"reason": ""}, follow=True).content.decode()
    assert "The risk is accepted." in second.post(address, {"approve": "yes"}, follow=True).content.decode()
    assert status_of(finding) == "accepted"
    assert "Approved by Olga" in page(second, finding)


def test_who_may_not_is_offered_nothing(finding, dev, client_for):
    client = client_for(dev)
    assert "/decide" not in page(client, finding)
    assert client.get(f"/findings/{finding.uid}/decide").status_code == 403
    assert client.post(f"/findings/{finding.uid}/decide", {"status": "fixed", "reason": WHY}).status_code == 403
    assert status_of(finding) == "open"
