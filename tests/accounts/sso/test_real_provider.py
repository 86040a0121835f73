"""Single sign-on through a real provider, from the button on the sign-in page to each way out."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from accounts.logins.models import Login
from accounts.models import User
from accounts.sso.models import ClaimRule, Identity, Provider
from audit.models import AuditEntry
from opssight.kernel import outgoing
from tests.accounts.sso.conftest import REAL, change, make_provider, reason
from tests.accounts.test_sign_in import code_for
from tests.conftest import enrolled


@pytest.fixture
def real(db: None, real_issuer: str) -> Provider:
    return make_provider(
        real_issuer, slug="real", name="Real", scope="openid email profile groups", domains=["example.org"],
        creates_accounts=True, trusts_email=True,
    )  # fmt: skip


class There:
    """A browser at the provider: signs in as whoever is named, with a second factor or without."""

    def __init__(self) -> None:
        self.http, self.asked = outgoing.client(), 0

    def go(self, address: str, name: str, until: str, *, factor: bool = False) -> str:
        """Follows the pages until one of ours; its address. `asked` counts how often it had to sign in."""
        answer = self.http.get(address)
        for _ in range(20):
            if answer.status_code in (302, 303):
                there = urljoin(str(answer.url), answer.headers["Location"])
                if there.startswith(until):
                    return there
                answer = self.http.get(there)
                continue
            form = re.search(r'<form[^>]* action="([^"]+)"', answer.text)
            assert answer.status_code == 200, answer.text
            assert form, answer.text
            hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', answer.text))
            given = {**hidden, "login": name, "password": "x", "logout": "yes", **({"factor": "yes"} if factor else {})}
            self.asked += "/interaction/" in form[1]
            answer = self.http.post(urljoin(str(answer.url), form[1]), data=given)
        raise AssertionError("the provider leads nowhere")

    def leave(self, issuer: str) -> None:
        """Signs out at the provider's own page, of which we hear nothing but by its word."""
        page = self.http.get(f"{issuer}/session/end").text
        form = re.search(r'<form[^>]* action="([^"]+)"', page)
        assert form, page
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
        done = self.http.post(form[1], data={**hidden, "logout": "yes"})
        assert done.status_code in (200, 302, 303), done.text


@pytest.fixture
def there() -> Iterator[There]:
    browser = There()
    yield browser
    browser.http.close()


def through(client: Client, there: There, address: str, name: str, *, factor: bool = False) -> Any:
    """From an address of ours to the provider and back; what we answer then."""
    went = client.get(address)
    assert went.status_code == 302, reason()
    parts = urlsplit(there.go(went["Location"], name, f"{REAL}/back", factor=factor))
    return client.get(f"{parts.path}?{parts.query}")


def sign_in(client: Client, there: There, name: str, *, factor: bool = False) -> Any:
    assert 'href="/sign-in/with/real"' in client.get("/sign-in").content.decode()
    return through(client, there, "/sign-in/with/real", name, factor=factor)


def all_the_way(client: Client, there: There, name: str) -> User:
    """With an authenticator app of ours as the second step."""
    answer = sign_in(client, there, name)
    assert answer.status_code == 302, reason()
    user = User.objects.get(email=f"{name}@example.org")
    assert answer["Location"] == "/sign-in/second-step"
    assert client.post("/sign-in/second-step", {"code": code_for(enrolled(user))}).status_code == 302
    return user


def test_a_new_person_gets_an_account_and_enrols_before_anything_opens(real, there):
    client = Client()
    answer = sign_in(client, there, "nora")
    assert answer["Location"] == "/sign-in/second-step"
    assert client.get(answer["Location"])["Location"] == "/sign-in/enrol"
    assert client.get("/my-security").status_code == 302
    user = User.objects.get(email="nora@example.org")
    assert (user.name, user.has_usable_password()) == ("nora", False)
    assert list(user.assignments.values_list("role__key", flat=True)) == ["employee"]
    identity = Identity.objects.get(user=user)
    assert (identity.issuer, identity.subject) == (real.issuer, "nora")
    assert AuditEntry.objects.filter(event="sso:linked").count() == 1


