"""Devices: registered by a key that proves itself, reporting by signature alone, and what policies make of it."""

import json
import time
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.devices import services, signed
from accounts.devices.models import Device
from accounts.models import User
from accounts.tokens.services import issue_token
from audit.models import AuditEntry
from tests.conftest import letters
from tests.rbac.access.conftest import make_policy

pytestmark = pytest.mark.django_db
HERE = "http://localhost:8000"


class Agent:
    """What runs on a machine: a key, and what it says of the machine."""

    def __init__(self) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.public_key = signed.encoded(self.key.public_key().public_bytes_raw())
        self.uid = ""
        self.at = 0

    def sign(self, message: bytes) -> str:
        return signed.encoded(self.key.sign(message))

    def registration(self, challenge: str, account: Any) -> dict[str, str]:
        message = f"opssight-device\n{challenge}\n{self.public_key}\n{account}".encode()
        return {
            "name": "laptop", "platform": "linux", "public_key": self.public_key, "challenge": challenge,
            "signature": self.sign(message),
        }  # fmt: skip

    def claims(self, **changed: Any) -> dict[str, Any]:
        self.at = max(self.at + 1, int(time.time() * 1000))
        told = {
            "aud": HERE, "device": self.uid, "reported_at": self.at, "os_version": "Debian 13.2",
            "disk_encryption": True, "firewall": True, "screen_lock": True,
        }  # fmt: skip
        return {name: value for name, value in {**told, **changed}.items() if value is not None}

    def jws(self, claims: dict[str, Any] | None = None, header: dict[str, Any] | None = None) -> str:
        head = {"alg": "EdDSA", "kid": self.uid, "typ": "opssight-posture+jws"} | (header or {})
        body = ".".join(signed.encoded(canonical(part)) for part in (head, claims or self.claims()))
        return f"{body}.{self.sign(body.encode())}"


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def post(client: Client, path: str, data: Any = None, **more: Any) -> Any:
    return client.post(f"/api/v1/{path}", json.dumps(data or {}), content_type="application/json", **more)


def report(jws: Any) -> Any:
    """By nobody: the signature alone."""
    return post(Client(), "devices/reports", {"jws": jws})


def register(client: Client, user: User, agent: Agent | None = None) -> Agent:
    agent = agent or Agent()
    challenge = post(client, "devices/challenge").json()
    answer = post(client, "devices", agent.registration(challenge["challenge"], challenge["account"]))
    assert (answer.status_code, challenge["account"]) == (201, str(user.uid))
    agent.uid = answer.json()["uid"]
    return agent


@pytest.fixture
def eves(eve: User, client_for) -> Client:
    client: Client = client_for(eve, step_up=True)
    return client


@pytest.fixture
def agent(eves, eve) -> Agent:
    return register(eves, eve)


# --- registration -------------------------------------------------------------------------------------------------


def test_a_device_is_registered_by_its_key_and_its_owner_is_told(eves, eve):
    agent = register(eves, eve)
    device = Device.objects.get()
    assert (device.user, device.public_key, device.reported_at) == (eve, agent.public_key, None)
    assert "“laptop” (Linux) now vouches" in letters()[-1].body
    entry = AuditEntry.objects.get(event="devices:registered")
    assert (entry.actor_id, entry.resource_id) == (eve.pk, str(device.uid))
    assert "laptop" in eves.get("/my-security").content.decode()


