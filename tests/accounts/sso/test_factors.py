"""A provider's factor: proved again in the session that it began, and counted where rules are rehearsed."""

import time
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.logins.models import Login
from accounts.models import User
from accounts.sso.models import Identity, Provider, ProviderLogin
from audit.models import AuditEntry
from rbac.access.factors import rehearse
from rbac.models import Role
from tests.accounts.sso.broken import GONE, Broken
from tests.accounts.sso.conftest import change, linked, make_provider, reason
from tests.accounts.test_sign_in import code_for
from tests.conftest import enrolled, put

ASKS = "/my-security/password"  # takes a fresh second factor


@pytest.fixture
def acme(db: None, broken: Broken) -> Provider:
    broken.claims = {"amr": ["pwd", "mfa"], "sid": "first"}
    return make_provider(broken.issuer, factor_level="otp", factor_values=["mfa"])


@pytest.fixture
def client(acme: Provider, broken: Broken, eve: User) -> Client:
    """Eve, without a factor of ours: signed in by the provider's an hour ago."""
    linked(eve, acme)
    client = Client()
    assert broken.walk(client)["Location"] == "/", reason()
    an_hour_passes()
    return client


def an_hour_passes() -> None:
    Login.objects.update(stepped_up_at=timezone.now() - timedelta(hours=1))


def is_fresh(client: Client) -> bool:
    answer = client.get(ASKS)
    assert answer.get("Location", "/step-up").startswith("/step-up")
    return answer.status_code == 200


def go(client: Client, broken: Broken, **claims: Any) -> Any:
    asked = broken.begin(client, f"/step-up/with/acme?next={ASKS}")
    broken.claims = {"amr": ["mfa"], "auth_time": int(time.time()), "sid": "second", **claims}
    return broken.answer(client, asked)


def test_whoever_signs_in_over_there_again_has_stepped_up(client, broken, eve):
    login = Login.objects.get()
    page = client.get(f"/step-up?next={ASKS}").content.decode()
    assert "Sign in with Acme ID again" in page
    assert "no factor that is strong enough" not in page
    cookie = client.cookies["session"].value
    assert go(client, broken)["Location"] == ASKS
    assert is_fresh(client)
    after = Login.objects.get()
    assert (after.pk, after.level, after.ended_at) == (login.pk, "otp", None)
    assert after.stepped_up_at > timezone.now() - timedelta(minutes=1)
    assert client.cookies["session"].value != cookie
    entry = AuditEntry.objects.get(event="mfa:stepped_up")
    assert (entry.actor, entry.details["factors"]) == (eve, ["fed", "mfa"])
    assert ProviderLogin.objects.get().sid == "second"


def test_it_is_asked_to_prove_the_person_anew_and_only_then(client, broken):
    asked = broken.begin(client, "/step-up/with/acme")
    assert (asked["prompt"], asked["max_age"]) == ("login", "0")
    assert not {"prompt", "max_age"} & broken.begin(Client()).keys()


def test_it_leads_to_no_page_of_others(client, broken):
    asked = broken.begin(client, "/step-up/with/acme?next=https://evil.example/")
    broken.claims["auth_time"] = int(time.time())
    assert broken.answer(client, asked)["Location"] == "/"


NO_PROOF: dict[str, tuple[dict[str, Any], str]] = {
    "no auth_time": ({"auth_time": GONE}, "auth_time"),
    "auth_time of this morning": ({"auth_time": int(time.time()) - 3600}, "auth_time is not of now"),
    "auth_time to come": ({"auth_time": int(time.time()) + 3600}, "auth_time is not of now"),
    "auth_time as text": ({"auth_time": str(int(time.time()))}, "auth_time"),
    "auth_time true": ({"auth_time": True}, "auth_time"),
    "auth_time no number": ({"auth_time": float("nan")}, "auth_time"),
    "auth_time null": ({"auth_time": None}, "auth_time"),
    "somebody unknown": ({"sub": "somebody-else"}, "userinfo"),
    "no second factor": ({"amr": ["pwd"]}, "no second factor"),
    "nonce of another": ({"nonce": "another"}, "nonce"),
}


@pytest.mark.parametrize("what", NO_PROOF)
def test_what_proves_nothing_changes_nothing(client, broken, what):
    claims, why = NO_PROOF[what]
    before, kept = dict(client.session), Login.objects.values().get()
    answer = go(client, broken, **claims)
    assert answer.status_code == 400
    assert "did not work" in answer.content.decode()
    assert "You are signed in as before" in answer.content.decode()
    assert why in reason()
    assert AuditEntry.objects.filter(event="sso:refused").count() == 1
    after = dict(client.session)
    assert {**after, "sso": {}} == {**before, "sso": {}}
    assert {**Login.objects.values().get(), "last_seen_at": 0} == {**kept, "last_seen_at": 0}
    assert ProviderLogin.objects.get().sid == "first"
    assert not is_fresh(client)
    assert go(client, broken)["Location"] == ASKS  # the same way, with the truth


