"""The attack table: tokens that were forged, stripped, confused, stolen or replayed. Each is refused with the same
answer, none of them breaks the server, and what was refused leaves one event."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from django.db import connection
from django.test import Client

from accounts.logins.models import Login
from accounts.mfa.resets import approve_reset, ask_reset
from accounts.models import User
from accounts.notify.models import Notice
from accounts.services import change_password, set_active
from accounts.tokens.models import SigningKey, Token
from accounts.tokens.service_accounts import create_service_account
from accounts.tokens.services import issue_token
from audit.models import AuditEntry
from opssight.settings.env import BASE_DIR
from rbac.models import DenyRule
from rbac.services import revoke_assignment, root_unit, save_deny
from tests.accounts.test_sign_in import code_for, entries
from tests.accounts.tokens.conftest import Caller, refresh
from tests.accounts.tokens.parallel import race
from tests.conftest import PASSWORD, enrolled, in_bulk, make_person

ME = "/me"


def encoded(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, payload, _ = token.split(".")
    return tuple(json.loads(base64.urlsafe_b64decode(part + "==")) for part in (header, payload))  # type: ignore[return-value]


def sign(claims: Any, header: dict[str, Any] | None = None, key: Any = None) -> str:
    """Signed with the real key unless another is given: the claims are what is wrong."""
    real = SigningKey.objects.latest("pk")
    head = {"kid": real.kid, "alg": "EdDSA", "typ": "JWT"} | (header or {})
    body = f"{encoded(head)}.{encoded(claims)}"
    signer = key or load_pem_private_key(real.private.encode(), password=None)
    return f"{body}.{encoded(signer.sign(body.encode()))}"


def public_pem() -> bytes:
    key = load_pem_private_key(SigningKey.objects.latest("pk").private.encode(), password=None)
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def hs256(claims: dict[str, Any], secret: bytes, kid: str) -> str:
    body = f"{encoded({'alg': 'HS256', 'kid': kid, 'typ': 'JWT'})}.{encoded(claims)}"
    return f"{body}.{encoded(hmac.new(secret, body.encode(), hashlib.sha256).digest())}"


def unsigned(claims: dict[str, Any], alg: str, kid: str) -> str:
    return f"{encoded({'alg': alg, 'kid': kid, 'typ': 'JWT'})}.{encoded(claims)}."


Forge = Callable[[str, dict[str, Any], dict[str, Any]], str]

# From the good token, its header and its claims: a bad one.
FORGED: dict[str, Forge] = {
    "alg none": lambda t, h, c: unsigned(c, "none", h["kid"]),
    "alg None": lambda t, h, c: unsigned(c, "None", h["kid"]),
    "alg NONE": lambda t, h, c: unsigned(c, "NONE", h["kid"]),
    "no alg": lambda t, h, c: unsigned(c, "", h["kid"]),
    "alg none, with the signature": lambda t, h, c: unsigned(c, "none", h["kid"]) + t.rpartition(".")[2],
    "HS256 with the public key as PEM": lambda t, h, c: hs256(c, public_pem(), h["kid"]),
    "HS256 with the public key as PEM, stripped": lambda t, h, c: hs256(c, public_pem().strip(), h["kid"]),
    "HS256 with an empty secret": lambda t, h, c: hs256(c, b"", h["kid"]),
    "HS256 with the kid as secret": lambda t, h, c: hs256(c, h["kid"].encode(), h["kid"]),
    "stripped signature": lambda t, h, c: t.rpartition(".")[0] + ".",
    "no third part": lambda t, h, c: t.rpartition(".")[0],
    "changed signature": lambda t, h, c: t[:-6] + ("AAAAAA" if t[-6:] != "AAAAAA" else "BBBBBB"),
    "tampered claims": lambda t, h, c: f"{t.split('.')[0]}.{encoded({**c, 'sub': str(uuid4())})}.{t.split('.')[2]}",
    "widened by hand": lambda t, h, c: f"{t.split('.')[0]}.{encoded({**c, 'permissions': ['*']})}.{t.split('.')[2]}",
    "another key": lambda t, h, c: sign(c, key=Ed25519PrivateKey.generate()),
    "another key, brought along as jwk": lambda t, h, c: sign(
        c, {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": encoded(b"\1" * 32)}}, Ed25519PrivateKey.generate()
    ),
    "another key, at a jku": lambda t, h, c: sign(c, {"jku": "http://127.0.0.1:9/k"}, Ed25519PrivateKey.generate()),
    "another key, at an x5u": lambda t, h, c: sign(c, {"x5u": "file:///etc/passwd"}, Ed25519PrivateKey.generate()),
    "a kid that nobody knows": lambda t, h, c: sign(c, {"kid": "0" * 16}),
    "a kid that is a path": lambda t, h, c: sign(c, {"kid": "../../../../dev/null"}),
    "a kid that is SQL": lambda t, h, c: sign(c, {"kid": f"' OR kid='{h['kid']}' --"}),
    "a kid with a NUL": lambda t, h, c: sign(c, {"kid": "\0"}),
    "a kid with half a character": lambda t, h, c: sign(c, {"kid": "\ud800"}),
    "a kid that is a number": lambda t, h, c: sign(c, {"kid": 7}),
    "a kid that is a list": lambda t, h, c: sign(c, {"kid": [h["kid"]]}),
    "a kid without end": lambda t, h, c: sign(c, {"kid": "k" * 3000}),
    "a critical extension": lambda t, h, c: sign(c, {"crit": ["b64"], "b64": False}),
    "another audience": lambda t, h, c: sign({**c, "aud": "https://elsewhere.example/api"}),
    "several audiences": lambda t, h, c: sign({**c, "aud": [c["aud"], "https://elsewhere.example"]}),
    "no audience": lambda t, h, c: sign({k: v for k, v in c.items() if k != "aud"}),
    "another issuer": lambda t, h, c: sign({**c, "iss": "https://elsewhere.example"}),
    "no issuer": lambda t, h, c: sign({k: v for k, v in c.items() if k != "iss"}),
    "another type": lambda t, h, c: sign({**c, "type": "refresh"}),
    "no type": lambda t, h, c: sign({k: v for k, v in c.items() if k != "type"}),
    "not yet valid by nbf": lambda t, h, c: sign({**c, "nbf": int(time.time()) + 600}),
    "not yet valid by iat": lambda t, h, c: sign({**c, "iat": int(time.time()) + 600}),
    "no end": lambda t, h, c: sign({k: v for k, v in c.items() if k != "exp"}),
    "an old epoch": lambda t, h, c: sign({**c, "epoch": c["epoch"] - 1}),
    "a later epoch": lambda t, h, c: sign({**c, "epoch": c["epoch"] + 1}),
    "an account that never was": lambda t, h, c: sign({**c, "sub": str(uuid4())}),
    "a session that never was": lambda t, h, c: sign({**c, "sid": str(uuid4())}),
    "oversized": lambda t, h, c: sign({**c, "permissions": ["findings:read"] * 9000}),
    "nothing but dots": lambda t, h, c: "." * 5000,
    "three empty parts": lambda t, h, c: "..",
    "no base64": lambda t, h, c: "a!.b!.c!",
    "no JSON": lambda t, h, c: f"{encoded(b'{')}.{encoded(b'{')}.AAAA",
    "a list for claims": lambda t, h, c: sign([c]),
    "a number for claims": lambda t, h, c: sign(7),
    "claims without end": lambda t, h, c: sign_raw(b"[" * 1400 + b"]" * 1400),
    "an end beyond numbers": lambda t, h, c: sign_raw(with_end(c, "1e999")),
    "an end that is no number": lambda t, h, c: sign_raw(with_end(c, "NaN")),
}  # fmt: skip
ODD: list[Any] = [
    None,
    True,
    7,
    -1,
    1.5,
    10**30,
    "x",
    "\0",
    "\ud800",
    [],
    {},
    [None],
    [7],
    [["x"]],
    {"a": 1},
    "é" * 300,
]


def with_end(claims: dict[str, Any], end: str) -> bytes:
    return json.dumps({**claims, "exp": "END"}).replace('"END"', end).encode()


def sign_raw(payload: bytes) -> str:
    real = SigningKey.objects.latest("pk")
    body = f"{encoded({'kid': real.kid, 'alg': 'EdDSA', 'typ': 'JWT'})}.{encoded(payload)}"
    key = load_pem_private_key(real.private.encode(), password=None)
    return f"{body}.{encoded(key.sign(body.encode()))}"


def is_refused(answer: Any, title: str = "Invalid token") -> None:
    kind = {"Invalid token": "invalid-token", "Token has expired": "token-expired"}[title]
    body = answer.json()
    assert (answer.status_code, body["title"], body["type"]) == (401, title, f"urn:opssight:problem:{kind}")
    assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("attack", FORGED)
def test_forged_access_tokens(pair, attack):
    good = pair["access_token"]
    answer = Caller(FORGED[attack](good, *parts(good)))("GET", ME)
    is_refused(answer)
    assert answer["WWW-Authenticate"] == 'Bearer realm="OpsSight", error="invalid_token"'
    assert len(entries("tokens:refused")) == 1
    assert Caller(good)("GET", ME).status_code == 200


@pytest.mark.parametrize("attack", FORGED)
def test_forged_refresh_tokens(pair, attack):
    good = pair["refresh_token"]
    forged = FORGED[attack](good, *parts(good))
    if attack == "another type":
        forged = sign({**parts(good)[1], "type": "access"})
    is_refused(Caller()("POST", "/tokens/jwt/refresh", {"refresh_token": forged}))
    assert Caller()("POST", "/tokens/jwt/revoke", {"refresh_token": forged}).status_code == 204
    assert refresh(pair).status_code == 200  # the family lives


@pytest.mark.parametrize(
    "claim", ["type", "sub", "sid", "jti", "aud", "iss", "iat", "exp", "amr", "auth_time", "epoch", "permissions"]
)
def test_claims_of_another_type(pair, claim):
    said = parts(pair["access_token"])[1]
    for odd in ODD:
        answer = Caller(sign({**said, claim: odd}))("GET", ME)
        assert answer.status_code in (200, 401, 403), (claim, odd)
        if answer.status_code == 200:  # no factors, or a time of the past, are facts and no forgeries
            assert claim in ("amr", "iat", "auth_time"), (claim, odd)
    for odd in ODD:
        refreshed = Caller()(
            "POST", "/tokens/jwt/refresh", {"refresh_token": sign({**said, "type": "refresh", claim: odd})}
        )
        assert refreshed.status_code == 401, (claim, odd)


@pytest.mark.parametrize("text", ["", " ", "x", "Bearer", "\x7f", "é", "ops_", "ops_.x.y", "a" * 100_000, "a.b.c d"])
def test_what_is_no_token_at_all(pair, text):
    answer = Client(headers={"authorization": f"Bearer {text}"}).get("/api/v1/me")
    is_refused(answer)


def test_a_refresh_token_is_no_access_token_and_back(pair):
    is_refused(Caller(pair["refresh_token"])("GET", ME))
    is_refused(Caller()("POST", "/tokens/jwt/refresh", {"refresh_token": pair["access_token"]}))


def test_expired_is_told_from_invalid(pair, olga):
    now = int(time.time())
    for kind, ask in (
        ("access", lambda text: Caller(text)("GET", ME)),
        ("refresh", lambda text: Caller()("POST", "/tokens/jwt/refresh", {"refresh_token": text})),
    ):
        said = {**parts(pair[f"{kind}_token"])[1], "iat": now - 60, "exp": now - 1}
        is_refused(ask(sign(said)), "Token has expired")
        is_refused(ask(sign(said, key=Ed25519PrivateKey.generate())))  # to whoever can't sign it says nothing
    token, text = issue_token(olga, name="t", scopes=["me:read"])
    token.expires_at = token.created_at
    token.save()
    is_refused(Caller(text)("GET", ME), "Token has expired")
    is_refused(Caller(text[:-1] + "!")("GET", ME))


@pytest.mark.parametrize("place", ["?token={}", "?access_token={}", "?jwt={}"])
def test_a_token_in_the_address_is_nothing(pair, place):
    assert Client().get(f"/api/v1/me{place.format(pair['access_token'])}").status_code == 401


def test_a_token_opens_no_page(pair):
    client = Client(headers={"authorization": f"Bearer {pair['access_token']}"})
    assert {client.get(path).status_code for path in ("/", "/my-security", "/admin/")} == {302}


# --- replayed -----------------------------------------------------------------------------------------------------


def test_a_replayed_refresh_token_ends_the_family(pair, olga):
    thief = refresh(pair).json()
    is_refused(refresh(pair))
    is_refused(refresh(thief))
    is_refused(Caller(thief["access_token"])("GET", ME))
    assert [e.severity if hasattr(e, "severity") else e.event for e in entries("tokens:replayed")] == [
        "tokens:replayed"
    ]
    told = Notice.objects.filter(kind="token-replayed")
    assert [(notice.user, notice.subject) for notice in told] == [(olga, "A token of your account was used twice")]


@pytest.mark.django_db(transaction=True)
def test_of_eight_parallel_uses_one_succeeds_and_the_family_ends(sign_in, olga, tmp_path):
    told = by_a_program(tmp_path) if connection.vendor == "sqlite" else race(sign_in(olga))
    assert told == {"statuses": [200] + [401] * 7, "afterwards": [401, 401], "replays": 1}


def by_a_program(home: Path) -> dict[str, Any]:
    settings = {"DJANGO_SETTINGS_MODULE": "opssight.settings.prod", "OPSSIGHT_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.accounts.tokens.parallel"],
        cwd=BASE_DIR,
        env={name: value for name, value in os.environ.items() if not name.startswith("OPSSIGHT")} | settings,
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


# --- what was taken away ------------------------------------------------------------------------------------------


def revoke_sessions(user: User) -> None:
    for login in Login.objects.filter(user=user):
        from accounts.logins.services import revoke

        revoke([login])


def take_factors_off(user: User) -> None:
    otto, wanda = make_person("Otto"), make_person("Wanda")
    approve_reset(ask_reset(user, note="Seen at the door.", by=otto), by=wanda)


ENDINGS: dict[str, Callable[[User], object]] = {
    "deactivated": lambda user: set_active(user, False),
    "deactivated in bulk": lambda user: in_bulk(User.objects.filter(pk=user.pk), is_active=False),
    "out and in again": lambda user: [set_active(user, False), set_active(user, True)],
    "deleted": lambda user: user.delete(),
    "another password": lambda user: change_password(user, "another long passphrase"),
    "a role taken": lambda user: revoke_assignment(user.assignments.get(role__key="auditor")),
    "a permission denied": lambda user: save_deny(
        DenyRule(user=user, permission="trail:read", unit=root_unit(), reason="x")
    ),
    "second factors taken off": take_factors_off,
    "session revoked": revoke_sessions,
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_token_dies_at_once(adam, olga, sign_in, ending):
    pair = sign_in(adam)
    _, text = issue_token(adam, name="t", scopes=["me:read"])
    assert Caller(text)("GET", ME).status_code == 200
    ENDINGS[ending](adam)
    is_refused(Caller(pair["access_token"])("GET", ME))
    is_refused(refresh(pair))
    if ending != "session revoked":  # an API token belongs to no session
        is_refused(Caller(text)("GET", ME))


def test_a_stolen_cookie_and_the_tokens_of_its_session_die_with_it(olga, client_for):
    console = client_for(olga, step_up=True)
    pair = console.post("/api/v1/tokens/jwt", {}, content_type="application/json").json()
    thief = Client()
    thief.cookies["session"] = console.cookies["session"].value
    assert thief.get("/api/v1/me").status_code == 200
    console.post(f"/my-security/sessions/{Login.objects.get(kind='console').uid}/end")
    assert thief.get("/api/v1/me").status_code == 401
    is_refused(Caller(pair["access_token"])("GET", ME))
    is_refused(refresh(pair))


# --- API tokens and programs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("networks", "address", "good"),
    [
        (["192.0.2.0/24"], "192.0.2.10", True),
        (["192.0.2.10"], "192.0.2.10", True),
        (["198.51.100.0/24", "192.0.2.0/28"], "192.0.2.10", True),
        (["192.0.2.0/24"], "198.51.100.1", False),
        (["2001:db8::/32"], "2001:db8::7", True),
        (["2001:db8::/32"], "192.0.2.10", False),
        (["192.0.2.0/24"], "::ffff:192.0.2.10", True),
        (["192.0.2.0/24"], "nonsense", False),
    ],
)
def test_a_token_is_good_from_its_networks_alone(olga, networks, address, good):
    _, text = issue_token(olga, name="t", scopes=["me:read"], addresses=networks)
    answer = Caller(text, address)("GET", ME)
    if good:
        assert answer.status_code == 200
    else:
        is_refused(answer)


def test_a_forged_forwarded_address_is_not_believed(olga):
    _, text = issue_token(olga, name="t", scopes=["me:read"], addresses=["192.0.2.0/24"])
    is_refused(Caller(text, "203.0.113.1")("GET", ME, **{"x-forwarded-for": "192.0.2.10"}))


def test_a_proxy_that_names_nobody_is_in_no_network(olga, settings):
    from ipaddress import ip_network

    settings.TRUSTED_PROXIES = [ip_network("10.0.0.0/8")]
    _, text = issue_token(olga, name="t", scopes=["me:read"], addresses=["10.0.0.0/8", "192.0.2.0/24"])
    is_refused(Caller(text, "10.0.0.1")("GET", ME))
    assert Caller(text, "10.0.0.1")("GET", ME, **{"x-forwarded-for": "192.0.2.10"}).status_code == 200


def test_an_access_token_of_a_program_is_bound_as_its_secret_is(olga):
    from tests.accounts.tokens.test_service_accounts import ask

    robot = create_service_account("robot@example.org", name="Robot")
    token, text = issue_token(robot, name="t", scopes=["me:read"], addresses=["192.0.2.0/24"])
    access = ask(robot, text).json()["access_token"]
    assert Caller(access)("GET", ME).status_code == 200
    is_refused(Caller(access, "203.0.113.1")("GET", ME))
    token.revoked_at = token.created_at
    token.save()
    is_refused(Caller(access)("GET", ME))


# --- nothing is told ----------------------------------------------------------------------------------------------


def test_a_person_who_exists_and_one_who_does_not_get_one_answer(olga, eve):
    """Also where the account has no factor, and by every way in."""
    enrolled(olga)
    bodies = []
    for email in (olga.email, eve.email, "nobody@example.org"):
        answer = Caller()("POST", "/tokens/jwt", {"email": email, "password": "wrong", "code": "123456"})
        told = answer.json()
        told.pop("request_id")
        bodies.append((answer.status_code, told, answer.get("WWW-Authenticate")))
    assert bodies[0] == bodies[1] == bodies[2]


@pytest.mark.parametrize("field", ["email", "password", "code", "permissions"])
@pytest.mark.parametrize("value", [None, True, 7, "", "\0", "\ud800", "x" * 5000, [], ["\ud800"], {}, [[]], "💣" * 300])
def test_odd_input_is_no_error_of_ours(olga, field, value):
    body = {"email": olga.email, "password": PASSWORD, "code": code_for(enrolled(olga))} | {field: value}
    assert Caller()("POST", "/tokens/jwt", body).status_code in (201, 400, 401)
    assert Caller()("POST", "/tokens/jwt/refresh", {"refresh_token": value}).status_code in (400, 401)


def test_answers_with_tokens_are_kept_by_nobody(pair, olga):
    answer = refresh(pair)
    assert answer["Cache-Control"] == "no-store"
    trail = str([(entry.covered(), entry.person) for entry in AuditEntry.objects.select_related("personal")])
    for token in (pair["access_token"], pair["refresh_token"], answer.json()["refresh_token"]):
        assert token not in trail
        assert token.rpartition(".")[2] not in trail
    assert not Token.objects.exists()


def test_guessing_is_slowed(settings, pair):
    settings.API_REQUESTS_PER_MINUTE_ANONYMOUS = 5
    answers = [Caller()("POST", "/tokens/jwt/refresh", {"refresh_token": "x"}).status_code for _ in range(8)]
    assert answers.count(429) >= 2
