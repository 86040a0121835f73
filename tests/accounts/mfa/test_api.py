"""`/api/v1/mfa`: what its answers hold, and who may do what with whose factors."""

import base64
import json

import pytest
from django.test import Client

from accounts.mfa import models
from accounts.mfa.models import MessageDevice, RecoveryCode, RecoveryDevice, TOTPDevice
from accounts.tokens.services import issue_token
from audit.models import AuditEntry
from tests.accounts.mfa.authenticator import SoftKey
from tests.accounts.test_sign_in import code_for, password_step
from tests.conftest import enrolled


@pytest.fixture
def call(client_for):
    """`call(client, "POST", "/mfa", {...})`."""

    def ask(client: Client, method: str, path: str = "/mfa", body=None):
        return client.generic(method, f"/api/v1{path}", json.dumps(body or {}), content_type="application/json")

    return ask


def test_an_app_is_set_up_and_counts_once_confirmed(olga, client_for, call, settings):
    client, old = client_for(olga, step_up=True), enrolled(olga)
    begun = call(client, "POST", body={"method": "totp"})
    assert begun.status_code == 201
    told = begun.json()
    assert begun["Location"] == f"/api/v1/mfa/{told['uid']}"
    picture = told["qr_code"].removeprefix("data:image/png;base64,")
    assert base64.b64decode(picture).startswith(b"\x89PNG")
    assert told["otpauth_url"].startswith("otpauth://totp/OpsSight%20Platform%3Aolga%40example.org?secret=")
    assert f"secret={told['secret']}&issuer=OpsSight%20Platform" in told["otpauth_url"]
    assert len(set(told["backup_codes"])) == 10
    assert all(len(code) == 8 and set(code) <= set("0123456789ABCDEF") for code in told["backup_codes"])

    waiting = TOTPDevice.objects.get(user=olga, confirmed=False)
    halfway = password_step(olga)
    for code in (code_for(waiting), told["backup_codes"][0]):  # neither counts yet
        assert halfway.post("/sign-in/second-step", {"code": code}).status_code == 400
    wrong = call(client, "POST", f"/mfa/{told['uid']}/confirm", {"code": "000000"})
    assert wrong.status_code == 400
    TOTPDevice.objects.update(throttling_failure_count=0)
    RecoveryDevice.objects.update(throttling_failure_count=0)

    right = call(client, "POST", f"/mfa/{told['uid']}/confirm", {"code": code_for(waiting)})
    assert (right.status_code, right.json()["confirmed"], right.json()["strength"]) == (200, True, "otp")
    assert not TOTPDevice.objects.filter(pk=old.pk).exists()  # it took its place
    assert client.get("/my-security").status_code == 200  # and the session stands on it
    assert password_step(olga).post("/sign-in/second-step", {"code": told["backup_codes"][0]}).status_code == 302
    shown = client.get("/api/v1/mfa").json()["results"]
    assert [(factor["method"], factor["confirmed"]) for factor in shown] == [("totp", True)]
    assert client.get("/api/v1/mfa/recovery-codes").json() == {"left": 9, "of": 10}
    assert told["secret"] not in json.dumps(shown)
    assert call(client, "POST", f"/mfa/{told['uid']}/confirm", {"code": code_for(waiting)}).status_code == 400


def test_the_issuer_is_a_setting(olga, client_for, call, settings):
    settings.MFA_ISSUER = "Halden Freight"
    told = call(client_for(olga, step_up=True), "POST", body={"method": "totp"}).json()
    assert "issuer=Halden%20Freight" in told["otpauth_url"]


@pytest.mark.parametrize(("off", "says"), [(-6, "3 min slow"), (8, "4 min fast")])
def test_a_wrong_clock_is_told_when_it_is_set_up(eve, client_for, call, monkeypatch, off, says):
    client = client_for(eve, step_up=True)
    uid = call(client, "POST", body={"method": "totp"}).json()["uid"]
    device = TOTPDevice.objects.get(uid=uid)
    code = models._code(device.secret, models._step_now() + off)
    answer = call(client, "POST", f"/mfa/{uid}/confirm", {"code": code})
    assert (answer.status_code, says in answer.json()["detail"]) == (400, True)


def test_a_passkey_is_set_up(eve, client_for, call):
    client, key = client_for(eve, step_up=True), SoftKey()
    begun = call(client, "POST", body={"method": "passkey"}).json()
    made = key.make(begun["options"])
    other = call(client, "POST", f"/mfa/{enrolled(eve).uid}/confirm", {"credential": made})
    assert other.status_code == 400  # not the one that was begun
    begun = call(client, "POST", body={"method": "passkey"}).json()
    made = key.make(begun["options"])
    answer = call(client, "POST", f"/mfa/{begun['uid']}/confirm", {"credential": made, "name": "laptop"})
    assert (answer.status_code, answer.json()["name"], answer.json()["strength"]) == (200, "laptop", "passkey")
    assert answer.json()["uid"] == begun["uid"]


def test_the_last_factor_stays(eve, client_for, call):
    client = client_for(eve, step_up=True)
    answer = call(client, "DELETE", f"/mfa/{enrolled(eve).uid}")
    assert (answer.status_code, "last factor" in answer.json()["detail"]) == (409, True)
    begun = call(client, "POST", body={"method": "passkey"}).json()
    call(client, "POST", f"/mfa/{begun['uid']}/confirm", {"credential": SoftKey().make(begun["options"])})
    assert call(client, "DELETE", f"/mfa/{enrolled(eve).uid}").status_code == 204
    assert AuditEntry.objects.filter(event="mfa:removed").count() == 1