@pytest.mark.parametrize("is_known", [True, False])
def test_nobody_steps_up_as_somebody_else(client, broken, acme, olga, is_known):
    if is_known:
        linked(olga, acme, "person-2")
    broken.subject = "person-2"
    assert go(client, broken).status_code == 400
    assert "somebody else" in reason()
    assert not is_fresh(client)
    assert Identity.objects.count() == 1 + is_known


def test_a_sign_in_elsewhere_is_no_answer_to_it(client, broken):
    """What was begun in one browser is none of another, signed in or not."""
    asked = broken.begin(client, "/step-up/with/acme")
    broken.claims["auth_time"] = int(time.time())
    assert broken.answer(Client(), asked).status_code == 400
    assert not is_fresh(client)


def test_a_session_that_is_over_does_not_step_up(client, broken, acme):
    asked = broken.begin(client, "/step-up/with/acme")
    broken.claims["auth_time"] = int(time.time())
    change(acme, factor_values=["mfa", "hwk"])  # which ends what it began
    assert broken.answer(client, asked).status_code == 400
    assert client.get("/my-security").status_code == 302
    assert not AuditEntry.objects.filter(event="mfa:stepped_up").exists()


def test_beside_a_factor_of_ours_it_is_offered_as_another_way(client, broken, eve):
    device = enrolled(eve)
    page = client.get("/step-up").content.decode()
    assert "6-digit code" in page
    assert 'href="/step-up/with/acme' in page
    assert client.post("/step-up", {"code": code_for(device), "next": ASKS})["Location"] == ASKS
    an_hour_passes()
    assert go(client, broken)["Location"] == ASKS
    assert is_fresh(client)


@pytest.mark.parametrize("how", ["too weak", "counts no more", "by password"])
def test_it_is_not_offered_where_it_proves_nothing(client, broken, acme, eve, client_for, how):
    address = "/step-up?level=passkey" if how == "too weak" else "/step-up"
    if how == "counts no more":
        put(Provider.objects.filter(pk=acme.pk), factor_level="", factor_values=[])
        session = client.session
        session["otp_device_id"] = enrolled(eve).persistent_id
        session.save()
    if how == "by password":
        client = client_for(eve)
    assert "/step-up/with/" not in client.get(address).content.decode()
    if how != "too weak":
        assert client.get("/step-up/with/acme").status_code == 404


def test_what_is_weaker_than_the_session_stands_on_is_refused(client, broken, acme, eve):
    """Begun while it was strong enough."""
    asked = broken.begin(client, "/step-up/with/acme")
    broken.claims["auth_time"] = int(time.time())
    device = enrolled(eve)
    session = client.session
    session["otp_device_id"] = device.persistent_id
    session.save()
    put(Provider.objects.filter(pk=acme.pk), factor_level="message")
    assert broken.answer(client, asked).status_code == 400
    assert "use that again" in reason()
    assert not is_fresh(client)


# --- who would be stopped -----------------------------------------------------------------------------------------


def test_a_rehearsal_of_factor_rules_counts_what_the_provider_said_last(acme, broken, dev):
    def stopped(level: str) -> list[str]:
        return list(rehearse(Role.objects.get(key="developer"), level).values_list("email", flat=True))

    linked(dev, acme)
    assert stopped("otp") == [dev.email]  # linked, and never seen
    assert broken.walk()["Location"] == "/", reason()
    assert stopped("otp") == []
    assert stopped("passkey") == [dev.email]
    change(acme, factor_level="passkey")
    assert stopped("passkey") == []
    broken.claims["amr"] = ["pwd"]
    broken.walk()
    assert stopped("passkey") == [dev.email]
    broken.claims["amr"] = ["mfa"]
    broken.walk()
    for values in ({"is_enabled": False}, {"factor_level": "", "factor_values": []}, {"factor_values": ["phr"]}):
        change(acme, **values)
        assert stopped("otp") == [dev.email], values
        change(acme, is_enabled=True, factor_level="passkey", factor_values=["mfa"])
    assert stopped("passkey") == []
    put(Identity.objects.all(), claims_encrypted="v1.gone.AAAA")
    assert stopped("otp") == [dev.email]  # unknown is no factor
