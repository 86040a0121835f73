"""A small fixed cast: Olga the officer, Adam the auditor, Dev the developer, Eve the employee without rights."""

import os
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.cache import cache
from django.core.mail import EmailMessage
from django.db import connection, models
from django.test import Client
from django.utils import timezone

from accounts.logins.models import Login
from accounts.logins.services import LOGIN
from accounts.mfa.models import TOTPDevice
from accounts.models import User
from accounts.notify.models import Notice
from accounts.notify.services import deliver
from accounts.services import create_account
from audit import guard
from audit.models import AuditEntry
from opssight.kernel.events import COMMAND_RUN, bulk_record, bulk_write
from rbac.services import assign_role
from scanning.counts import triggers
from tests.mail import MailServer

PASSWORD = "a long enough passphrase"


def pytest_configure() -> None:
    """Ended by a signal, the suite tidies up as at Ctrl-C: some tests have processes running that outlive it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def make_person(first: str, *roles: str) -> User:
    user = create_account(f"{first.lower()}@example.org", name=first, password=PASSWORD)
    for role in roles:
        assign_role(user, role, reason="cast")
    return user


@pytest.fixture
def olga(db: None) -> User:
    return make_person("Olga", "officer", "administrator")


@pytest.fixture
def adam(db: None) -> User:
    return make_person("Adam", "auditor")


@pytest.fixture
def dev(db: None) -> User:
    return make_person("Dev", "developer")


@pytest.fixture
def eve(db: None) -> User:
    return make_person("Eve")


def enrolled(user: User) -> TOTPDevice:
    """The person's confirmed authenticator app, made on first use."""
    device = TOTPDevice.objects.filter(user=user, confirmed=True).first()
    if device is None:
        device = TOTPDevice(user=user, name="authenticator app", confirmed=True)
        device.secret = TOTPDevice.new_secret()
        device.save()
    return device


def opened(user: User, *, level: str = "otp", age: timedelta = timedelta()) -> Login:
    """The row of a sign-in from nowhere in particular, whose factor was proved `age` ago."""
    now = timezone.now()
    return Login.objects.create(
        user=user,
        factors=["pwd", "otp", "mfa"],
        level=level,
        auth_epoch=user.auth_epoch,
        stepped_up_at=now - age,
        ends_at=now + timedelta(hours=12),
        idle_ends_at=now + timedelta(hours=12),
    )


@pytest.fixture
def client_for(db: None) -> Callable[..., Client]:
    """`client_for(olga)`: a browser signed in with both factors, a while ago unless `step_up`."""

    def sign_in(user: User, *, step_up: bool = False) -> Client:
        user.refresh_from_db(fields=["auth_epoch"])  # a change of rights ended what the caller's copy knows
        client, device = Client(), enrolled(user)
        client.force_login(user)
        session = client.session
        login = opened(user, age=timedelta() if step_up else timedelta(hours=1))
        session["otp_device_id"], session[LOGIN] = device.persistent_id, str(login.uid)
        session.save()
        return client

    return sign_in


def letters() -> list[EmailMessage]:
    """Every letter so far, after workers were at all that waits."""
    for notice in Notice.objects.unfinished().order_by("pk"):
        deliver(notice.pk)
    return mail.outbox


def put(rows: models.QuerySet[Any], **values: Any) -> None:
    """Set values behind the application's back, as time or an older release would have."""
    for row in rows:
        for name, value in values.items():
            setattr(row, name, value)
        row.save(update_fields=list(values))


def in_bulk(rows: models.QuerySet[Any], **values: Any) -> None:
    """One statement for all of them, told as it must be."""
    with bulk_write():
        bulk_record(COMMAND_RUN, [(row, {name: [getattr(row, name), values[name]] for name in values}) for row in rows])
        rows.update(**values)


@pytest.fixture
def _numbers_begin_anew(django_db_blocker: Any) -> Iterator[None]:
    """A flush leaves SQLite's last number of entries as it was, and the next test's trail would have a gap."""
    yield
    if connection.vendor == "sqlite":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute("DELETE FROM sqlite_sequence WHERE name = %s", [AuditEntry._meta.db_table])


@pytest.fixture
def mail_server(settings) -> Iterator[MailServer]:
    here = MailServer()
    here.controller.start()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", here.port
    yield here
    here.controller.stop()


@pytest.fixture(autouse=True)
def _trail_can_be_flushed(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that commits ends with a flush, which the guard refuses: taken off before it, put back behind it."""
    marks = request.node.iter_markers("django_db")
    commits = "transactional_db" in request.fixturenames or any(mark.kwargs.get("transaction") for mark in marks)
    if commits:
        # Set up before this fixture, so torn down after it, the later of them first.
        request.getfixturevalue("_numbers_begin_anew")
        request.getfixturevalue("transactional_db")
    yield
    if commits:
        guard.remove(connection)
        triggers.remove(connection)


@pytest.fixture(autouse=True)
def _rates_begin_anew() -> None:
    cache.clear()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reports and data from the field, where OPSSIGHT_SHARED names them; CI always does."""
    folder = os.environ.get("OPSSIGHT_SHARED", "")
    if not folder:
        pytest.skip("OPSSIGHT_SHARED is not set: it names the folder with reports from the field")
    return Path(folder)
