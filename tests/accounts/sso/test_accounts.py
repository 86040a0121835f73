"""Whose account a sign-in opens, and how it ends."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from accounts.logins.models import Login
from accounts.logins.services import LOGIN
from accounts.models import User
from accounts.pending import KEY as PENDING
from accounts.sso import endings
from accounts.sso.models import Identity, LogoutToken, Provider, ProviderLogin
from audit.models import AuditEntry
from rbac.access.models import FactorRule
from rbac.models import RoleAssignment
from tests.accounts.sso import broken as ways
from tests.accounts.sso.broken import GONE, Broken, signed
from tests.accounts.sso.conftest import SECRET, change, fresh_code, let_in, linked, make_provider, reason
from tests.conftest import PASSWORD, enrolled, make_person, opened, put
from tests.rbac.access.test_factors import rule as factor_rule


@pytest.fixture
def acme(db: None, broken: Broken) -> Provider:
    return make_provider(broken.issuer, domains=["example.org"])


def password_is_taken(user: User) -> bool:
    answer = Client().post("/sign-in", {"username": user.email, "password": PASSWORD})
    assert answer.status_code in (302, 400)
    return answer.status_code == 302


# --- whose --------------------------------------------------------------------------------------------------------


def test_an_account_with_the_same_address_is_not_taken_over(acme, broken, eve):
    """Proved or not, trusted or not: only where all three are so is it linked without its owner."""
    for trusts, proved, domains in (
        (False, True, ["example.org"]),
        (True, False, ["example.org"]),
        (True, True, ["x.y"]),
    ):
        change(acme, trusts_email=trusts, creates_accounts=True, domains=domains)
        broken.about["email_verified"] = proved
        assert broken.walk().status_code == 400
    broken.about["email_verified"] = "true"  # text is no proof
    change(acme, domains=["example.org"])
    assert broken.walk().status_code == 400
    assert not Identity.objects.exists()
    broken.about["email_verified"] = True
    client = Client()
    assert broken.walk(client).status_code == 302
    assert client.session[PENDING]["user"] == eve.pk
    assert Identity.objects.get().user == eve


def test_a_second_provider_with_the_same_subject_and_address_takes_no_account(acme, broken, eve):
    """Nor does a new row for the same issuer: there is one at most."""
    linked(eve, acme)
    put(Provider.objects.filter(pk=acme.pk), issuer="https://the-first.example", slug="first")
    put(Identity.objects.all(), issuer="https://the-first.example")
    second = make_provider(broken.issuer, domains=["example.org"], creates_accounts=True)
    assert broken.walk().status_code == 400
    assert "has not linked it" in reason()
    with pytest.raises(ValidationError, match="one_provider_per_issuer"):
        make_provider(second.issuer, slug="third")


def test_what_the_page_says_is_the_same_with_and_without_an_account(acme, broken, eve):
    def page(address: str) -> str:
        broken.about["email"] = address
        answer = broken.walk()
        assert answer.status_code == 400
        return answer.content.decode().replace(answer["X-Request-ID"], "")

    assert page("eve@example.org") == page("nobody@example.org")


def test_who_is_linked_is_known_by_subject_whatever_the_address(acme, broken, eve, olga):
    linked(eve, acme)
    broken.about["email"] = olga.email
    client = Client()
    broken.walk(client)
    assert client.session[PENDING]["user"] == eve.pk


def test_another_issuer_in_the_same_row_knows_nobody(acme, broken, eve):
    linked(eve, acme)
    put(Identity.objects.all(), issuer="https://the-one-before.example")
    assert broken.walk().status_code == 400
    assert "has not linked it" in reason()


def test_a_new_account_is_made_where_the_row_says_so(acme, broken):
    broken.about.update(email="Nora@Example.org", name="Nora N.")
    assert broken.walk().status_code == 400
    assert "makes no accounts" in reason()
    change(acme, creates_accounts=True)
    client = Client()
    assert broken.walk(client)["Location"] == "/sign-in/second-step"
    user = User.objects.get(email="nora@example.org")
    assert (user.name, user.has_usable_password()) == ("Nora N.", False)
    assert [held.role.key for held in RoleAssignment.objects.filter(user=user)] == ["employee"]
    assert client.get("/sign-in/second-step")["Location"] == "/sign-in/enrol"
    events = set(AuditEntry.objects.values_list("event", flat=True))
    assert {"accounts:created", "sso:linked"} <= events


@pytest.mark.parametrize("email", ["nora@evil.example", "nora@sub.example.org", "nora", "", "a\nb@example.org", 7])
def test_no_account_is_made_for_an_address_elsewhere_or_none(acme, broken, email):
    change(acme, creates_accounts=True)
    broken.about["email"] = email
    assert broken.walk().status_code == 400
    assert not User.objects.exists()


@pytest.mark.parametrize("how", ["deactivated", "a service"])
def test_who_is_out_stays_out(acme, broken, eve, how):
    linked(eve, acme)
    values = {"is_active": False} if how == "deactivated" else {"kind": "service"}
    put(User.objects.filter(pk=eve.pk), **values)
    assert broken.walk().status_code == 400


def test_sign_in_leads_to_the_page_asked_for_and_nowhere_else(acme, broken, eve):
    linked(eve, acme)
    for asked, led in (("/my-security", "/my-security"), ("https://evil.example/", "/")):
        client = Client()
        broken.answer(client, broken.begin(client, f"/sign-in/with/acme?next={asked}"))
        assert client.post("/sign-in/second-step", {"code": fresh_code(eve)})["Location"] == led


# --- linking by the owner -----------------------------------------------------------------------------------------


def test_the_owner_links_with_a_fresh_factor_and_a_yes(acme, broken, eve, client_for):
    broken.about["email"] = "somebody@elsewhere.example"
    assert client_for(eve).get("/my-security/links/acme/new")["Location"].startswith("/step-up")
    client = client_for(eve, step_up=True)
    assert 'href="/my-security/links/acme/new"' in client.get("/my-security").content.decode()
    asked = broken.begin(client, "/my-security/links/acme/new")
    assert broken.answer(client, asked)["Location"] == "/my-security/links/confirm"
    assert not Identity.objects.exists()
    assert "somebody@elsewhere.example" in client.get("/my-security/links/confirm").content.decode()
    assert client.post("/my-security/links/confirm").status_code == 302
    assert Identity.objects.get().user == eve
    other = Client()
    broken.walk(other)
    assert other.session[PENDING]["user"] == eve.pk


def test_a_person_of_the_provider_is_linked_once(acme, broken, eve, olga, client_for):
    linked(olga, acme)
    client = client_for(eve, step_up=True)
    assert broken.answer(client, broken.begin(client, "/my-security/links/acme/new")).status_code == 400
    assert "linked already" in reason()
    assert client.get("/my-security/links/confirm")["Location"] == "/my-security"


def test_a_link_begun_by_somebody_else_is_not_confirmed(acme, broken, eve, olga, client_for):
    client = client_for(eve, step_up=True)
    broken.answer(client, broken.begin(client, "/my-security/links/acme/new"))
    waiting = client.session["sso_link"]
    other = client_for(olga, step_up=True)
    session = other.session
    session["sso_link"] = waiting
    session.save()
    other.post("/my-security/links/confirm")
    assert not Identity.objects.exists()


def test_unlinking_ends_what_it_began(acme, broken, eve, client_for):
    identity = linked(eve, acme)
    session, mine = let_in(broken, eve), client_for(eve, step_up=True)
    address = f"/my-security/links/{identity.uid}/remove"
    assert client_for(make_person("Mallory"), step_up=True).post(address).status_code == 404
    assert mine.post(address).status_code == 302
    assert session.get("/my-security").status_code == 302
    assert mine.get("/my-security").status_code == 200
    assert broken.walk().status_code == 400


# --- the second factor --------------------------------------------------------------------------------------------


def test_the_providers_factor_counts_only_where_its_row_says_so(acme, broken, eve):
    linked(eve, acme)
    enrolled(eve)
    broken.claims = {"amr": ["pwd", "mfa"], "acr": "phr"}
    assert broken.walk()["Location"] == "/sign-in/second-step"
    change(acme, factor_level="otp", factor_values=["mfa"])
    client = Client()
    assert broken.walk(client)["Location"] == "/"
    assert client.get("/my-security").status_code == 200
    login = Login.objects.get(user=eve)
    assert (login.factors, login.level) == (["fed", "mfa"], "otp")
    assert AuditEntry.objects.filter(event="sessions:started").count() == 1


@pytest.mark.parametrize("said", [{"amr": ["pwd"]}, {"amr": GONE}, {"acr": "1"}, {"amr": {"mfa": 1}}, {"acr": ["mfa"]}])
def test_what_is_not_said_does_not_count(acme, broken, eve, said):
    linked(eve, acme)
    change(acme, factor_level="otp", factor_values=["mfa"])
    broken.claims = said
    answer = broken.walk()
    assert answer.status_code in (302, 400)
    assert answer.get("Location", "/sign-in/second-step") == "/sign-in/second-step"
    assert not Login.objects.exists()


def test_userinfo_says_nothing_about_the_factor(acme, broken, eve):
    """Only the signed token is about this sign-in."""
    linked(eve, acme)
    change(acme, factor_level="otp", factor_values=["mfa"])
    broken.about["amr"] = ["mfa"]
    assert broken.walk()["Location"] == "/sign-in/second-step"


def test_a_role_that_asks_for_more_than_the_provider_gives_asks_for_ours(acme, broken, dev):
    linked(dev, acme)
    factor_rule(level="passkey")
    assert FactorRule.objects.get().enabled
    change(acme, factor_level="otp", factor_values=["mfa"])
    broken.claims = {"amr": ["mfa"]}
    assert broken.walk()["Location"] == "/sign-in/second-step"
    change(acme, factor_level="passkey")
    client = Client()
    assert broken.walk(client)["Location"] == "/"
    assert client.get("/findings").status_code == 200


def test_a_session_on_the_providers_factor_ends_when_it_counts_no_more(acme, broken, eve):
    linked(eve, acme)
    change(acme, factor_level="otp", factor_values=["mfa"])
    broken.claims = {"amr": ["mfa"]}
    client = Client()
    broken.walk(client)
    assert client.get("/my-security").status_code == 200
    change(acme, factor_level="", factor_values=[])
    assert client.get("/my-security").status_code == 302


# --- break-glass --------------------------------------------------------------------------------------------------


def test_where_the_provider_is_the_only_way_the_marked_and_administrators_keep_theirs(acme, broken, eve, olga, adam):
    for number, user in enumerate((eve, olga, adam)):
        linked(user, acme, f"person-{number}")
    assert password_is_taken(eve)
    change(acme, is_only_way=True)
    put(Identity.objects.filter(user=adam), keeps_password=True)
    assert not password_is_taken(eve)
    assert password_is_taken(olga)
    factor_rule("administrator", level="passkey")  # what is asked of a request is not asked of the way in
    assert password_is_taken(olga)
    assert password_is_taken(adam)
    assert password_is_taken(make_person("Ines"))  # whom it does not know
    change(acme, is_enabled=False)
    assert password_is_taken(eve)


def api_login(user: User, parent: Login | None = None) -> Login:
    login = opened(user)
    put(Login.objects.filter(pk=login.pk), kind="api", parent=parent)
    return login


def test_making_it_the_only_way_ends_what_was_begun_by_another(acme, broken, eve, olga, adam, client_for):
    """And only that: not of administrators, of the marked, of whom it does not know, nor what a provider began."""
    for number, user in enumerate((eve, olga, adam)):
        linked(user, acme, f"person-{number}")
    put(Identity.objects.filter(user=adam), keeps_password=True)
    broken.subject = "person-0"
    through = let_in(broken, eve)
    stranger = make_person("Ines")
    by_password = {user: client_for(user) for user in (eve, olga, adam, stranger)}
    tokens = [api_login(eve), api_login(eve, Login.objects.get(uid=by_password[eve].session[LOGIN]))]
    from_provider = api_login(eve, Login.objects.get(uid=through.session[LOGIN]))
    change(acme, name="Acme renamed")
    assert by_password[eve].get("/my-security").status_code == 200
    officer = client_for(olga, step_up=True)
    page = officer.get(f"/admin/sso/provider/{acme.pk}/change/").context["adminform"].form.initial
    asked = {**{k: v for k, v in page.items() if v}, "domains": "example.org", "is_only_way": "on"}
    assert officer.post(f"/admin/sso/provider/{acme.pk}/change/", asked).status_code == 302
    answers = {user: client.get("/my-security").status_code for user, client in by_password.items()}
    assert answers == {eve: 302, olga: 200, adam: 200, stranger: 200}
    assert through.get("/my-security").status_code == 200
    assert all(Login.objects.get(pk=token.pk).ended_at for token in tokens)
    assert Login.objects.get(pk=from_provider.pk).ended_at is None
    entry = AuditEntry.objects.get(event="sso:other_ways_ended")
    assert (entry.actor, entry.details["provider"], entry.details["ended"]) == (olga, "acme", 2)
    put(Identity.objects.filter(user=adam), keeps_password=True)
    marked = Identity.objects.get(user=adam)
    assert officer.post(f"/admin/sso/identity/{marked.pk}/change/", {}).status_code == 302
    assert by_password[adam].get("/my-security").status_code == 302


def test_switching_the_only_way_on_again_ends_what_the_password_opened_meanwhile(acme, broken, eve, client_for):
    linked(eve, acme)
    change(acme, is_only_way=True)
    change(acme, is_enabled=False)
    client = client_for(eve)
    assert client.get("/my-security").status_code == 200
    change(acme, is_enabled=True)
    assert client.get("/my-security").status_code == 302


def test_no_other_way_goes_around_the_only_one(acme, broken, eve):
    from accounts.services import issue_setup_link
    from tests.accounts.test_ways_in import app_code, by_code

    linked(eve, acme)
    code = app_code(eve)
    halfway = Client()
    halfway.post("/sign-in", {"username": eve.email, "password": PASSWORD})
    change(acme, is_only_way=True)
    assert halfway.post("/sign-in/second-step", {"code": code})["Location"] == "/sign-in"
    assert by_code(eve, code).status_code == 401
    link = Client()
    new = "another long enough passphrase"
    link.post(issue_setup_link(eve), {"password": new, "again": new})
    assert link.post("/sign-in/second-step", {"code": code})["Location"] == "/sign-in"
    assert not Login.objects.exists()
    let_in(broken, eve)


def test_nor_does_a_passkey(acme, broken, eve, client_for):
    from tests.accounts.mfa.test_passkeys import options, sign_in
    from tests.accounts.test_ways_in import passkey

    key = passkey(eve, client_for)
    linked(eve, acme)
    client = Client()
    assert sign_in(client, key.use(options(client, "any"))) == 302
    change(acme, is_only_way=True)
    client = Client()
    assert sign_in(client, key.use(options(client, "any"))) == 400


# --- the end ------------------------------------------------------------------------------------------------------


def told(token: str, slug: str = "acme") -> Any:
    return Client(enforce_csrf_checks=True).post(f"/sign-in/with/{slug}/logout", {"logout_token": token})


def test_the_provider_ends_one_session_by_sid_and_all_by_subject(acme, broken, eve, client_for):
    linked(eve, acme)
    own = client_for(eve)
    sessions = []
    for number in range(3):
        broken.claims = {"sid": f"sid-{number}"}
        sessions.append(let_in(broken, eve))
    assert told(broken.logout_token(sid="sid-1", sub=GONE)).status_code == 200
    assert [session.get("/my-security").status_code for session in sessions] == [200, 302, 200]
    assert told(broken.logout_token()).status_code == 200
    assert [session.get("/my-security").status_code for session in sessions] == [302, 302, 302]
    assert own.get("/my-security").status_code == 200  # which it did not begin
    assert AuditEntry.objects.filter(event="sso:ended_by_provider").count() == 2


LOGOUT: dict[str, Any] = {
    "iss wrong": {"iss": "https://evil.example"},
    "aud wrong": {"aud": "another"},
    "iat old": {"iat": 1_700_000_000},
    "iat missing": {"iat": GONE},
    "expired": {"exp": 1_700_000_000},
    "exp missing": {"exp": GONE},
    "no event": {"events": GONE},
    "another event": {"events": {"http://schemas.openid.net/event/other": {}}},
    "event no object": {"events": {"http://schemas.openid.net/event/backchannel-logout": 1}},
    "with nonce": {"nonce": "n"},
    "no jti": {"jti": GONE},
    "about nobody": {"sub": GONE},
    "sub a number": {"sub": 7},
    "alg none": {"sign": ways.unsigned},
    "HS256 with the public key": {"sign": ways.with_public_key},
    "HS256 with the client secret": {"sign": ways.with_client_secret},
    "tampered": {"sign": ways.tampered},
    "kid unknown": {"sign": lambda claims: signed(claims, ways.KEYS["unlisted"])},
    "an ID token": {"sign": lambda claims: signed(claims, typ="at+jwt")},
}


@pytest.mark.parametrize("what", LOGOUT)
def test_a_logout_token_that_is_none_ends_nothing(acme, broken, eve, what):
    linked(eve, acme)
    session = let_in(broken, eve)
    answer = told(broken.logout_token(**LOGOUT[what]))
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_request"})
    assert session.get("/my-security").status_code == 200
    assert AuditEntry.objects.filter(event="sso:logout_refused").count() == 1


def test_a_logout_token_counts_once_until_it_is_forgotten_when_it_is_too_old(acme, broken, eve):
    linked(eve, acme)
    token = broken.logout_token()
    assert told(token).status_code == 200
    assert told(token).status_code == 400
    endings.purge()
    assert LogoutToken.objects.count() == 1
    LogoutToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    endings.purge()
    assert not LogoutToken.objects.exists()
    assert told("").status_code == told("x" * 50_000).status_code == 400


def test_sign_out_offers_the_way_out_there_and_not_where_the_provider_has_none(acme, broken, eve):
    linked(eve, acme)
    client = let_in(broken, eve)
    assert client.post("/sign-out")["Location"] == "/signed-out"
    page = client.get("/signed-out").content.decode()
    assert f'href="{broken.issuer}/end?id_token_hint=' in page
    assert "post_logout_redirect_uri=http%3A%2F%2Flocalhost%3A8000%2Fsigned-out" in page
    assert "and of Acme ID" not in client.get("/signed-out?state=forged").content.decode()
    change(acme, logs_out_there=False)
    assert let_in(broken, eve).post("/sign-out")["Location"] == "/sign-in"
    assert "Close the browser" in Client().get("/signed-out").content.decode()


def test_whoever_wants_to_go_is_let_go_although_the_token_can_not_be_read(acme, broken, eve):
    linked(eve, acme)
    client = let_in(broken, eve)
    ProviderLogin.objects.update(id_token_encrypted="v1.gone.AAAA")
    assert client.post("/sign-out")["Location"] == "/sign-in"
    assert client.get("/my-security").status_code == 302


def test_switching_a_provider_off_or_deleting_it_ends_what_it_began(acme, broken, eve, olga, client_for):
    linked(eve, acme)
    session = let_in(broken, eve)
    change(acme, is_enabled=False)
    assert session.get("/my-security").status_code == 302
    change(acme, is_enabled=True)
    session = let_in(broken, eve)
    client = client_for(olga, step_up=True)
    client.post(f"/admin/sso/provider/{acme.pk}/delete/", {"post": "yes"})
    assert not Provider.objects.exists()
    assert not ProviderLogin.objects.exists()
    assert session.get("/my-security").status_code == 302


# --- plain OAuth 2.0 ----------------------------------------------------------------------------------------------


@pytest.fixture
def hub(db: None, broken: Broken) -> Provider:
    broken.about = {"id": 4711, "login": "eve", "name": "Eve", "email": "eve@example.org"}
    broken.token = {"id_token": GONE}
    return make_provider(
        "", kind="oauth2", scope="read:user", client_auth="client_secret_post",
        authorize_url=f"{broken.issuer}/authorize", token_url=f"{broken.issuer}/token",
        userinfo_url=f"{broken.issuer}/me", domains=["example.org"],
    )  # fmt: skip


def test_a_plain_oauth_provider_knows_people_by_their_number(hub, broken, eve):
    linked(eve, hub, "4711")
    client = Client()
    assert broken.walk(client, iss=GONE)["Location"] == "/sign-in/second-step", reason()
    assert client.session[PENDING]["user"] == eve.pk
    _, _, headers, body = next(call for call in broken.asked if call[1] == "/token")
    assert "Authorization" not in headers
    assert f"client_secret={SECRET}" in body
    assert broken.paths() == ["/token", "/me"]


@pytest.mark.parametrize("number", [GONE, None, True, 4.5, "", {"id": 1}])
def test_without_a_number_nobody_is_known(hub, broken, eve, number):
    linked(eve, hub, "4711")
    broken.about["id"] = number
    assert broken.walk(iss=GONE).status_code == 400


def test_its_address_is_proved_by_its_list_alone(hub, broken, eve):
    change(hub, trusts_email=True)
    assert broken.walk(iss=GONE).status_code == 400
    change(hub, emails_url=f"{broken.issuer}/emails")
    for listed in (
        [], {}, [7], [{"email": eve.email, "primary": True, "verified": False}],
        [{"email": eve.email, "primary": False, "verified": True}],
    ):  # fmt: skip
        broken.emails = listed
        assert broken.walk(iss=GONE).status_code == 400
    broken.emails = [{"email": eve.email, "primary": True, "verified": True}]
    assert broken.walk(iss=GONE).status_code == 302
    assert Identity.objects.get().subject == "4711"


def test_an_error_told_with_a_200_as_github_does(hub, broken):
    broken.answers["/token"] = lambda handler: ways.send(handler, {"error": "bad_verification_code"})
    assert broken.walk(iss=GONE).status_code == 400
    assert "bad_verification_code" in reason()


# --- the row ------------------------------------------------------------------------------------------------------

GOOD = {
    "name": "New ID", "slug": "new", "kind": "oidc", "is_enabled": "on", "issuer": "https://id.example",
    "client_id": "opssight", "secret": "s3cret-of-new", "client_auth": "client_secret_basic", "scope": "openid email",
    "subject_claim": "id", "domains": "Example.org @example.com", "logs_out_there": "on",
}  # fmt: skip
BAD = {
    "no secret": {"secret": ""},
    "plain http": {"issuer": "http://id.example"},
    "no issuer": {"issuer": ""},
    "issuer with a query": {"issuer": "https://id.example/?a=1"},
    "issuer with a password": {"issuer": "https://a:b@id.example"},
    "without openid": {"scope": "email"},
    "accounts without domains": {"creates_accounts": "on", "domains": ""},
    "factor without values": {"factor_level": "otp"},
    "OAuth 2.0 without addresses": {"kind": "oauth2"},
    "secret with a space in another script": {"secret": "пароль"},
}


def test_an_administrator_makes_one_and_its_secret_is_never_shown(olga, client_for, db):
    client = client_for(olga, step_up=True)
    assert client.post("/admin/sso/provider/add/", GOOD).status_code == 302
    made = Provider.objects.get()
    assert (made.domains, made.client_secret) == (["example.org", "example.com"], "s3cret-of-new")
    page = client.get(f"/admin/sso/provider/{made.pk}/change/").content.decode()
    assert "s3cret" not in page
    assert "http://localhost:8000/sign-in/with/new/back" in page
    assert (
        client.post(f"/admin/sso/provider/{made.pk}/change/", {**GOOD, "secret": "", "name": "Newer"}).status_code
        == 302
    )
    made.refresh_from_db()
    assert (made.name, made.client_secret) == ("Newer", "s3cret-of-new")
    assert AuditEntry.objects.filter(event="providers:changed").count() == 2


@pytest.mark.parametrize("what", BAD)
def test_one_that_could_not_be_trusted_is_not_saved(olga, client_for, what):
    answer = client_for(olga, step_up=True).post("/admin/sso/provider/add/", {**GOOD, **BAD[what]})
    assert answer.status_code == 200
    assert not Provider.objects.exists()


def test_an_officer_reads_and_changes_nothing(acme, client_for):
    client = client_for(make_person("Otto", "officer"), step_up=True)
    page = client.get(f"/admin/sso/provider/{acme.pk}/change/")
    assert page.status_code == 200
    assert client.post("/admin/sso/provider/add/", GOOD).status_code == 403
    assert client.post(f"/admin/sso/provider/{acme.pk}/delete/", {"post": "yes"}).status_code == 403
    assert Provider.objects.count() == 1
