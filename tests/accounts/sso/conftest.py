import ipaddress
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from accounts.sso.models import Identity, Provider
from accounts.sso.services import save_provider
from audit.models import AuditEntry
from opssight.settings.env import Outside
from tests.accounts.sso.broken import Broken
from tests.accounts.sso.real import Box, real_provider
from tests.accounts.test_sign_in import code_for
from tests.conftest import enrolled

SECRET = "a-secret-of-the-tests"
LOCAL = "http://localhost:8000"
REAL = f"{LOCAL}/sign-in/with/real"


def make_provider(issuer: str, **more: Any) -> Provider:
    values = {"slug": "acme", "name": "Acme ID", "issuer": issuer, "client_id": "opssight", **more}
    return save_provider(Provider(**values), secret=SECRET)


def linked(user: User, provider: Provider, subject: str = "person-1") -> Identity:
    identity = Identity(user=user, provider=provider, name=provider.name, issuer=provider.subjects_of, subject=subject)
    identity.claims = "{}"
    identity.save()
    return identity


def change(provider: Provider, **values: Any) -> None:
    provider.refresh_from_db()
    for name, value in values.items():
        setattr(provider, name, value)
    save_provider(provider)


def reason() -> str:
    """Of the newest refusal."""
    return AuditEntry.objects.filter(event="sso:refused").latest("id").error_message


def let_in(broken: Broken, user: User) -> Client:
    """All the way, with our own second step."""
    client = Client()
    assert broken.walk(client)["Location"] == "/sign-in/second-step", reason()
    assert client.post("/sign-in/second-step", {"code": fresh_code(user)}).status_code == 302
    return client


def fresh_code(user: User) -> str:
    """Of their app, whatever was entered before."""
    device = enrolled(user)
    type(device).objects.filter(pk=device.pk).update(last_step=-1, throttling_failure_timestamp=None)
    return code_for(device)


@pytest.fixture(autouse=True)
def _loopback(settings: Any) -> None:
    settings.OUTGOING_ALLOW = Outside(networks=(ipaddress.ip_network("127.0.0.0/8"),), hosts=frozenset())


@pytest.fixture(scope="session")
def any_box() -> Iterator[Box]:
    box = Box()
    yield box
    box.close()


@pytest.fixture
def box(any_box: Box) -> Box:
    """With no letter of another test's."""
    any_box.empty()
    return any_box


@pytest.fixture(scope="session")
def real_issuer(tmp_path_factory: pytest.TempPathFactory, any_box: Box) -> Iterator[str]:
    with real_provider(LOCAL, tmp_path_factory.mktemp("oidc") / "log", logout=any_box.address) as issuer:
        yield issuer


@pytest.fixture
def broken() -> Iterator[Broken]:
    """One that says whatever a test wants it to."""
    server = Broken()
    yield server
    server.close()