def test_a_registration_is_good_once_for_its_account_and_its_key(eves, eve, dev, client_for):
    devs = client_for(dev, step_up=True)
    challenge = post(eves, "devices/challenge").json()
    mine = Agent().registration(challenge["challenge"], eve.uid)
    stranger = Agent()
    refused = [
        (devs, mine),  # another account's challenge
        (devs, stranger.registration(post(devs, "devices/challenge").json()["challenge"], eve.uid)),
        (eves, mine | {"signature": stranger.sign(b"x")}),
        (eves, mine | {"public_key": stranger.public_key}),
        (eves, mine | {"challenge": "made up"}),
        (eves, mine | {"challenge": challenge["challenge"][:-1] + "_"}),
        (eves, mine | {"public_key": "A" * 42 + "="}),
        (eves, mine | {"public_key": "A" * 42 + "B"}),  # another spelling
        (eves, mine | {"signature": "A" * 86}),
        (eves, mine | {"platform": "toaster"}),
        (eves, mine | {"name": ""}),
        (eves, mine | {"name": "x\u202ey"}),
        (eves, mine | {"user": str(dev.uid)}),
        (eves, {}),
    ]
    for client, body in refused:
        assert post(client, "devices", body).status_code == 400, body
    assert not Device.objects.exists()
    assert post(eves, "devices", mine).status_code == 201
    assert post(eves, "devices", mine).status_code == 409
    services.revoke(Device.objects.get())
    assert post(eves, "devices", mine).status_code == 409  # nor ever again


def test_a_challenge_is_good_for_five_minutes(eves, eve, monkeypatch):
    challenge = post(eves, "devices/challenge").json()
    monkeypatch.setattr("django.core.signing.time.time", lambda: timezone.now().timestamp() + 301)
    assert post(eves, "devices", Agent().registration(challenge["challenge"], eve.uid)).status_code == 400


def test_it_takes_a_fresh_second_factor_and_no_api_token_will_do(eve, client_for, eves):
    stale = client_for(eve)
    body = Agent().registration(post(eves, "devices/challenge").json()["challenge"], eve.uid)
    for answer in (post(stale, "devices/challenge"), post(stale, "devices", body)):
        assert (answer.status_code, "step_up" in answer.json()) == (403, True)
    bearer = {"headers": {"Authorization": f"Bearer {issue_token(eve, name='t', scopes=['devices:create'])[1]}"}}
    assert post(Client(), "devices", body, **bearer).status_code == 403
    assert not Device.objects.exists()


def test_an_agent_registers_with_a_jwt_of_a_fresh_sign_in(eves, eve):
    access = post(eves, "tokens/jwt").json()["access_token"]
    bearer = {"headers": {"Authorization": f"Bearer {access}"}}
    challenge = post(Client(), "devices/challenge", **bearer).json()["challenge"]
    assert post(Client(), "devices", Agent().registration(challenge, eve.uid), **bearer).status_code == 201


def test_twenty_are_enough(eves, eve, monkeypatch):
    monkeypatch.setattr(services, "MOST", 1)
    register(eves, eve)
    challenge = post(eves, "devices/challenge").json()["challenge"]
    answer = post(eves, "devices", Agent().registration(challenge, eve.uid))
    assert (answer.status_code, "Revoke one" in answer.json()["detail"]) == (409, True)


# --- reports ------------------------------------------------------------------------------------------------------


def test_a_report_is_taken_for_its_signature(agent):
    answer = report(agent.jws())
    assert (answer.status_code, answer.json()["sound"]) == (200, True)
    device = Device.objects.get()
    assert (device.os_version, device.is_sound, device.reported_ms) == ("Debian 13.2", True, agent.at)
    assert report(agent.jws(agent.claims(firewall=False))).json()["sound"] is False
    changes = AuditEntry.objects.filter(event="devices:posture_changed").order_by("id")
    assert changes[1].details["changed"] == {"firewall": [True, False]}
    report(agent.jws(agent.claims(firewall=False)))
    assert changes.count() == 2  # the same again is no news


def test_a_replay_and_an_older_one_are_refused(agent):
    first, second = agent.jws(agent.claims(firewall=False)), agent.jws()
    assert [report(jws).status_code for jws in (first, first, second, first, second)] == [200, 409, 200, 409, 409]
    assert Device.objects.get().firewall is True


