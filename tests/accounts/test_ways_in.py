"""Where factors, sessions and tokens meet: each way in leaves a row of what was proved; tokens come of such a row alone
and do what the roles ask; and a factor that is taken off takes them along."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.core import mail
from django.test import Client
from django.utils import timezone

from accounts.logins.models import Login
from accounts.mfa.codes import fresh_codes
from accounts.mfa.models import MessageDevice, Passkey, TOTPDevice
from accounts.models import SetupLink, User
from accounts.services import issue_setup_link
from accounts.tokens.models import Family, Token
from accounts.tokens.services import issue_token
from rbac.access.models import FactorRule
from tests.accounts.mfa.authenticator import SoftKey
from tests.accounts.mfa.test_passkeys import options, sign_in
from tests.accounts.test_lockout import fail
from tests.accounts.test_sign_in import code_for, password_step
from tests.accounts.tokens.conftest import Caller, refresh
from tests.accounts.tokens.test_jwt import claims
from tests.conftest import PASSWORD, enrolled, put
from tests.rbac.access.test_factors import rule

JSON = "application/json"


def pair_of(client: Client) -> Any:
    return client.post("/api/v1/tokens/jwt", {}, content_type=JSON)


def by_code(user: User, code: str, **headers: str) -> Any:
    return Caller(**headers)("POST", "/tokens/jwt", {"email": user.email, "password": PASSWORD, "code": code})


def app_code(user: User) -> str:
    """A code that was not used yet, as far as the app can tell."""
    device = enrolled(user)
    TOTPDevice.objects.filter(pk=device.pk).update(last_step=-1)
    return code_for(device)


def second_step(client: Client, **given: str) -> Client:
    assert client.post("/sign-in/second-step", given).status_code == 302
    return client


def mailed_code() -> str:
    found = re.match(r"\d{6}", mail.outbox[-1].body)
    assert found
    return found[0]


def mailbox(user: User) -> MessageDevice:
    device = MessageDevice(user=user, name="e-mail", channel="email")
    device.address = user.email
    device.save()
    return device


def passkey(user: User, client_for: Callable[..., Client]) -> SoftKey:
    """Made within a session, which is ended and forgotten."""
    client, key = client_for(user, step_up=True), SoftKey()
    made = client.post("/sign-in/enrol/passkey", {"credential": json.dumps(key.make(options(client, "new")))})
    assert made.status_code in (200, 302)
    Login.objects.all().delete()
    return key


# --- each way in --------------------------------------------------------------------------------------------------


def by_app(user: User, client_for: Any) -> Client:
    return second_step(password_step(user), code=app_code(user))


def by_recovery_code(user: User, client_for: Any) -> Client:
    enrolled(user)
    return second_step(password_step(user), code=fresh_codes(user)[0])


def by_mailed_code(user: User, client_for: Any) -> Client:
    mailbox(user)
    client = password_step(user)
    client.post("/sign-in/message/email")
    return second_step(client, code=mailed_code(), method="email")


def by_text_message(user: User, client_for: Any, caplog: Any) -> Client:
    device = mailbox(user)
    device.channel, device.address = "sms", "+4930901820"
    device.save()
    client = password_step(user)
    with caplog.at_level("INFO"):
        client.post("/sign-in/message/sms")
    return second_step(client, code=re.findall(r"(\d{6}) is your code", caplog.text)[-1], method="sms")


def by_password_and_passkey(user: User, client_for: Any) -> Client:
    key, client = passkey(user, client_for), password_step(user)
    return second_step(client, credential=json.dumps(key.use(options(client, "mine"))))


def by_passkey_alone(user: User, client_for: Any) -> Client:
    key, client = passkey(user, client_for), Client()
    assert sign_in(client, key.use(options(client, "any"))) == 302
    return client


def by_set_up_link(user: User, client_for: Any) -> Client:
    client, link = Client(), issue_setup_link(user)
    client.post(link, {"password": PASSWORD, "again": PASSWORD})
    client.get("/sign-in/enrol")
    device = TOTPDevice.objects.get(user=user)
    assert client.post("/sign-in/enrol", {"code": code_for(device)}).status_code == 200
    return client


def by_reset_link(user: User, client_for: Any) -> Client:
    device, client = enrolled(user), Client()
    client.post(issue_setup_link(user, purpose=SetupLink.Purpose.RESET), {"password": PASSWORD, "again": PASSWORD})
    return second_step(client, code=code_for(device))


WAYS: dict[str, tuple[Callable[..., Client], list[str], str]] = {
    "app": (by_app, ["pwd", "otp", "mfa"], "otp"),
    "recovery code": (by_recovery_code, ["pwd", "otp", "mfa"], "otp"),
    "e-mail": (by_mailed_code, ["pwd", "otp", "mfa"], "message"),
    "text message": (by_text_message, ["pwd", "sms", "mfa"], "message"),
    "password and passkey": (by_password_and_passkey, ["pwd", "hwk", "mfa"], "passkey"),
    "passkey alone": (by_passkey_alone, ["hwk", "mfa"], "passkey"),
    "set-up link": (by_set_up_link, ["pwd", "otp", "mfa"], "otp"),
    "reset link": (by_reset_link, ["pwd", "otp", "mfa"], "otp"),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_in_leaves_a_row_of_what_was_proved(eve, client_for, settings, caplog, way):
    settings.SMS_GATEWAY = "console"
    go, factors, level = WAYS[way]
    client = go(eve, client_for, caplog) if way == "text message" else go(eve, client_for)
    login = Login.objects.get(user=eve)
    assert (login.kind, login.factors, login.level) == ("console", factors, level)
    assert client.get("/my-security").status_code == 200
    given = pair_of(client)
    assert given.status_code == 201
    assert claims(given.json()["access_token"])["amr"] == factors
    child = login.children.get()
    assert (child.level, child.stepped_up_at) == (level, login.stepped_up_at)
    Login.objects.filter(pk=login.pk).update(ended_at=timezone.now())
    assert client.get("/my-security").status_code == 302


def test_a_step_up_is_in_the_row_and_in_the_tokens_that_follow(eve, client_for):
    key, client = passkey(eve, client_for), by_app(eve, client_for)
    begun = timezone.now() - timedelta(hours=1)
    Login.objects.update(stepped_up_at=begun)
    assert pair_of(client).status_code == 403
    client.post("/step-up", {"credential": json.dumps(key.use(options(client, "mine"))), "level": "passkey"})
    login = Login.objects.get()
    assert (login.level, login.factors) == ("passkey", ["pwd", "otp", "mfa", "hwk"])
    assert login.stepped_up_at > begun + timedelta(minutes=59)
    said = claims(pair_of(client).json()["access_token"])
    assert (said["amr"], said["auth_time"]) == (login.factors, int(login.stepped_up_at.timestamp()))


# --- who gets tokens ----------------------------------------------------------------------------------------------


def test_who_may_only_enrol_gets_no_token(dev):
    code = app_code(dev)
    rule()
    client = password_step(dev)
    assert client.post("/sign-in/second-step", {"code": code})["Location"] == "/sign-in/enrol"
    assert client.get("/sign-in/enrol/passkey").status_code == 200
    assert pair_of(client).status_code == 401
    body = {"name": "x", "scopes": ["me:read"]}
    assert client.post("/api/v1/tokens", body, content_type=JSON).status_code == 401
    refused = by_code(dev, app_code(dev))
    told = refused.json()
    assert (refused.status_code, told["strength"]) == (403, "passkey")
    assert "As Developer you sign in with a passkey" in told["detail"]
    assert not Login.objects.exists()
    assert not Family.objects.exists()
    assert not Token.objects.exists()


def test_an_older_jwt_is_held_to_a_new_rule_and_one_from_a_passkey_passes(dev, client_for):
    key = passkey(dev, client_for)
    rule(grace_days=3)
    weak = by_code(dev, app_code(dev)).json()
    assert Caller(weak["access_token"])("GET", "/findings").status_code == 200
    put(FactorRule.objects.all(), enabled_at=timezone.now() - timedelta(days=3))
    for given in (weak, refresh(weak).json()):
        refused = Caller(given["access_token"])("GET", "/findings")
        assert (refused.status_code, "step_up" in refused.json()) == (403, False)
        assert "As Developer you sign in with a passkey. Sign in anew." in refused.json()["detail"]
        assert Caller(given["access_token"])("GET", "/me").status_code == 200
    client = Client()
    sign_in(client, key.use(options(client, "any")))
    strong = pair_of(client).json()
    assert Caller(strong["access_token"])("GET", "/findings").status_code == 200


def test_a_jwt_grows_old_where_a_role_asks_for_fresh_proof(dev):
    rule(level="otp", max_age=30)
    given = by_code(dev, app_code(dev)).json()
    caller = Caller(given["access_token"])
    assert caller("GET", "/findings").status_code == 200
    Login.objects.update(stepped_up_at=timezone.now() - timedelta(minutes=31))
    refused = caller("GET", "/findings")
    assert refused.status_code == 403
    assert "asked for every 30 minutes. Sign in anew." in refused.json()["detail"]
    again = by_code(dev, app_code(dev)).json()
    assert Caller(again["access_token"])("GET", "/findings").status_code == 200


def test_an_address_that_tries_many_names_waits_here_as_on_the_page(eve, settings):
    settings.LOGIN_ADDRESS_LIMIT = 12
    for number in range(4):
        fail(f"name{number}@example.org", 3)
    code = app_code(eve)
    assert by_code(eve, code, address="203.0.113.9").status_code == 429
    assert by_code(eve, code).status_code == 201


# --- what ends them -----------------------------------------------------------------------------------------------


def replace_app(client: Client, user: User) -> Any:
    begun = client.post("/api/v1/mfa", {"method": "totp"}, content_type=JSON).json()
    waiting = TOTPDevice.objects.get(user=user, confirmed=False)
    body = {"code": code_for(waiting)}
    return client.post(f"/api/v1/mfa/{begun['uid']}/confirm", body, content_type=JSON)


def replace_mailbox(client: Client, user: User) -> Any:
    begun = client.post("/api/v1/mfa", {"method": "email"}, content_type=JSON).json()
    return client.post(f"/api/v1/mfa/{begun['uid']}/confirm", {"code": mailed_code()}, content_type=JSON)


def take_off_by_api(client: Client, user: User) -> Any:
    return client.delete(f"/api/v1/mfa/{MessageDevice.objects.get(user=user).uid}")


def take_off_by_page(client: Client, user: User) -> Any:
    return client.post(f"/my-security/factors/{MessageDevice.objects.get(user=user).uid}/remove")


CHANGES = {
    "app replaced": replace_app,
    "address replaced": replace_mailbox,
    "taken off by API": take_off_by_api,
    "taken off by page": take_off_by_page,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_factor_that_goes_takes_every_other_session_and_token_along(eve, client_for, change):
    mailbox(eve)
    mine, other = client_for(eve, step_up=True), client_for(eve)
    given = by_code(eve, app_code(eve)).json()
    made_here = pair_of(mine).json()
    _, text = issue_token(eve, name="t", scopes=["me:read"])
    answer = CHANGES[change](mine, eve)
    assert answer.status_code in (200, 204, 302), answer.content
    assert mine.get("/my-security").status_code == 200
    assert other.get("/my-security").status_code == 302
    for token in (given["access_token"], made_here["access_token"], text):
        assert Caller(token)("GET", "/me").status_code == 401
    assert refresh(given).status_code == 401
    assert Login.objects.open(at=timezone.now()).count() == 1


def test_the_session_that_stands_on_it_ends_too(eve, client_for):
    key = passkey(eve, client_for)
    client = Client()
    sign_in(client, key.use(options(client, "any")))
    assert client.delete(f"/api/v1/mfa/{Passkey.objects.get().uid}").status_code == 204
    assert client.get("/my-security").status_code == 302
    assert not Login.objects.open(at=timezone.now()).exists()


def test_adding_one_ends_nothing(eve, client_for):
    mine, other = client_for(eve, step_up=True), client_for(eve)
    given = by_code(eve, app_code(eve)).json()
    key = SoftKey()
    answer = json.dumps(key.make(options(mine, "new")))
    assert mine.post("/sign-in/enrol/passkey", {"credential": answer}).status_code in (200, 302)
    assert mine.get("/my-security").status_code == 200
    assert other.get("/my-security").status_code == 200
    assert Caller(given["access_token"])("GET", "/me").status_code == 200


def test_a_new_hash_of_the_same_password_ends_no_token(eve, settings):
    _, text = issue_token(eve, name="t", scopes=["me:read"])
    old = make_password(PASSWORD)
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher", *settings.PASSWORD_HASHERS]
    enrolled(eve)
    password_step(eve)
    eve.refresh_from_db()
    assert eve.password.split("$")[0] == "pbkdf2_sha256" != old.split("$")[0]
    assert Caller(text)("GET", "/me").status_code == 200
