"""A factor whose stored secret can't be decrypted: a sentence, an event and a line in the log, and other ways go on."""

import json

import pytest
from django.test import Client
from django.urls import reverse

from accounts.mfa.codes import fresh_codes
from accounts.mfa.models import MessageDevice, TOTPDevice
from accounts.mfa.services import is_enrolled
from accounts.personal.services import set_own
from audit.models import AuditEntry
from tests.accounts.mfa.test_messages import device_of
from tests.accounts.test_sign_in import code_for, password_step
from tests.conftest import PASSWORD, enrolled, put

SAID = "can&#x27;t be read any more"
JSON = {"content_type": "application/json"}


@pytest.fixture(params=["moved", "plain", "key gone"])
def spoiled(request, settings, eve, dev) -> str:
    """A right code of Eve's app, whose secret nobody can read any more."""
    device, other = enrolled(eve), enrolled(dev)
    code = code_for(device)
    if request.param == "key gone":
        settings.FIELD_KEYS = {"k9": b"9" * 32}
    else:
        stored = other.secret_encrypted if request.param == "moved" else device.secret
        put(TOTPDevice.objects.filter(pk=device.pk), secret_encrypted=stored)
    return code


def told() -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(event="mfa:unreadable").order_by("id"))


def test_at_the_second_step_it_is_a_sentence_an_event_and_a_line(spoiled, eve, caplog):
    client = password_step(eve)
    answer = client.post("/sign-in/second-step", {"code": spoiled})
    assert answer.status_code == 400
    page = answer.content.decode()
    assert SAID in page
    assert "ask your security officer" in page
    assert "?recovery" in page or "method=recovery" in page  # the way that is left
    assert client.get("/my-security").status_code == 302
    [entry] = told()
    assert (entry.success, entry.resource_id, entry.details["factor"]) == (False, str(eve.uid), "authenticator app")
    [line] = [record for record in caplog.records if record.name == "opssight.mfa"]
    assert "rotate_field_keys --check" in line.getMessage()
    for secret in (spoiled, TOTPDevice.objects.get(user=eve).secret_encrypted):
        assert secret not in line.getMessage() + str(entry.details) + entry.error_message


def test_a_recovery_code_goes_on_working_and_leads_to_a_new_app(spoiled, eve):
    code = fresh_codes(eve)[0]
    client = password_step(eve)
    assert client.post("/sign-in/second-step", {"code": code}).status_code == 302
    shown = client.get("/my-security").content.decode()
    assert "Unreadable" in shown
    assert client.get("/sign-in/enrol").status_code == 200
    fresh = TOTPDevice.objects.get(user=eve, confirmed=False)
    assert client.post("/sign-in/enrol", {"code": code_for(fresh)}).status_code == 302
    assert "Unreadable" not in client.get("/my-security").content.decode()
    assert password_step(eve).post("/sign-in/second-step", {"code": code_for(fresh, 1)}).status_code == 302


def test_nobody_without_the_password_learns_of_it(spoiled, eve, dev):
    """And who knows it can enrol nothing in its place: the account is still one with a factor."""
    wrong = {"username": eve.email, "password": "not the passphrase at all"}
    nobody = {"username": "nobody@example.org", "password": "not the passphrase at all"}
    pages = [Client().post("/sign-in", asked).content.decode() for asked in (wrong, nobody)]
    assert not any("read any more" in page for page in pages)
    answers = [
        Client().post("/api/v1/tokens/jwt", json.dumps({**asked, "code": spoiled}), **JSON)
        for asked in ({"email": eve.email, "password": "x"}, {"email": "nobody@example.org", "password": "x"})
    ]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].json()["detail"] == answers[1].json()["detail"]
    assert told() == []
    assert is_enrolled(eve)
    client = password_step(eve)
    assert client.get("/sign-in/enrol")["Location"] == "/sign-in/second-step"