@pytest.mark.parametrize(("seconds", "status"), [(-299, 200), (-302, 400), (58, 200), (62, 400), (10**12, 400)])
def test_the_clock_may_be_off_by_so_much(agent, seconds, status):
    at = int(time.time() * 1000) + seconds * 1000
    answer = report(agent.jws(agent.claims(reported_at=at)))
    assert answer.status_code == status
    if status == 400:
        assert ("ahead of" if seconds > 0 else "behind") in answer.json()["detail"]
    else:
        assert Device.objects.get().reported_at <= timezone.now()  # never from the future


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "https://elsewhere.example"},
        {"device": "01a20bd9-1d59-7949-b8ec-209801f0f979"},
        {"reported_at": "1764000000000"},
        {"reported_at": True},
        {"reported_at": 1.5},
        {"reported_at": -1},
        {"reported_at": 2**70},
        {"firewall": 1},
        {"firewall": "true"},
        {"firewall": None},
        {"os_version": ""},
        {"os_version": "x" * 81},
        {"os_version": "a\u0000b"},
        {"os_version": "a\nb"},
        {"more": 1},
    ],
    ids=str,
)
def test_what_a_report_must_be(agent, changed):
    assert report(agent.jws(agent.claims(**changed))).status_code == 400
    assert Device.objects.get().reported_at is None


def forged(agent: Agent) -> dict[str, Any]:
    good, other = agent.jws(), Agent()
    head, body, signature = good.split(".")
    other.uid = agent.uid
    spaced = signed.encoded(json.dumps(agent.claims()).encode())
    doubled = signed.encoded(b'{"aud":"x",' + canonical(agent.claims())[1:])
    return {
        "another key": other.jws(),
        "no signature": f"{head}.{body}.",
        "two parts": f"{head}.{body}",
        "four parts": f"{good}.x",
        "changed": f"{head}.{signed.encoded(canonical(agent.claims(firewall=False)))}.{signature}",
        "alg none": agent.jws(header={"alg": "none"}),
        "alg HS256": agent.jws(header={"alg": "HS256"}),
        "own jwk": agent.jws(header={"jwk": {"x": other.public_key}}),
        "another typ": agent.jws(header={"typ": "JWT"}),
        "no uid": agent.jws(header={"kid": "../x"}),
        "kid a list": agent.jws(header={"kid": [agent.uid]}),
        "unknown device": agent.jws(header={"kid": "01a20bd9-1d59-7949-b8ec-209801f0f979"}),
        "not canonical": sealed(agent, head, spaced),
        "a name twice": sealed(agent, head, doubled),
        "an array": sealed(agent, head, signed.encoded(b"[]")),
        "deep": sealed(agent, head, signed.encoded(b"[" * 1200)),
        "padded": f"{head}.{body}.{signature}==",
        "rubbish": "x",
        "dots": "..",
    }


def sealed(agent: Agent, head: str, body: str) -> str:
    return f"{head}.{body}.{agent.sign(f'{head}.{body}'.encode())}"


def test_what_no_device_in_use_signed_is_refused_in_the_same_words(agent):
    answers = {}
    for name, jws in forged(agent).items():
        cache.clear()
        answer = report(jws)
        assert answer.status_code == 401, name
        answers[name] = answer.json()["detail"]
    assert len(set(answers.values())) == 1
    assert Device.objects.get().reported_at is None
    assert AuditEntry.objects.filter(event="devices:report_refused", success=False).count() == len(answers)


@pytest.mark.parametrize("jws", [None, 7, [], {}, "", "x" * 5000, "a\u0000b"], ids=str)
def test_what_is_no_text_is_400(db, jws):
    assert report(jws).status_code == 400


def test_a_revoked_one_and_one_of_somebody_who_is_out_report_no_more(agent, eve):
    eve.is_active = False
    eve.save()
    assert report(agent.jws()).status_code == 401
    eve.is_active = True
    eve.save()
    assert report(agent.jws()).status_code == 200
    services.revoke(Device.objects.get())
    assert report(agent.jws()).status_code == 401


# --- the end ------------------------------------------------------------------------------------------------------