def test_a_message_alone_does_not_let_a_privileged_person_drop_the_app(olga, client_for, call):
    client, device = client_for(olga, step_up=True), MessageDevice(user=olga, name="text", channel="sms")
    device.address = "+4930901820"
    device.save()
    answer = call(client, "DELETE", f"/mfa/{enrolled(olga).uid}")
    assert answer.status_code == 409
    assert "Your roles" in answer.json()["detail"]


def test_changes_take_a_fresh_proof_and_no_token_has_one(olga, client_for, call):
    stale, (_, text) = client_for(olga), issue_token(olga, name="ci", scopes=["me:read", "me:update"])
    bearer = {"authorization": f"Bearer {text}"}
    uid = enrolled(olga).uid
    for method, path in (("POST", "/mfa"), ("DELETE", f"/mfa/{uid}"), ("POST", "/mfa/recovery-codes")):
        answer = call(stale, method, path, {"method": "totp"} if path == "/mfa" else {})
        assert (answer.status_code, answer.json()["step_up"]) == (403, "/step-up")
        by_token = Client().generic(
            method, f"/api/v1{path}", '{"method": "totp"}', content_type="application/json", headers=bearer
        )
        assert by_token.status_code == 403
    assert Client().get("/api/v1/mfa", headers=bearer).status_code == 200


def test_others_factors_are_not_there(olga, eve, client_for, call):
    client, theirs = client_for(olga, step_up=True), enrolled(eve).uid
    assert call(client, "GET", f"/mfa/{theirs}").status_code == 404
    assert call(client, "DELETE", f"/mfa/{theirs}").status_code == 404
    assert call(client, "POST", f"/mfa/{theirs}/confirm", {"code": "123456"}).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"method": "retina"},
        {"method": ["totp"]},
        {"method": "totp", "phone": "+4930901820"},
        {"method": "sms"},
        {"method": "sms", "phone": "12"},
        {"method": "sms", "phone": "+49\u202e30901820"},
        {"method": "totp", "secret": "JBSWY3DPEHPK3PXP"},
    ],
)
def test_bad_requests(eve, client_for, call, body):
    answer = call(client_for(eve, step_up=True), "POST", body=body)
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert not MessageDevice.objects.exists()


@pytest.mark.parametrize("code", ["", "1" * 33, "12345a", "١٢٣٤٥٦", "²²²²²²", "1\u202e23456", None, 123456, ["123456"]])
def test_odd_codes(eve, client_for, call, code):
    client = client_for(eve, step_up=True)
    uid = call(client, "POST", body={"method": "totp"}).json()["uid"]
    assert call(client, "POST", f"/mfa/{uid}/confirm", {"code": code}).status_code == 400
    assert not TOTPDevice.objects.get(uid=uid).confirmed


def test_codes_that_were_begun_and_left_replace_nothing(eve, client_for, call):
    client = client_for(eve, step_up=True)
    mine = call(client, "POST", "/mfa/recovery-codes").json()["backup_codes"]
    call(client, "POST", body={"method": "totp"})  # shows ten others, and is never confirmed
    key = SoftKey()
    asked = client.post("/sign-in/passkey/options/new").json()
    assert client.post("/sign-in/enrol/passkey", {"credential": json.dumps(key.make(asked))}).status_code == 302
    assert RecoveryCode.objects.filter(device__confirmed=True).count() == 10
    assert password_step(eve).post("/sign-in/second-step", {"code": mine[0]}).status_code == 302


def test_a_session_by_message_can_not_enrol_beside_a_stronger_factor(dev, client_for, call):
    """Else a stolen telephone number would be a way to an app of one's own."""
    device = MessageDevice(user=dev, name="text", channel="sms")
    device.address = "+4930901820"
    device.save()
    client, app = client_for(dev, step_up=True), enrolled(dev)
    session = client.session
    session["otp_device_id"] = device.persistent_id
    session.save()
    answer = call(client, "POST", body={"method": "totp"})
    assert (answer.status_code, answer.json()["step_up"]) == (403, "/step-up?level=otp")
    assert client.get("/sign-in/enrol").status_code == 302
    app.delete()
    assert call(client, "POST", body={"method": "totp"}).status_code == 201  # it is the best that the person has


def test_the_page_of_the_step_up_takes_nothing_weaker_than_asked(dev, client_for):
    device = MessageDevice(user=dev, name="text", channel="sms")
    device.address = "+4930901820"
    device.save()
    client = client_for(dev)
    page = client.get("/step-up?level=passkey").content.decode()
    assert "no factor that is strong enough" in page
    refused = client.post("/step-up?level=passkey", {"code": code_for(enrolled(dev)), "level": "passkey"})
    assert refused.status_code == 400


def test_entries_carry_no_secret(eve, client_for, call):
    client = client_for(eve, step_up=True)
    told = call(client, "POST", body={"method": "totp"}).json()
    device = TOTPDevice.objects.get(uid=told["uid"])
    call(client, "POST", f"/mfa/{told['uid']}/confirm", {"code": code_for(device)})
    text = " ".join(f"{entry.covered()} {entry.person}" for entry in AuditEntry.objects.all())
    assert told["secret"] not in text
    assert not [code for code in told["backup_codes"] if code in text]
