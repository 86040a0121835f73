"""The way in under attack: fixation at each step, parallel codes, ways around the second factor, odd codes."""

import re

import pytest
from django.test import Client

from accounts.mfa.codes import fresh_codes
from accounts.mfa.models import RecoveryCode, TOTPDevice
from accounts.services import issue_setup_link
from audit.models import AuditEntry
from tests.accounts.parallel import eight_times
from tests.accounts.test_sign_in import code_for, password_step
from tests.conftest import PASSWORD, enrolled


def key(client: Client) -> str:
    return client.session.session_key or ""


def test_each_step_takes_a_new_session_id(olga):
    """An id that a stranger planted, or saw, is worth nothing behind any step."""
    device, client = enrolled(olga), Client()
    session = client.session
    session["planted"] = True
    session.save()
    client.cookies["session"] = session.session_key
    seen = [key(client)]
    client.post("/sign-in", {"username": olga.email, "password": PASSWORD})
    assert "planted" not in client.session
    seen.append(key(client))
    client.post("/sign-in/second-step", {"code": code_for(device)})
    seen.append(key(client))
    client.post("/step-up", {"code": code_for(device, 1), "next": "/"})
    seen.append(key(client))
    client.post("/sign-out")
    assert len(set(seen)) == 4
    for old in seen:
        other = Client()
        other.cookies["session"] = old
        assert other.get("/").status_code == 302


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["app", "recovery"])
def test_of_eight_parallel_uses_of_one_code_one_signs_in(olga, kind):
    device = enrolled(olga)
    code = code_for(device) if kind == "app" else fresh_codes(olga)[0]
    clients = [password_step(olga) for _ in range(8)]

    def use() -> int:
        return clients.pop().post("/sign-in/second-step", {"code": code}).status_code

    assert sorted(eight_times(use)) == [302] + [400] * 7
    assert AuditEntry.objects.filter(event="sessions:started").count() == 1
    if kind == "recovery":
        assert RecoveryCode.objects.exclude(used_at=None).count() == 1


@pytest.mark.parametrize(
    "code",
    ["", " ", "1" * 33, "1" * 5000, "12345", "1234567", "12345a", "²²²²²²", "١٢٣٤٥٦", "１２３４５６", "-12345", "1e5",
     "0x1234", "null", "' OR 1=1--", "\0", "12\u202e3456", "AAAAAAAA", "../../..", "%31%32", "🦊" * 6],
)  # fmt: skip
def test_odd_codes_are_a_sentence(olga, code):
    enrolled(olga)
    client = password_step(olga)
    answer = client.post("/sign-in/second-step", {"code": code})
    assert answer.status_code == 400
    assert client.get("/").status_code == 302


@pytest.mark.parametrize("method", ["", "totp", "recovery", "sms", "email", "passkey", "static", "../x", "\0"])
def test_naming_another_method_opens_nothing(olga, method):
    client, device = password_step(olga), enrolled(olga)
    right = code_for(device)
    answer = client.post("/sign-in/second-step", {"code": right, "method": method})
    assert (answer.status_code == 302) == (method in ("", "totp", "passkey", "static", "../x"))
    assert TOTPDevice.objects.get().throttling_failure_count == 0


def test_a_half_finished_enrolment_is_no_way_in(olga):
    """A stranger with the password begins before the owner, and goes on after the owner was done."""
    stranger = password_step(olga)
    page = stranger.get("/sign-in/enrol").content.decode()
    shown = re.search(r'id="secret"[^>]*>([^<]+)<', page)
    assert shown
    secret = shown[1].replace(" ", "")
    owner = password_step(olga)
    owner.get("/sign-in/enrol")
    waiting = TOTPDevice.objects.get()
    waiting.secret = TOTPDevice.new_secret()  # as after an answer of hers that took a new one
    waiting.save()
    assert owner.post("/sign-in/enrol", {"code": code_for(waiting)}).status_code == 200
    for attempt in ("/sign-in/enrol", "/sign-in/enrol/passkey", "/sign-in/enrol/message/email"):
        assert stranger.get(attempt)["Location"] == "/sign-in/second-step", attempt
        assert stranger.post(attempt, {"code": "123456"})["Location"] == "/sign-in/second-step"
    assert TOTPDevice.objects.get().secret != secret
    assert stranger.get("/").status_code == 302


def test_begun_and_left_is_not_enrolled(eve):
    client = password_step(eve)
    client.get("/sign-in/enrol")
    again = password_step(eve)
    assert again.get("/sign-in/second-step")["Location"] == "/sign-in/enrol"
    assert again.get("/my-security").status_code == 302


@pytest.mark.parametrize(
    "way",
    ["form", "admin", "set-up link", "API", "passkey without one", "next page", "second step of another"],
)
def test_every_way_in_asks_an_enrolled_person_for_the_second_factor(olga, adam, way):
    device = enrolled(olga)
    client = Client()
    if way == "form":
        password_step(olga, client)
    elif way == "admin":
        client.post("/admin/login/?next=/admin/", {"username": olga.email, "password": PASSWORD})
    elif way == "set-up link":
        link = issue_setup_link(olga).removeprefix("http://localhost:8000")
        client.post(link, {"password": PASSWORD, "again": PASSWORD})
        assert client.get("/sign-in/enrol")["Location"] == "/sign-in/second-step"
    elif way == "API":
        password_step(olga, client)
        assert client.get("/api/v1/me").status_code == 401
        assert client.post("/api/v1/mfa", "{}", content_type="application/json").status_code == 401
        assert client.post("/api/v1/tokens", "{}", content_type="application/json").status_code == 401
    elif way == "passkey without one":
        client.post("/sign-in/passkey/options/any")
        client.post("/sign-in/passkey", {"credential": "{}"})
    elif way == "next page":
        password_step(olga, client, next="/my-security")
        client.get("/my-security")
    else:
        enrolled(adam)
        password_step(adam, client)
        assert client.post("/sign-in/second-step", {"code": code_for(device)}).status_code == 400
    for address in ("/", "/my-security", "/admin/", "/step-up", "/findings"):
        assert client.get(address).status_code == 302, address


def test_the_code_of_one_account_does_nothing_for_another(olga, adam):
    enrolled(adam)
    codes = fresh_codes(adam)
    client = password_step(olga) if enrolled(olga) else None
    assert client
    assert client.post("/sign-in/second-step", {"code": codes[0]}).status_code == 400
    assert RecoveryCode.objects.filter(used_at=None).count() == 10


def test_recovery_codes_and_secrets_have_no_reversible_form(olga):
    device, codes = enrolled(olga), fresh_codes(olga)
    from django.core import serializers

    dump = serializers.serialize("json", [device, *RecoveryCode.objects.all()])
    assert device.secret not in dump
    assert not [code for code in codes if code in dump]


def test_nobody_can_sign_in_to_a_fresh_installation(db):
    from accounts.models import User

    assert not User.objects.exists()
    for name in ("admin", "AnonymousUser", "root@localhost", "admin@example.org"):
        assert Client().post("/sign-in", {"username": name, "password": "admin"}).status_code == 400
