"""JWTs through the API: how they are come by, what they may do, how they are renewed and how they end."""

import io
from datetime import timedelta

import jwt
import pytest
from django.core.management import call_command
from django.test import Client

from accounts.logins.models import Login
from accounts.mfa.models import TOTPDevice
from accounts.tokens import keys
from accounts.tokens.models import Family, SigningKey
from accounts.tokens.signed import AUDIENCE
from audit.models import AuditEntry
from rbac.models import DenyRule
from rbac.services import root_unit, save_deny
from tests.accounts.test_sign_in import code_for, entries
from tests.accounts.tokens.conftest import Caller, refresh
from tests.conftest import PASSWORD, enrolled


def claims(token: str) -> dict:
    return jwt.decode(token, options={"verify_signature": False})


def test_a_pair_for_password_and_code(pair, olga):
    assert (pair["token_type"], pair["expires_in"] // 60, pair["refresh_expires_in"] // 3600) == ("Bearer", 30, 168)
    said, login = claims(pair["access_token"]), Login.objects.get()
    assert said.keys() == {"type", "sub", "sid", "jti", "aud", "iss", "iat", "exp", "amr", "auth_time", "epoch"}
    assert (said["type"], said["sub"], said["sid"]) == ("access", str(olga.uid), pair["session"])
    assert (said["aud"], said["iss"]) == (AUDIENCE, "http://localhost:8000")
    assert (said["amr"], said["epoch"]) == (["pwd", "otp", "mfa"], olga.auth_epoch)
    assert claims(pair["refresh_token"])["type"] == "refresh"
    assert (login.kind, str(login.uid), login.user) == ("api", pair["session"], olga)
    me = Caller(pair["access_token"])("GET", "/me").json()
    assert (me["email"], "assignments:create" in me["permissions"]) == (olga.email, True)


def test_a_pair_for_a_session_of_the_console(olga, client_for):
    stale = client_for(olga).post("/api/v1/tokens/jwt", {}, content_type="application/json")
    assert (stale.status_code, stale.json()["step_up"]) == (403, "/step-up")
    given = client_for(olga, step_up=True).post("/api/v1/tokens/jwt", {}, content_type="application/json")
    assert given.status_code == 201
    assert Caller(given.json()["access_token"])("GET", "/me").status_code == 200
    assert Login.objects.get(kind="api").parent.kind == "console"


def test_a_session_gives_none_to_another_site(olga, client_for):
    client = client_for(olga, step_up=True)
    client.handler.enforce_csrf_checks = True
    assert client.post("/api/v1/tokens/jwt", {}, content_type="application/json").status_code == 403
    assert not Family.objects.exists()


def test_the_password_alone_gives_none(olga):
    enrolled(olga)
    halfway = Client()
    halfway.post("/sign-in", {"username": olga.email, "password": PASSWORD})
    assert halfway.post("/api/v1/tokens/jwt", {}, content_type="application/json").status_code == 401
    body = {"email": olga.email, "password": PASSWORD}
    assert Caller()("POST", "/tokens/jwt", body).status_code == 400
    assert Caller()("POST", "/tokens/jwt", body | {"code": ""}).status_code == 400
    assert Caller()("POST", "/tokens/jwt", body | {"code": "000000"}).status_code == 401


def test_no_token_gives_tokens(pair):
    assert Caller(pair["access_token"])("POST", "/tokens/jwt", {}).status_code == 401
    body = {"name": "x", "scopes": ["me:read"]}
    assert Caller(pair["access_token"])("POST", "/tokens", body).status_code == 403


@pytest.mark.parametrize("wrong", ["name", "password", "code", "not enrolled", "inactive", "service"])
def test_what_is_wrong_is_not_told(olga, eve, wrong):
    body = {"email": olga.email, "password": PASSWORD, "code": code_for(enrolled(olga))}
    match wrong:
        case "name":
            body["email"] = "nobody@example.org"
        case "password":
            body["password"] = "wrong"
        case "code":
            body["code"] = "000000"
        case "not enrolled":
            body["email"] = eve.email
        case "inactive":
            olga.is_active = False
            olga.save()
        case "service":
            olga.kind = "service"
            olga.save()
    answer = Caller()("POST", "/tokens/jwt", body)
    told = {name: value for name, value in answer.json().items() if name != "request_id"}
    assert (answer.status_code, told) == (
        401,
        {
            "type": "about:blank",
            "title": "Unauthorized",
            "status": 401,
            "detail": "E-mail, password or code is not right.",
        },
    )
    assert not Family.objects.exists()


def test_the_lockout_is_that_of_the_page(olga):
    body = {"email": olga.email, "password": "wrong", "code": code_for(enrolled(olga))}
    answers = [Caller()("POST", "/tokens/jwt", body).status_code for _ in range(5)]
    assert answers == [401] * 4 + [429]
    right = Caller()("POST", "/tokens/jwt", body | {"password": PASSWORD})
    assert (right.status_code, right["Content-Type"]) == (429, "application/problem+json")
    page = Client(REMOTE_ADDR="192.0.2.10").post("/sign-in", {"username": olga.email, "password": PASSWORD})
    assert page.status_code == 429
    elsewhere = Caller(address="198.51.100.1")("POST", "/tokens/jwt", body | {"password": PASSWORD})
    assert elsewhere.status_code == 201


def test_a_success_forgets_the_failures_before_it(olga, sign_in):
    body = {"email": olga.email, "password": "wrong", "code": "000000"}
    for _ in range(2):
        assert {Caller()("POST", "/tokens/jwt", body).status_code for _ in range(3)} == {401}
        sign_in(olga)


# --- permissions --------------------------------------------------------------------------------------------------


def test_permissions_narrow_and_never_widen(sign_in, olga, eve):
    narrowed = sign_in(olga, permissions=["me:read"])["access_token"]
    assert claims(narrowed)["permissions"] == ["me:read"]
    assert Caller(narrowed)("GET", "/me").json()["permissions"] == ["me:read"]
    assert Caller(narrowed)("GET", "/trail").json()["missing_permission"] == "trail:read"
    beyond = sign_in(eve, permissions=["me:read", "trail:read"])["access_token"]
    assert Caller(beyond)("GET", "/me").json()["permissions"] == ["me:read"]
    assert Caller(beyond)("GET", "/trail").status_code == 403
    nothing = sign_in(olga, permissions=[])["access_token"]
    assert Caller(nothing)("GET", "/me").status_code == 403


def test_they_stay_narrow_when_renewed(sign_in, olga):
    renewed = refresh(sign_in(olga, permissions=["me:read"])).json()
    assert Caller(renewed["access_token"])("GET", "/trail").status_code == 403


def test_unknown_permissions_are_refused(olga):
    body = {"email": olga.email, "password": PASSWORD, "code": code_for(enrolled(olga)), "permissions": ["x:y"]}
    assert "Unknown permission: x:y" in Caller()("POST", "/tokens/jwt", body).json()["detail"]


# --- renewing and ending ------------------------------------------------------------------------------------------


def test_a_refresh_token_gives_the_next_pair(pair, olga):
    renewed = refresh(pair)
    assert renewed.status_code == 200
    following = renewed.json()
    assert following["session"] == pair["session"]
    assert claims(following["access_token"])["auth_time"] == claims(pair["access_token"])["auth_time"]
    assert Caller(following["access_token"])("GET", "/me").status_code == 200
    assert refresh(following).status_code == 200
    assert [e.actor_label for e in entries("tokens:refreshed")] == [olga.email] * 2


def test_a_family_ends_after_thirty_days(pair):
    login = Login.objects.get()
    login.ends_at = login.started_at + timedelta(days=1)
    login.save()
    near = refresh(pair).json()
    assert near["refresh_expires_in"] <= 24 * 3600
    login.refresh_from_db()
    login.ends_at = login.started_at
    login.save()
    assert refresh(near).status_code == 401
    assert Caller(near["access_token"])("GET", "/me").status_code == 401


@pytest.mark.parametrize("how", ["by the refresh token", "by the session", "by the page", "by the parent's sign-out"])
def test_the_end_of_a_session_ends_its_tokens(olga, client_for, how):
    console = client_for(olga, step_up=True)
    pair = console.post("/api/v1/tokens/jwt", {}, content_type="application/json").json()
    match how:
        case "by the refresh token":
            for _ in range(2):  # a second time there is nothing to do
                answer = Caller()("POST", "/tokens/jwt/revoke", {"refresh_token": pair["refresh_token"]})
                assert answer.status_code == 204
        case "by the session":
            answer = Caller(pair["access_token"])("DELETE", f"/sessions/{pair['session']}")
            assert answer.status_code == 204
        case "by the page":
            console.post(f"/my-security/sessions/{pair['session']}/end")
        case "by the parent's sign-out":
            console.post("/sign-out")
    assert Caller(pair["access_token"])("GET", "/me").status_code == 401
    assert refresh(pair).status_code == 401


def test_ending_the_others_keeps_what_was_made_from_this_session(olga, client_for, sign_in):
    console = client_for(olga, step_up=True)
    own = console.post("/api/v1/tokens/jwt", {}, content_type="application/json").json()
    other = sign_in(olga)
    assert console.post("/api/v1/sessions/revoke-others").json() == {"ended": 1}
    assert Caller(own["access_token"])("GET", "/me").status_code == 200
    assert Caller(other["access_token"])("GET", "/me").status_code == 401


def test_a_deny_acts_at_once(pair, olga):
    save_deny(DenyRule(user=olga, permission="trail:read", unit=root_unit(), reason="x"))
    assert Caller(pair["access_token"])("GET", "/trail").status_code == 401  # its rights were changed: sign in anew


# --- keys ---------------------------------------------------------------------------------------------------------


def published() -> list[dict]:
    answer = Client().get("/.well-known/jwks.json")
    assert answer.status_code == 200
    return answer.json()["keys"]


@pytest.mark.parametrize("algorithm", ["EdDSA", "RS256", "HS256"])
def test_each_algorithm_signs_and_is_verified_by_others(settings, sign_in, olga, algorithm):
    settings.JWT_ALGORITHM = algorithm
    text = sign_in(olga)["access_token"]
    header = jwt.get_unverified_header(text)
    assert (header["alg"], header["kid"]) == (algorithm, SigningKey.objects.get().kid)
    assert Caller(text)("GET", "/me").status_code == 200
    keyset = published()
    if algorithm == "HS256":
        assert keyset == []
        return
    (key,) = keyset
    assert not key.keys() & {"d", "p", "q", "k"}
    assert (key["kid"], key["alg"], key["use"]) == (header["kid"], algorithm, "sig")
    said = jwt.decode(text, jwt.PyJWK(key), algorithms=[algorithm], audience=AUDIENCE)
    assert said["sub"] == str(olga.uid)


@pytest.mark.parametrize(("before", "after"), [("EdDSA", "HS256"), ("HS256", "EdDSA"), ("EdDSA", "RS256")])
def test_two_algorithms_are_never_accepted_at_once(settings, sign_in, olga, before, after):
    settings.JWT_ALGORITHM = before
    old = sign_in(olga)
    settings.JWT_ALGORITHM = after
    assert Caller(old["access_token"])("GET", "/me").status_code == 401
    assert refresh(old).status_code == 401
    assert Caller(sign_in(olga)["access_token"])("GET", "/me").status_code == 200


def test_a_rotation_overlaps(pair, sign_in, olga):
    out = io.StringIO()
    call_command("rotate_signing_key", stdout=out)
    assert SigningKey.objects.latest("pk").kid in out.getvalue()
    assert len(published()) == 2
    assert Caller(pair["access_token"])("GET", "/me").status_code == 200
    renewed = refresh(pair).json()
    assert jwt.get_unverified_header(renewed["access_token"])["kid"] == SigningKey.objects.latest("pk").kid
    old = SigningKey.objects.earliest("pk")
    old.accepted_until -= timedelta(days=7, seconds=1)
    old.save()
    assert len(published()) == 1
    assert Caller(pair["access_token"])("GET", "/me").status_code == 401
    assert Caller(renewed["access_token"])("GET", "/me").status_code == 200
    assert [e.actor_kind for e in entries("signing-keys:rotated")] == ["command"]


def test_a_leaked_key_is_taken_out_at_once(pair):
    call_command("rotate_signing_key", "--at-once", stdout=io.StringIO())
    assert Caller(pair["access_token"])("GET", "/me").status_code == 401
    assert refresh(pair).status_code == 401
    assert len(published()) == 1


def test_private_keys_are_kept_encrypted_and_out_of_the_trail(pair):
    row, key = SigningKey.objects.values().get(), SigningKey.objects.get()
    assert key.private not in str(row)
    assert row["private_encrypted"].startswith("v1.")
    assert key.private not in str([entry.covered() for entry in AuditEntry.objects.all()])
    assert keys.verifier(key) is not None


def test_a_key_slipped_into_the_table_signs_and_verifies_nothing(pair):
    forged = SigningKey(kid="a" * 16, algorithm="EdDSA")
    forged.private_encrypted = SigningKey.objects.get().private_encrypted  # another row's
    forged.save()
    text = jwt.encode(
        claims(pair["access_token"]), SigningKey.objects.earliest("pk").private, "EdDSA", {"kid": "a" * 16}
    )
    assert Caller(text)("GET", "/me").status_code == 401
    assert TOTPDevice.objects.exists()
