"""Passkeys at the HTTP door: what is accepted, and what a lying authenticator, page or client gains."""

import json
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.logins.models import Login
from accounts.mfa import services
from accounts.mfa.models import Passkey
from audit.models import AuditEntry
from tests.accounts.mfa.authenticator import PRESENT, SoftKey
from tests.accounts.parallel import eight_times
from tests.accounts.test_sign_in import password_step
from tests.conftest import enrolled


def options(client: Client, use: str) -> dict:
    response = client.post(f"/sign-in/passkey/options/{use}")
    assert response.status_code == 200, response.content
    return response.json()


@pytest.fixture
def key(olga, client_for) -> SoftKey:
    """Olga's passkey, made within a session."""
    client, key = client_for(olga, step_up=True), SoftKey()
    answer = key.make(options(client, "new"))
    response = client.post("/sign-in/enrol/passkey", {"credential": json.dumps(answer), "name": "laptop"})
    assert response.status_code == 200, response.content  # the codes
    assert Passkey.objects.get(user=olga).name == "laptop"
    return key


def sign_in(client: Client, answer: dict | str) -> int:
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return client.post("/sign-in/passkey", {"credential": text, "next": "/findings"}).status_code


def is_in(client: Client) -> bool:
    return client.get("/my-security").status_code == 200


def test_it_signs_in_without_a_password(olga, key):
    client = Client()
    client.post("/sign-in", {"username": olga.email, "password": "wrong"})  # a session from before
    assert sign_in(client, key.use(options(client, "any"))) == 302
    assert is_in(client)
    entry = AuditEntry.objects.filter(event="sessions:started").latest("id")
    assert (entry.actor_id, entry.details["factor"]) == (olga.pk, "laptop")
    assert client.get("/api/v1/me").json()["stepped_up"] is True


def test_it_is_the_second_step(olga, key):
    client = password_step(olga)
    answer = key.use(options(client, "mine"))
    assert client.post("/sign-in/second-step", {"credential": json.dumps(answer)}).status_code == 302
    assert is_in(client)


@pytest.mark.parametrize(
    "lie",
    ["origin", "rp", "not verified", "other challenge", "other key", "replayed", "of nobody", "other owner", "nothing"],
)
def test_a_lie_signs_nobody_in(olga, adam, key, lie):
    client = Client()
    asked = options(client, "any")
    if lie == "origin":
        key.origin = "http://localhost:8000.evil.example"
    elif lie == "rp":
        key.rp = "evil.example"
    elif lie == "not verified":
        key.flags = PRESENT
    elif lie == "other challenge":
        asked = options(Client(), "any")
    elif lie == "other key":
        key.key = SoftKey().key
    elif lie == "of nobody":
        key.id = b"x" * 32
    elif lie == "other owner":
        key.user_handle = b"x" * 64
    answer = key.use(asked)
    if lie == "replayed":
        assert sign_in(client, answer) == 302
        client = Client()
        options(client, "any")
    before = AuditEntry.objects.filter(event="mfa:refused").count()
    assert sign_in(client, "{}" if lie == "nothing" else answer) == 400
    assert not is_in(client)
    assert AuditEntry.objects.filter(event="mfa:refused").count() == before + 1


def test_a_copied_authenticator_is_seen_by_its_counter(olga, key):
    key.count = 5
    for expected, count in ((302, 5), (302, 9), (400, 6)):
        key.count = count
        client = Client()
        assert sign_in(client, key.use(options(client, "any"))) == expected


def test_a_removed_a_foreign_and_a_deactivated_owners_passkey_do_nothing(olga, adam, key, client_for):
    enrolled(adam)
    halfway = password_step(adam)
    answer = key.use(options(halfway, "mine"))
    assert halfway.post("/sign-in/second-step", {"credential": json.dumps(answer)}).status_code == 400
    olga.is_active = False
    olga.save()
    client = Client()
    assert sign_in(client, key.use(options(client, "any"))) == 400
    olga.is_active = True
    olga.save()
    services.remove_factor(Passkey.objects.get())
    client = Client()
    assert sign_in(client, key.use(options(client, "any"))) == 400
    assert not is_in(client)


def test_nobody_makes_one_without_a_fresh_proof(olga, eve, client_for):
    assert Client().post("/sign-in/passkey/options/new").status_code == 403
    stale = client_for(olga)
    assert stale.post("/sign-in/passkey/options/new")["Location"].startswith("/step-up")
    enrolled(eve)
    halfway = password_step(eve)  # the password alone, of an account that has a factor
    assert halfway.post("/sign-in/passkey/options/new").status_code == 403
    made = SoftKey().make(options(client_for(olga, step_up=True), "new"))
    assert halfway.post("/sign-in/enrol/passkey", {"credential": json.dumps(made)})["Location"].endswith("second-step")
    assert not Passkey.objects.exists()


def test_one_key_stands_for_one_account(olga, adam, key, client_for):
    client = client_for(adam, step_up=True)
    answer = key.make(options(client, "new"))
    assert client.post("/sign-in/enrol/passkey", {"credential": json.dumps(answer)}).status_code == 400
    assert Passkey.objects.get().user == olga


def test_the_session_steps_up_with_what_it_stands_on(olga, key):
    client = Client()
    sign_in(client, key.use(options(client, "any")))
    before = client.session.session_key
    Login.objects.update(stepped_up_at=timezone.now() - timedelta(hours=1))
    from tests.accounts.test_sign_in import code_for

    refused = client.post("/step-up", {"code": code_for(enrolled(olga)), "next": "/admin/"})
    assert "opened with a passkey" in refused.content.decode()
    answer = key.use(options(client, "mine"))
    answered = client.post("/step-up", {"credential": json.dumps(answer), "next": "/admin/"})
    assert answered["Location"] == "/admin/"
    assert client.session.session_key != before
    assert client.get("/admin/").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_of_eight_parallel_uses_of_one_answer_one_signs_in(olga, key):
    client = Client()
    answer = json.dumps(key.use(options(client, "any")))
    cookie = client.cookies["session"].value

    def use() -> int:
        one = Client()
        one.cookies["session"] = cookie
        return sign_in(one, answer)

    assert sorted(eight_times(use)) == [302] + [400] * 7


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.binary(max_size=40).map(lambda b: b.hex()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
WHERE = [(), ("response",), ("response", "clientDataJSON"), ("response", "authenticatorData"), ("id",), ("rawId",)]


@given(st.sampled_from([*WHERE, ("response", "signature"), ("response", "userHandle"), ("type",)]), trees)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_is_a_400_and_never_a_500(key, where, garbage):
    client = Client()
    answer: dict = key.use(options(client, "any"))
    if not where:
        answer = garbage
    else:
        place = answer
        for name in where[:-1]:
            place = place[name]
        place[where[-1]] = garbage
    assert sign_in(client, json.dumps(answer)) == 400
    assert not is_in(client)


@given(st.binary(max_size=300), trees)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_makes_no_passkey(olga, client_for, attestation, garbage):
    from tests.accounts.mfa.authenticator import b64

    client, key = client_for(olga, step_up=True), SoftKey()
    answer = key.make(options(client, "new"))
    answer["response"]["attestationObject"] = b64(attestation)
    answer["clientExtensionResults"] = garbage
    response = client.post("/sign-in/enrol/passkey", {"credential": json.dumps(answer)})
    assert response.status_code == 400
    assert not Passkey.objects.exists()
