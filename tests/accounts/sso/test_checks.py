"""Whatever a provider, or somebody in between, says that is not so: one page, one event, nobody signed in."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from joserfc.jwk import OctKey

from accounts.logins.models import Login
from accounts.models import User
from accounts.pending import KEY as PENDING
from accounts.sso import remote, walk
from accounts.sso.models import Attempt, Provider
from accounts.sso.services import save_provider
from audit.models import AuditEntry
from tests.accounts.sso import broken as ways
from tests.accounts.sso.broken import EC, GONE, KEYS, PLAIN_KEY, Broken, send, signed
from tests.accounts.sso.conftest import SECRET, linked, make_provider, reason
from tests.conftest import put

NOW = time.time


@pytest.fixture
def acme(db: None, broken: Broken) -> Provider:
    return make_provider(broken.issuer, domains=["example.org"], creates_accounts=True)


@pytest.fixture
def known(acme: Provider, broken: Broken, eve: User) -> User:
    return linked(eve, acme, broken.subject).user


def accepted(client: Client, answer: Any, user: User) -> None:
    assert (answer.status_code, answer["Location"]) == (302, "/sign-in/second-step"), reason()
    assert client.session[PENDING]["user"] == user.pk


def refused(client: Client, answer: Any, why: str) -> None:
    assert answer.status_code == 400
    page = answer.content.decode()
    assert "The sign-in with Acme ID did not work" in page
    assert "eve@" not in page
    assert PENDING not in client.session
    assert not Login.objects.exists()
    entries = AuditEntry.objects.filter(event="sso:refused")
    assert entries.count() == 1
    assert why in reason()


def says(**values: Any) -> Callable[[Broken], None]:
    """The provider says this instead."""

    def change(broken: Broken) -> None:
        for name, value in values.items():
            setattr(broken, name, value)

    return change


def claim(**values: Any) -> Callable[[Broken], None]:
    return says(claims=values)


def signs(sign: Callable[[dict[str, Any]], str]) -> Callable[[Broken], None]:
    return says(sign=sign)


def answers(path: str, answer: Callable[[Any], None]) -> Callable[[Broken], None]:
    return says(answers={path: answer})


def plainly(status: int = 200, content: bytes = b"{}") -> Callable[[Any], None]:
    return lambda handler: send(handler, None, status, content)


def elsewhere(handler: Any) -> None:
    handler.send_response(302)
    handler.send_header("Location", "/jwks")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def hangs_up(handler: Any) -> None:
    handler.close_connection = True


DEEP = b"[" * 100_000
TOKEN, KEYSET, ME, ITSELF = "/token", "/jwks", "/me", "/.well-known/openid-configuration"

WRONG: dict[str, tuple[Callable[[Broken], None], str]] = {
    "iss wrong": (claim(iss="https://evil.example"), "iss"),
    "iss with a slash": (lambda b: b.claims.update(iss=b.issuer + "/"), "iss"),
    "iss missing": (claim(iss=GONE), "iss"),
    "aud wrong": (claim(aud="another"), "aud"),
    "aud missing": (claim(aud=GONE), "aud"),
    "aud of another kind": (claim(aud={"opssight": 1}), "aud"),
    "aud among which is no text": (claim(aud=["opssight", 7], azp="opssight"), "aud"),
    "aud two, azp other": (claim(aud=["opssight", "other"], azp="other"), "azp"),
    "aud two, no azp": (claim(aud=["opssight", "other"]), "azp"),
    "azp other": (claim(azp="other"), "azp"),
    "nonce wrong": (claim(nonce="another"), "nonce"),
    "nonce missing": (claim(nonce=GONE), "nonce"),
    "at_hash wrong": (claim(at_hash=ways.half_hash("another-token")), "at_hash"),
    "at_hash of another kind": (claim(at_hash=7), "claims"),
    "expired": (claim(exp=int(NOW()) - 3600), "exp"),
    "exp missing": (claim(exp=GONE), "exp"),
    "exp as text": (claim(exp="9999999999"), "exp"),
    "iat to come": (claim(iat=int(NOW()) + 3600), "iat"),
    "iat a day old": (claim(iat=int(NOW()) - 86_400), "iat"),
    "iat missing": (claim(iat=GONE), "iat"),
    "iat true": (claim(iat=True), "iat"),
    "not yet valid": (claim(nbf=int(NOW()) + 3600), "claims"),
    "sub missing": (claim(sub=GONE), "sub"),
    "sub empty": (claim(sub=""), "sub"),
    "sub a number": (claim(sub=7), "sub"),
    "sub too long": (says(subject="x" * 256), "sub"),
    "sub with a null character": (says(subject="person\0"), "sub"),
    "userinfo about another": (says(userinfo={"sub": "somebody-else"}), "userinfo"),
    "userinfo about nobody": (says(userinfo={"sub": GONE}), "userinfo"),
    "userinfo a list": (answers(ME, plainly(content=b"[]")), "userinfo"),
    "userinfo refused": (answers(ME, plainly(401)), "401"),
    "alg none": (signs(ways.unsigned), "trusted"),
    "HS256 with the public key": (signs(ways.with_public_key), "trusted"),
    "HS256 with the client secret": (signs(ways.with_client_secret), "trusted"),
    "tampered": (signs(ways.tampered), "trusted"),
    "key in the header": (signs(ways.with_own_key), "trusted"),
    "kid unknown": (signs(lambda c: signed(c, KEYS["unlisted"])), "does not list"),
    "kid of one, key of another": (signs(lambda c: signed(c, KEYS["unlisted"], kid="first")), "trusted"),
    "kid absent, two keys": (
        says(listed=["first", "second"], sign=lambda c: signed(c, KEYS["first"], kid=GONE)), "does not list"
    ),
    "algorithm of another key": (signs(lambda c: signed(c, EC, kid="first")), "trusted"),
    "id_token absent": (says(token={"id_token": GONE}), "no token"),
    "id_token no token": (says(token={"id_token": "a.b"}), "trusted"),
    "id_token a number": (says(token={"id_token": 7}), "no token"),
    "id_token huge": (says(token={"id_token": "x" * 40_000}), "too large"),
    "access token absent": (says(token={"access_token": GONE}), "access token"),
    "access token with a line break": (says(token={"access_token": "a\r\nX: y"}), "access token"),
    "token of another type": (says(token={"token_type": "mac"}), "bearer"),
    "code refused": (answers(TOKEN, plainly(400, b'{"error": "invalid_grant"}')), "invalid_grant"),
    "code refused in odd words": (answers(TOKEN, plainly(400, b'{"error": "<script>"}')), "something unreadable"),
    "token answer no JSON": (answers(TOKEN, plainly(content=b"<html>")), "none"),
    "token answer a list": (answers(TOKEN, plainly(content=b"[]")), "none"),
    "token answer too deep": (answers(TOKEN, plainly(content=DEEP)), "none"),
    "token answer 500": (answers(TOKEN, plainly(500)), "500"),
    "token answer too large": (answers(TOKEN, plainly(content=b" " * 300_000)), "more than"),
    "token answer leads elsewhere": (answers(TOKEN, elsewhere), "none"),
    "hangs up": (answers(TOKEN, hangs_up), "can't be asked"),
    "keys no JSON": (answers(KEYSET, plainly(content=b"{")), "JSON"),
    "keys none": (answers(KEYSET, plainly(content=b"{}")), "key set"),
    "keys empty": (answers(KEYSET, plainly(content=b'{"keys": []}')), "trusted"),
    "keys too deep": (answers(KEYSET, plainly(content=DEEP)), "JSON"),
    "keys lead elsewhere": (answers(KEYSET, lambda h: elsewhere(h)), "302"),
    "keys not a number": (answers(KEYSET, plainly(content=b'{"keys": NaN}')), "JSON"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_with_the_answer_signs_nobody_in(known, broken, what):
    change, why = WRONG[what]
    client = Client()
    asked = broken.begin(client)
    change(broken)
    refused(client, broken.answer(client, asked), why)


RIGHT: dict[str, Callable[[Broken], None]] = {
    "as it should be": says(),
    "two audiences and our party": claim(aud=["opssight", "other"], azp="opssight"),
    "audience as a list": claim(aud=["opssight"]),
    "no at_hash": claim(at_hash=GONE),
    "clock half a minute off": claim(iat=int(NOW()) + 30),
    "without userinfo": says(discovery={"userinfo_endpoint": GONE}),
    "kid absent, one key": says(listed=["plain"], sign=lambda c: signed(c, PLAIN_KEY)),
    "another algorithm": says(listed=["curve"], sign=lambda c: signed(c, EC)),
}


@pytest.mark.parametrize("what", RIGHT)
def test_what_is_right_leads_to_our_second_step(known, broken, what):
    RIGHT[what](broken)
    client = Client()
    accepted(client, broken.walk(client), known)


def test_what_the_provider_is_asked_with(known, broken):
    client = Client()
    asked = broken.begin(client)
    assert (asked["response_type"], asked["client_id"], asked["scope"]) == ("code", "opssight", "openid email profile")
    assert asked["redirect_uri"] == "http://localhost:8000/sign-in/with/acme/back"
    assert (asked["code_challenge_method"], len(asked["code_challenge"])) == ("S256", 43)
    assert min(len(asked["state"]), len(asked["nonce"])) >= 43
    accepted(client, broken.answer(client, asked), known)
    _, _, headers, body = next(call for call in broken.asked if call[1] == TOKEN)
    assert headers["Authorization"].startswith("Basic ")
    assert "code_verifier=" in body
    assert "a-secret-of-the-tests" not in body


# --- the answer in the browser ------------------------------------------------------------------------------------

BROWSER: dict[str, tuple[dict[str, Any], str]] = {
    "state wrong": ({"state": "another"}, "not begun in this browser"),
    "state missing": ({"state": GONE}, "not begun in this browser"),
    "code missing": ({"code": GONE}, "no code"),
    "code too long": ({"code": "x" * 5000}, "no code"),
    "refused over there": ({"code": GONE, "error": "access_denied"}, "access_denied"),
    "refused in odd words": ({"error": "<b>"}, "something unreadable"),
    "another issuer answers": ({"iss": "https://evil.example"}, "another provider's"),
}


@pytest.mark.parametrize("what", BROWSER)
def test_what_is_wrong_with_the_way_back(known, broken, what):
    more, why = BROWSER[what]
    client = Client()
    refused(client, broken.walk(client, **more), why)
    assert "/token" not in broken.paths()


def test_where_the_provider_promises_its_name_it_must_be_there(known, broken):
    broken.discovery = {"authorization_response_iss_parameter_supported": True}
    client = Client()
    refused(client, broken.walk(client, iss=GONE), "does not say whose it is")
    accepted(client, broken.walk(client), known)


def test_a_parameter_said_twice(known, broken):
    client = Client()
    asked = broken.begin(client)
    refused(client, client.get(f"/sign-in/with/acme/back?state={asked['state']}&code=a&code=b"), "twice")


def test_a_state_is_good_once_in_its_own_browser_with_its_own_provider_for_ten_minutes(known, broken):
    client, other = Client(), Client()
    asked = broken.begin(client)
    refused(other, broken.answer(other, asked), "not begun in this browser")
    cookies = client.cookies["session"].value
    accepted(client, broken.answer(client, asked), known)
    assert client.cookies["session"].value != cookies
    assert broken.answer(client, asked).status_code == 400
    late = broken.begin(client)
    Attempt.objects.update(expires_at=timezone.now())
    assert broken.answer(client, late).status_code == 400
    assert "too old" in reason()


def test_a_state_begun_with_one_provider_is_none_of_another(known, broken):
    make_provider("https://other.example", slug="other", name="Other")
    client = Client()
    asked = broken.begin(client)
    assert broken.answer(client, asked, slug="other").status_code == 400
    assert "another provider" in reason()
    assert broken.paths().count(TOKEN) == 0


def test_a_copied_session_can_not_spend_the_state_twice(known, broken):
    """The row is what counts: the session alone could be read by two requests at once."""
    client = Client()
    asked = broken.begin(client)
    kept = dict(client.session["sso"])
    accepted(client, broken.answer(client, asked), known)
    session = client.session
    session["sso"] = kept
    session.save()
    assert broken.answer(client, asked).status_code == 400
    assert "was used" in reason()


def test_an_address_begins_so_many_a_minute_and_another_is_not_held_up(known, broken):
    client = Client()
    for _ in range(walk.MOST_BEGUN_HERE):
        broken.begin(client)
    kept = Attempt.objects.count()
    late = client.get("/sign-in/with/acme")
    assert late.status_code == 429
    assert "Wait a minute" in late.content.decode()
    assert Attempt.objects.count() == kept
    assert Client(REMOTE_ADDR="192.0.2.7").get("/sign-in/with/acme").status_code == 302
    cache.clear()  # as the next minute does
    accepted(client, broken.walk(client), known)


# --- discovery ----------------------------------------------------------------------------------------------------

DISCOVERY: dict[str, tuple[Callable[[Broken], None], str]] = {
    "another issuer": (says(discovery={"issuer": "https://evil.example"}), "another issuer"),
    "no issuer": (says(discovery={"issuer": GONE}), "another issuer"),
    "no token endpoint": (says(discovery={"token_endpoint": GONE}), "token_endpoint"),
    "keys by plain http": (says(discovery={"jwks_uri": "http://keys.example/"}), "jwks_uri"),
    "authorize by script": (says(discovery={"authorization_endpoint": "javascript:alert(1)"}), "authorization_end"),
    "userinfo a number": (says(discovery={"userinfo_endpoint": 7}), "userinfo_endpoint"),
    "a list": (answers(ITSELF, plainly(content=b"[]")), "not an object"),
    "no JSON": (answers(ITSELF, plainly(content=b"<html>")), "JSON"),
    "not found": (answers(ITSELF, plainly(404)), "404"),
    "elsewhere": (answers(ITSELF, elsewhere), "302"),
    "too large": (answers(ITSELF, plainly(content=b" " * 300_000)), "more than"),
}  # fmt: skip


@pytest.mark.parametrize("what", DISCOVERY)
def test_what_is_wrong_with_discovery_leads_nowhere(acme, broken, what):
    change, why = DISCOVERY[what]
    change(broken)
    client = Client()
    refused(client, client.get("/sign-in/with/acme"), why)
    assert not Attempt.objects.exists()


def test_a_provider_that_is_slow_is_not_waited_for_and_left_alone(acme, broken, monkeypatch):
    monkeypatch.setattr(remote, "TIMEOUT", timedelta(seconds=0.3))
    done = ways.threading.Event()
    broken.answers[ITSELF] = lambda handler: done.wait(20)
    client = Client()
    refused(client, client.get("/sign-in/with/acme"), "in time")
    done.set()
    del broken.answers[ITSELF]
    asked = len(broken.asked)
    assert client.get("/sign-in/with/acme").status_code == 400
    assert "left alone" in reason()
    assert len(broken.asked) == asked
    Provider.objects.update(failed_at=timezone.now() - timedelta(seconds=11))
    assert client.get("/sign-in/with/acme").status_code == 302


def test_a_provider_that_is_down(acme, broken):
    broken.close()
    client = Client()
    refused(client, client.get("/sign-in/with/acme"), "can't be reached")


def test_an_address_inside_the_house_is_not_called(acme, broken, settings):
    settings.OUTGOING_ALLOW = remote.outgoing.Outside(hosts=frozenset(), networks=())
    client = Client()
    refused(client, client.get("/sign-in/with/acme"), "no public address")
    assert broken.asked == []


def test_one_that_is_unknown_or_switched_off_is_not_there(acme, broken):
    assert Client().get("/sign-in/with/nobody").status_code == 404
    put(Provider.objects.all(), is_enabled=False)
    assert Client().get("/sign-in/with/acme").status_code == 404
    assert Client().get("/sign-in/with/acme/back").status_code == 404
    assert "Acme" not in Client().get("/sign-in").content.decode()


@pytest.mark.parametrize("stored", ["a-secret-of-the-tests", "v1.gone.AAAA", ""])
@pytest.mark.parametrize("begun", [False, True])
def test_a_secret_that_no_key_reads_is_said_at_sign_in(known, broken, acme, begun, stored, caplog):
    """Before the way there and on the way back: plain text in the column is none either."""
    client = Client()
    asked = broken.begin(client) if begun else None
    put(Provider.objects.filter(pk=acme.pk), client_secret_encrypted=stored)
    caplog.clear()
    answer = broken.answer(client, asked) if asked else client.get("/sign-in/with/acme")
    refused(client, answer, "client secret can't be read")
    assert "/token" not in broken.paths()
    told = [record.getMessage() for record in caplog.records if record.name == "opssight.sso"]
    assert len(told) == 1
    assert "enter the client secret anew" in told[0]
    assert broken.issuer not in answer.content.decode()
    provider = Provider.objects.get(pk=acme.pk)
    save_provider(provider, secret=SECRET)
    accepted(client, broken.walk(client), known)


# --- keys ---------------------------------------------------------------------------------------------------------


def test_keys_are_kept_and_fetched_anew_for_one_that_is_unknown_once_a_minute(known, broken):
    for _ in range(2):
        accepted(client := Client(), broken.walk(client), known)
    assert broken.paths().count(KEYSET) == broken.paths().count(ITSELF) == 1
    broken.listed, broken.sign = ["second"], lambda claims: signed(claims, KEYS["second"])
    assert broken.walk().status_code == 400  # within the minute
    assert broken.paths().count(KEYSET) == 1
    Provider.objects.update(jwks_at=timezone.now() - timedelta(seconds=61))
    accepted(client := Client(), broken.walk(client), known)
    assert broken.paths().count(KEYSET) == 2
    broken.sign = lambda claims: signed(claims, KEYS["unlisted"])
    for _ in range(3):
        assert broken.walk().status_code == 400
    assert broken.paths().count(KEYSET) == 2


def test_a_key_that_was_taken_back_counts_for_an_hour_at_most(known, broken):
    accepted(client := Client(), broken.walk(client), known)
    broken.listed = ["second"]
    Provider.objects.update(jwks_at=timezone.now() - timedelta(hours=1, seconds=1))
    refused(client := Client(), broken.walk(client), "does not list")


def test_a_symmetric_key_in_the_set_is_none(known, broken):
    shared = OctKey.import_key("a-secret-of-the-tests", {"kid": "first"})
    broken.answers[KEYSET] = lambda handler: send(handler, {"keys": [shared.as_dict(private=True)]})
    broken.sign = ways.with_client_secret
    client = Client()
    refused(client, broken.walk(client), "trusted")
