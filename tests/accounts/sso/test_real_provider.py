"""Single sign-on through a real provider, from the button on the sign-in page to both ways out."""

import re
from collections.abc import Iterator
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
from tests.accounts.sso.conftest import REAL, make_provider
from tests.accounts.test_sign_in import code_for
from tests.conftest import enrolled


@pytest.fixture
def real(db: None, real_issuer: str) -> Provider:
    return make_provider(
        real_issuer, slug="real", name="Real", scope="openid email profile groups", domains=["example.org"],
        creates_accounts=True, trusts_email=True,
    )  # fmt: skip


class There:
    """A browser at the provider: signs in as whoever is named, and agrees to all that is asked."""

    def __init__(self) -> None:
        self.http = outgoing.client()

    def go(self, address: str, name: str, until: str) -> str:
        """Follows the pages until one of ours; its address."""
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
            given = {**hidden, "login": name, "password": "x", "logout": "yes"}
            answer = self.http.post(urljoin(str(answer.url), form[1]), data=given)
        raise AssertionError("the provider leads nowhere")


@pytest.fixture
def there() -> Iterator[There]:
    browser = There()
    yield browser
    browser.http.close()


def sign_in(client: Client, there: There, name: str) -> Any:
    page = client.get("/sign-in").content.decode()
    assert 'href="/sign-in/with/real"' in page
    went = client.get("/sign-in/with/real")
    back = there.go(went["Location"], name, f"{REAL}/back")
    parts = urlsplit(back)
    return client.get(f"{parts.path}?{parts.query}")


def all_the_way(client: Client, there: There, name: str) -> User:
    """With an authenticator app of ours as the second step."""
    answer = sign_in(client, there, name)
    assert answer.status_code == 302, AuditEntry.objects.latest("id").error_message
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
