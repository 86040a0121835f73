"""Lost factors: one person asks, another decides, and the owner begins anew through the own mailbox."""

import json
import re

import pytest
from django.test import Client
from django.urls import reverse

from accounts.mfa import services
from accounts.mfa.codes import fresh_codes
from accounts.mfa.models import FactorReset, RecoveryDevice, TOTPDevice
from accounts.notify.models import Notice
from audit.models import AuditEntry
from tests.accounts.test_passwords import queue
from tests.accounts.test_sign_in import password_step
from tests.conftest import PASSWORD, enrolled, letters, make_person

assert queue  # the fixture
NOTE = "Called her on the number in the staff book."


@pytest.fixture
def otto(db):
    return make_person("Otto", "administrator")


def ask(client: Client, user, note: str = NOTE):
    body = json.dumps({"user": str(user.uid), "note": note})
    return client.post("/api/v1/resets", body, content_type="application/json")


def decide(client: Client, uid: str, how: str = "approve"):
    return client.post(f"/api/v1/resets/{uid}/{how}", "{}", content_type="application/json")


def test_from_the_lost_phone_to_a_new_one(olga, otto, eve, client_for, queue, django_capture_on_commit_callbacks):
    device, session = enrolled(eve), client_for(eve)
    fresh_codes(eve)
    halfway = password_step(eve)
    with django_capture_on_commit_callbacks(execute=True):
        asked = ask(client_for(olga, step_up=True), eve)
    assert (asked.status_code, asked.json()["state"]) == (201, "open")
    told = letters()[-1]
    assert (told.to, told.subject) == ([eve.email], "Your second factors are about to be taken off")
    assert session.get("/my-security").status_code == 200  # nothing happened yet

    with django_capture_on_commit_callbacks(execute=True):
        decided = decide(client_for(otto, step_up=True), asked.json()["uid"])
    assert (decided.status_code, decided.json()["state"], decided.json()["decided_by"]) == (
        200, "approved", str(otto.uid),
    )  # fmt: skip
    assert not services.is_enrolled(eve)
    assert not RecoveryDevice.objects.filter(user=eve).exists()
    assert session.get("/my-security").status_code == 302
    assert halfway.get("/sign-in/enrol")["Location"] == "/sign-in"
    old = Client().post("/sign-in", {"username": eve.email, "password": PASSWORD})
    assert old.status_code == 400  # the password that a stranger may know leads nowhere

    assert queue[-1] == ("accounts.notify.tasks.deliver", [Notice.objects.latest("id").pk])
    link = re.search(r"http://localhost:8000(/set-up/[\w-]+)", letters()[-1].body)
    assert link
    client = Client()
    answer = client.post(link[1], {"password": "seven kettles sing", "again": "seven kettles sing"})
    assert client.get(answer["Location"]).status_code == 200  # enrolment
    assert TOTPDevice.objects.get(user=eve).secret != device.secret
    events = [entry.event for entry in AuditEntry.objects.filter(event__startswith="mfa:reset")]
    assert sorted(events) == ["mfa:reset_approved", "mfa:reset_asked"]


def test_it_takes_a_second_person(olga, otto, client_for):
    """Neither who asked nor whom it is about."""
    enrolled(otto)
    asker = client_for(olga, step_up=True)
    uid = ask(asker, otto).json()["uid"]
    for client in (asker, client_for(otto, step_up=True)):
        answer = decide(client, uid)
        assert (answer.status_code, "second person" in answer.json()["detail"]) == (403, True)
    assert services.is_enrolled(otto)
    assert ask(asker, olga).status_code == 403
    assert decide(asker, uid, "refuse").status_code == 200  # taken back
    answer = decide(client_for(make_person("Ove", "officer"), step_up=True), uid)
    assert (answer.status_code, "decided already" in answer.json()["detail"]) == (409, True)


def test_there_is_one_at_a_time(olga, eve, client_for):
    client = client_for(olga, step_up=True)
    assert ask(client, eve).status_code == 201
    answer = ask(client, eve)
    assert (answer.status_code, "waits for a decision" in answer.json()["detail"]) == (409, True)


@pytest.mark.parametrize("note", ["", "x" * 301, "a\u202eb", None, 5])
def test_a_note_is_needed(olga, eve, client_for, note):
    assert ask(client_for(olga, step_up=True), eve, note).status_code == 400
    assert not FactorReset.objects.exists()


@pytest.mark.parametrize("who", ["adam", "dev", "eve"])
def test_others_may_not(who, request, olga, client_for):
    person, victim = request.getfixturevalue(who), make_person("Vera")
    uid = ask(client_for(olga, step_up=True), victim).json()["uid"]
    client = client_for(person, step_up=True)
    assert ask(client, victim).status_code == 403
    assert decide(client, uid).status_code == 403
    assert decide(client, uid, "refuse").status_code == 403


def test_both_take_a_fresh_proof(olga, otto, eve, client_for):
    assert ask(client_for(olga), eve).status_code == 403
    uid = ask(client_for(olga, step_up=True), eve).json()["uid"]
    assert decide(client_for(otto), uid).json()["step_up"] == "/step-up"
    assert FactorReset.objects.get().state == "open"


def test_the_admin_does_the_same(olga, otto, eve, client_for):
    enrolled(eve)
    client_for(olga, step_up=True).post(reverse("admin:mfa_factorreset_add"), {"user": eve.pk, "note": NOTE})
    reset = FactorReset.objects.get()
    assert (reset.asked_by, reset.state) == (olga, "open")
    chosen = {"action": "approve", "_selected_action": [reset.pk]}
    client_for(olga, step_up=True).post(reverse("admin:mfa_factorreset_changelist"), chosen)
    assert services.is_enrolled(eve)
    client_for(otto, step_up=True).post(reverse("admin:mfa_factorreset_changelist"), chosen)
    assert not services.is_enrolled(eve)


def test_no_page_of_the_admin_or_api_sets_anothers_password(olga, eve, client_for):
    page = client_for(olga, step_up=True).get(reverse("admin:accounts_user_change", args=[eve.pk]))
    assert 'name="password"' not in page.content.decode()
    client = client_for(olga, step_up=True)
    client.post(
        reverse("admin:accounts_user_change", args=[eve.pk]), {"name": "Eve", "is_active": "on", "password": "x"}
    )
    eve.refresh_from_db()
    assert eve.check_password(PASSWORD)