def test_one_sees_and_revokes_ones_own_only(eves, agent, dev, client_for):
    devs = client_for(dev, step_up=True)
    assert [row["uid"] for row in eves.get("/api/v1/devices").json()["results"]] == [agent.uid]
    assert devs.get("/api/v1/devices").json()["results"] == []
    for answer in (
        devs.get(f"/api/v1/devices/{agent.uid}"),
        devs.delete(f"/api/v1/devices/{agent.uid}"),
        devs.post(f"/my-security/devices/{agent.uid}/revoke"),
    ):
        assert answer.status_code == 404
    assert Device.objects.get().revoked_at is None
    assert eves.delete(f"/api/v1/devices/{agent.uid}").status_code == 204
    assert eves.delete(f"/api/v1/devices/{agent.uid}").status_code == 404
    assert AuditEntry.objects.filter(event="devices:revoked").count() == 1


def test_my_security_revokes(eves, agent):
    assert eves.post(f"/my-security/devices/{agent.uid}/revoke")["Location"] == "/my-security"
    assert Device.objects.get().revoked_at is not None
    assert eves.post(f"/my-security/devices/{agent.uid}/revoke").status_code == 404


def test_an_officer_revokes_in_the_admin(olga, agent, client_for):
    client, page = client_for(olga, step_up=True), reverse("admin:devices_device_changelist")
    assert "laptop" in client.get(page).content.decode()
    client.post(page, {"action": "revoke", "_selected_action": [Device.objects.get().pk], "index": "0"})
    assert Device.objects.get().revoked_at is not None
    assert AuditEntry.objects.get(event="devices:revoked").actor_id == olga.pk


# --- what policies make of it -------------------------------------------------------------------------------------


@pytest.fixture
def daily(db):
    """Whoever reads assets must have reported within a day."""
    return make_policy("assets:read", "deny", {"fact": "posture_age", "op": "older_than", "value": 86400})


def aged(hours: int) -> None:
    Device.objects.update(reported_at=timezone.now() - timedelta(hours=hours))


def test_a_stale_posture_denies_the_very_next_request(dev, client_for, daily):
    client = client_for(dev, step_up=True)

    def status() -> int:
        return int(client.get("/api/v1/assets").status_code)

    assert status() == 403  # no device
    agent = register(client, dev)
    assert status() == 403  # it never reported
    report(agent.jws())
    assert status() == 200
    aged(hours=23)
    assert status() == 200
    aged(hours=25)
    answer = client.get("/api/v1/assets")
    assert (answer.status_code, answer.json()["policy"]) == (403, daily.name)
    report(agent.jws())
    assert status() == 200
    report(agent.jws(agent.claims(disk_encryption=False)))
    assert status() == 403  # it says itself that something is off
    report(agent.jws())
    second = register(client, dev)
    assert status() == 403  # the weakest one speaks
    client.delete(f"/api/v1/devices/{second.uid}")
    assert status() == 200


def test_the_weakest_device_speaks_for_every_session_and_token(dev, client_for, daily):
    """No session is bound to a device: a report that comes with one's cookie says nothing of where it runs."""
    one, other = client_for(dev, step_up=True), client_for(dev)
    sound, unsound = register(one, dev), register(one, dev)
    _, text = issue_token(dev, name="ci", scopes=["assets:read"])
    callers = (one, other, Client(headers={"authorization": f"Bearer {text}"}))

    def answers() -> set[int]:
        return {int(caller.get("/api/v1/assets").status_code) for caller in callers}

    post(one, "devices/reports", {"jws": sound.jws()})
    report(unsound.jws(unsound.claims(firewall=False)))
    assert answers() == {403}
    post(one, "devices/reports", {"jws": sound.jws()})
    assert answers() == {403}
    report(unsound.jws())
    assert answers() == {200}


def test_the_devices_of_others_vouch_for_nobody(dev, eve, eves, agent, client_for, daily):
    report(agent.jws())
    assert client_for(dev).get("/api/v1/assets").status_code == 403


def test_a_report_costs_few_queries(agent, django_assert_max_num_queries):
    report(agent.jws())
    with django_assert_max_num_queries(9):
        assert report(agent.jws()).status_code == 200
