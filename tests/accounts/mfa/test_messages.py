"""Codes by text message and e-mail: sent through a gateway, good once, for a while, and for whoever asked."""

import base64
import json
import re
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from accounts.mfa import messages
from accounts.mfa.models import MessageDevice
from accounts.models import User
from audit.models import AuditEntry
from opssight.settings.env import Outside
from tests.accounts.parallel import eight_times
from tests.accounts.test_sign_in import password_step
from tests.conftest import enrolled

NUMBER = "+4930901820"


class Gateway:
    """A server that speaks like Twilio's, on this machine."""

    def __init__(self) -> None:
        self.status, self.body, self.got = 201, b'{"sid": "SM1"}', []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                outer.got.append((self.path, self.headers["Authorization"], parse_qs(text)))
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, *args: object) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/2010-04-01/Accounts/AC1/Messages.json"


@pytest.fixture
def gateway(settings) -> Iterator[Gateway]:
    gateway = Gateway()
    settings.SMS_GATEWAY, settings.SMS_URL, settings.SMS_FROM = "twilio", gateway.url, "+4930000000"
    settings.SMS_USER, settings.SMS_PASSWORD = "AC1", "sesame"
    settings.OUTGOING_ALLOW = Outside(frozenset({"127.0.0.1"}), ())
    yield gateway
    gateway.server.shutdown()
    gateway.server.server_close()


def device_of(user: User, channel: str = "sms") -> MessageDevice:
    device = MessageDevice(user=user, name="text message", channel=channel)
    device.address = NUMBER if channel == "sms" else user.email
    device.save()
    return device


def sent(gateway: Gateway) -> str:
    found = re.match(r"(\d{6}) is your code", gateway.got[-1][2]["Body"][0])
    assert found
    return found[1]


def a_while_passes() -> None:
    MessageDevice.objects.update(sent_at=timezone.now() - timedelta(minutes=1))


def ask(client: Client, channel: str = "sms") -> None:
    assert client.post(f"/sign-in/message/{channel}").status_code == 302


def enter(client: Client, code: str, channel: str = "sms") -> int:
    return client.post("/sign-in/second-step", {"code": code, "method": channel}).status_code


def test_a_telephone_is_set_up_by_api_and_signs_in(eve, client_for, gateway):
    client = client_for(eve, step_up=True)
    body = json.dumps({"method": "sms", "phone": "+49 (30) 901-820"})
    begun = client.post("/api/v1/mfa", body, content_type="application/json")
    assert (begun.status_code, begun.json()["sent_to"]) == (201, "•••820")
    path, key, form = gateway.got[-1]
    assert path == "/2010-04-01/Accounts/AC1/Messages.json"
    assert base64.b64decode(key.removeprefix("Basic ")) == b"AC1:sesame"
    assert (form["To"], form["From"]) == ([NUMBER], ["+4930000000"])
    address = f"/api/v1/mfa/{begun.json()['uid']}/confirm"
    confirmed = client.post(address, json.dumps({"code": sent(gateway)}), content_type="application/json")
    assert (confirmed.status_code, confirmed.json()["strength"]) == (200, "message")

    a_while_passes()
    halfway = password_step(eve)
    ask(halfway)
    assert enter(halfway, sent(gateway)) == 302
    assert halfway.get("/my-security").status_code == 200
    row = MessageDevice.objects.get()
    assert NUMBER not in row.address_encrypted
    text = " ".join(f"{entry.covered()} {entry.person}" for entry in AuditEntry.objects.all())
    assert not [secret for secret in (NUMBER, sent(gateway)) if secret in text]


def test_a_mailbox_is_set_up_on_the_way_in(eve):
    client = password_step(eve)
    assert "Get codes by e-mail" in client.get("/sign-in/enrol").content.decode()
    page = client.post("/sign-in/enrol/message/email", {"next": ""})
    assert "e•••@example.org" in page.content.decode()
    code = re.match(r"\d{6}", mail.outbox[-1].body)
    assert mail.outbox[-1].to == [eve.email]
    assert code
    assert client.post("/sign-in/enrol/message/email", {"code": "000000"}).status_code == 400
    MessageDevice.objects.update(throttling_failure_count=0)
    assert client.post("/sign-in/enrol/message/email", {"code": code[0]}).status_code == 200  # the recovery codes
    assert client.get("/my-security").status_code == 200


@pytest.mark.parametrize("case", ["again", "another session", "too late", "without asking", "an older one", "app"])
def test_what_a_code_is_not_good_for(eve, gateway, case):
    device_of(eve)
    client = password_step(eve)
    if case != "without asking":
        ask(client)
    code = sent(gateway) if gateway.got else "000000"
    if case == "again":
        assert enter(client, code) == 302
        client = password_step(eve)
    elif case == "another session":
        client = password_step(eve)
    elif case == "too late":
        MessageDevice.objects.update(code_expires_at=timezone.now())
    elif case == "an older one":
        a_while_passes()
        ask(client)
    elif case == "app":
        enrolled(eve)
        assert client.post("/sign-in/second-step", {"code": code, "method": "totp"}).status_code == 400
        return
    assert enter(client, code) == 400
    assert client.get("/my-security").status_code == 302