def test_at_the_step_up_and_for_new_recovery_codes(spoiled, eve, client_for):
    client = client_for(eve)
    for address in ("/step-up", "/my-security/recovery-codes"):
        answer = client.post(address, {"code": spoiled})
        assert answer.status_code == 400
        assert SAID in answer.content.decode()
    assert len(told()) == 2
    assert client.post("/step-up", {"code": fresh_codes(eve)[0]}).status_code == 302


def test_by_the_api(spoiled, eve, client_for):
    body = {"email": eve.email, "password": PASSWORD, "code": spoiled}
    answer = Client().post("/api/v1/tokens/jwt", json.dumps(body), **JSON)
    assert answer.status_code == 409
    assert "can't be read any more" in answer.json()["detail"]
    right = Client().post("/api/v1/tokens/jwt", json.dumps({**body, "code": fresh_codes(eve)[0]}), **JSON)
    assert right.status_code == 201
    client = client_for(eve, step_up=True)
    shown = client.get("/api/v1/mfa").json()["results"]
    assert [(factor["method"], factor["readable"]) for factor in shown] == [("totp", False)]
    begun = client.post("/api/v1/mfa", json.dumps({"method": "totp"}), **JSON).json()
    fresh = TOTPDevice.objects.get(uid=begun["uid"])
    confirmed = client.post(f"/api/v1/mfa/{fresh.uid}/confirm", json.dumps({"code": code_for(fresh)}), **JSON)
    assert (confirmed.status_code, confirmed.json()["readable"]) == (200, True)


def test_a_set_up_that_became_unreadable_starts_again(eve, client_for):
    client = client_for(eve, step_up=True)
    client.get("/sign-in/enrol")
    waiting = TOTPDevice.objects.get(user=eve, confirmed=False)
    code = code_for(waiting)
    put(TOTPDevice.objects.filter(pk=waiting.pk), secret_encrypted="v1.k1.AAAA")
    answer = client.post("/sign-in/enrol", {"code": code})
    assert answer.status_code == 400
    assert "scan the new square" in answer.content.decode()
    assert len(told()) == 1
    waiting.refresh_from_db()
    client.post("/sign-in/enrol", {"code": code_for(waiting)})
    waiting.refresh_from_db()
    assert waiting.confirmed


def test_an_address_that_can_not_be_read(eve, olga, client_for, settings):
    settings.MESSAGE_CODES = ["email"]
    enrolled(eve)
    device = device_of(eve, "email")
    put(MessageDevice.objects.filter(pk=device.pk), address_encrypted="v1.k1.AAAA")
    client = password_step(eve)
    answer = client.post("/sign-in/message/email", follow=True)
    assert answer.status_code == 200
    assert SAID in answer.content.decode()
    assert len(told()) == 1
    inside = client_for(eve, step_up=True)
    assert "Unreadable" in inside.get("/my-security").content.decode()
    assert inside.post("/sign-in/enrol/message/email", {}).status_code == 200  # it is set up anew
    officer = client_for(olga, step_up=True)
    assert officer.get(reverse("admin:mfa_messagedevice_changelist")).status_code == 200


def test_personal_details_that_can_not_be_read(eve, olga, client_for):
    details = set_own(eve, phone_number="+49 30 901844")
    put(type(details).objects.all(), phone_number_encrypted="v1.k1.AAAA")
    client = client_for(eve, step_up=True)
    assert "unreadable" in client.get("/my-security").content.decode()
    assert client.get("/api/v1/me").json()["phone_number"] == "unreadable"
    body = json.dumps({"field": "phone_number", "reason": "She did not come to work."})
    address = f"/api/v1/personal-details/{details.uid}/reveal"
    answer = client_for(olga, step_up=True).post(address, body, **JSON)
    assert answer.status_code == 409
    assert "can't be read any more" in answer.json()["detail"]
    assert not AuditEntry.objects.filter(event="personal:revealed").exists()
    me = client.patch("/api/v1/me", json.dumps({"phone_number": "+49 30 901844"}), **JSON)
    assert me.json()["phone_number"] == "••••1844"