def test_a_known_person_signs_in_with_groups_and_the_row_says_how(real, there, eve):
    group = Group.objects.create(name="Engineers")
    ClaimRule.objects.create(provider=real, claim="groups", value="engineering", group=group, is_enabled=True)
    client = Client()
    assert all_the_way(client, there, "eve") == eve
    assert client.get("/my-security").status_code == 200
    login = Login.objects.get(user=eve)
    assert (login.factors, login.level) == (["fed", "otp", "mfa"], "otp")
    assert list(eve.groups.all()) == [group]


def test_signing_out_here_offers_to_do_so_there(real, there, eve):
    client = Client()
    all_the_way(client, there, "eve")
    assert client.post("/sign-out")["Location"] == "/signed-out"
    page = client.get("/signed-out").content.decode()
    address = re.search(r'href="(http://127[^"]+)"', page)[1].replace("&amp;", "&")
    back = there.go(address, "eve", "http://localhost:8000/signed-out")
    assert "and of Real" in client.get("/signed-out?" + urlsplit(back).query).content.decode()
    assert not Login.objects.open(at=timezone.now()).exists()


# --- its second factor --------------------------------------------------------------------------------------------


@pytest.fixture
def stepping(real: Provider, there: There, eve: User) -> Client:
    """Eve, who has no factor of ours: signed in an hour ago with the one that she has over there."""
    change(real, factor_level="otp", factor_values=["mfa"])
    client = Client()
    assert sign_in(client, there, "eve", factor=True)["Location"] == "/", reason()
    Login.objects.update(stepped_up_at=timezone.now() - timedelta(hours=1))
    assert client.get("/my-security/password")["Location"].startswith("/step-up")
    return client


def test_without_a_factor_over_there_ours_follows(real, there, eve):
    change(real, factor_level="otp", factor_values=["mfa"])
    assert sign_in(Client(), there, "eve")["Location"] == "/sign-in/second-step"


def test_a_step_up_by_signing_in_over_there_again(stepping, there):
    login, asked = Login.objects.get(), there.asked
    page = stepping.get("/step-up?next=/my-security/password").content.decode()
    address = re.search(r'href="(/step-up/with/real[^"]*)"', page)[1].replace("&amp;", "&")
    answer = through(stepping, there, address, "eve", factor=True)
    assert answer["Location"] == "/my-security/password", reason()
    assert there.asked == asked + 1  # although she was signed in there
    assert stepping.get("/my-security/password").status_code == 200
    assert (Login.objects.get().pk, login.ended_at) == (login.pk, None)
    assert Login.objects.get().stepped_up_at > timezone.now() - timedelta(minutes=1)
    assert AuditEntry.objects.filter(event="mfa:stepped_up").count() == 1


@pytest.mark.parametrize(
    ("name", "factor", "why"), [("nora", True, "somebody else"), ("eve", False, "no second factor")]
)
def test_no_step_up_by_somebody_else_or_without_the_factor(stepping, there, name, factor, why):
    answer = through(stepping, there, "/step-up/with/real", name, factor=factor)
    assert answer.status_code == 400
    assert why in reason()
    assert stepping.get("/my-security").status_code == 200
    assert stepping.get("/my-security/password")["Location"].startswith("/step-up")


# --- its word that somebody left ----------------------------------------------------------------------------------


def test_signing_out_over_there_ends_our_session_and_no_other(real, real_issuer, there, eve, client_for, box):
    client, own = Client(), client_for(eve)
    all_the_way(client, there, "eve")
    there.leave(real_issuer)
    letter = box.letters.get(timeout=10)
    assert client.get("/my-security").status_code == 200
    assert Client(enforce_csrf_checks=True).post("/sign-in/with/real/logout", letter).status_code == 200, reason()
    assert client.get("/my-security").status_code == 302
    assert own.get("/my-security").status_code == 200
    assert AuditEntry.objects.filter(event="sso:ended_by_provider", success=True).count() == 1
    assert Client().post("/sign-in/with/real/logout", letter).status_code == 400  # it was used


def test_after_a_step_up_the_provider_can_end_the_session_still(stepping, real_issuer, there, box):
    assert through(stepping, there, "/step-up/with/real", "eve", factor=True).status_code == 302
    there.leave(real_issuer)
    stepping.post("/sign-in/with/real/logout", box.letters.get(timeout=10))
    assert stepping.get("/my-security").status_code == 302