def test_sends_are_counted_across_sessions(eve, gateway):
    device_of(eve)
    for number in range(messages.MOST + 2):
        client = password_step(eve)
        ask(client)
        ask(client)  # within the pause: nothing goes out
        assert len(gateway.got) == min(number + 1, messages.MOST)
        a_while_passes()
    page = client.get("/sign-in/second-step?method=sms").content.decode()
    assert "codes were sent within the hour" in page


def test_guessing_slows_down_and_survives_a_new_password_login(eve, gateway):
    device_of(eve)
    client = password_step(eve)
    ask(client)
    right = sent(gateway)
    wrong = "000000" if right != "000000" else "111111"
    assert enter(client, wrong) == 400
    assert enter(client, right) == 400  # too early
    again = password_step(eve)
    answer = again.post("/sign-in/second-step", {"code": wrong, "method": "sms"})
    assert "Too many wrong codes" in answer.content.decode()


@pytest.mark.parametrize("trouble", ["refuses", "is not there", "is not allowed"])
def test_a_gateway_in_trouble_is_told(eve, gateway, settings, trouble, caplog):
    device_of(eve)
    if trouble == "refuses":
        gateway.status, gateway.body = 400, b'{"code": 21211, "message": "123456 is your code"}'
    elif trouble == "is not there":
        settings.SMS_URL = "http://127.0.0.1:9/Messages.json"
    else:
        settings.OUTGOING_ALLOW = Outside(frozenset(), ())
    client = password_step(eve)
    ask(client)
    assert "could not be sent" in client.get("/sign-in/second-step?method=sms").content.decode()
    told = [record.getMessage() for record in caplog.records if record.name == "opssight.sms"]
    assert len(told) == 1
    assert not re.search(r"is your code|sesame|901820", told[0])


def test_the_console_gateway_writes_to_the_log(eve, caplog, settings):
    settings.SMS_GATEWAY = "console"
    device_of(eve)
    client = password_step(eve)
    ask(client)
    told = next(record.getMessage() for record in caplog.records if record.name == "opssight.sms")
    code = re.search(r"(\d{6}) is your code", told)
    assert code
    assert enter(client, code[1]) == 302


def test_what_is_switched_off_is_not_offered(eve, settings, client_for):
    settings.MESSAGE_CODES = []
    client = password_step(eve)
    assert "text message" not in client.get("/sign-in/enrol").content.decode()
    assert client.get("/sign-in/enrol/message/sms")["Location"] == "/sign-in/enrol"
    body = json.dumps({"method": "email"})
    answer = client_for(eve, step_up=True).post("/api/v1/mfa", body, content_type="application/json")
    assert answer.status_code == 400


def test_a_message_is_never_enough_for_a_privileged_person(olga, gateway):
    """Not to enrol at first, and not to sign in with: it leads to enrolment of a stronger factor, and nowhere else."""
    client = password_step(olga)
    assert "text message" not in client.get("/sign-in/enrol").content.decode()
    assert client.post("/sign-in/enrol/message/sms", {"phone": NUMBER})["Location"] == "/sign-in/enrol"
    device_of(olga)
    client = password_step(olga)
    ask(client)
    answer = client.post("/sign-in/second-step", {"code": sent(gateway), "method": "sms"})
    assert answer["Location"] == "/sign-in/enrol"
    for address in ("/", "/my-security", "/admin/", "/step-up", "/my-security/password"):
        assert client.get(address)["Location"].startswith(("/sign-in", "/admin/login")), address
    assert client.get("/api/v1/me").status_code == 401
    from accounts.mfa.models import TOTPDevice
    from tests.accounts.test_sign_in import code_for

    assert client.get("/sign-in/enrol").status_code == 200
    waiting = TOTPDevice.objects.get(user=olga)
    assert client.post("/sign-in/enrol", {"code": code_for(waiting)}).status_code == 200
    assert client.get("/").status_code == 200


def test_a_privileged_person_with_an_app_is_sent_to_it(olga, gateway):
    enrolled(olga)
    device_of(olga)
    client = password_step(olga)
    ask(client)
    answer = client.post("/sign-in/second-step", {"code": sent(gateway), "method": "sms"})
    assert "an authenticator app or a passkey: use yours" in answer.content.decode()
    assert client.get("/sign-in/enrol")["Location"] == "/sign-in/second-step"  # no app of a stranger's beside it
    assert client.get("/").status_code == 302


@pytest.mark.parametrize(
    "phone", ["", "12", "no number", "+49", "+1 555", "+4930901820" * 4, "+49 30 901820; x", "＋٤٩"]
)
def test_what_is_no_number(eve, phone):
    client = password_step(eve)
    assert client.post("/sign-in/enrol/message/sms", {"phone": phone}).status_code == 400
    assert not MessageDevice.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_eight_parallel_uses_of_one_code_one_signs_in(eve, gateway):
    device_of(eve)
    client = password_step(eve)
    ask(client)
    code, cookie = sent(gateway), client.cookies["session"].value

    def use() -> int:
        one = Client()
        one.cookies["session"] = cookie
        return enter(one, code)

    assert eight_times(use).count(302) == 1
    MessageDevice.objects.update(throttling_failure_count=0)
    assert enter(password_step(eve), code) == 400
