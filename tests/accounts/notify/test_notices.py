"""Mail: written with what it tells of, sent to a real SMTP server, tried again, given up, never for nothing."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from accounts.notify import kinds, services
from accounts.notify.models import Delivery, Notice, Preference
from accounts.notify.services import deliver, notify
from accounts.services import change_password
from accounts.tokens.models import Token
from accounts.tokens.services import issue_token
from accounts.tokens.tasks import tell_of_ending_tokens
from audit.models import AuditEntry
from opssight.kernel import jobs
from opssight.settings.env import BASE_DIR
from tests.conftest import letters, make_person, put
from tests.mail import unused_port

pytestmark = pytest.mark.django_db


def told(user: User | str = "anchor@example.org", **more: Any) -> Notice:
    notice = notify(user, kinds.LINKS, "Checkpoint 17", "size 17", **more)
    assert notice is not None
    return notice


def beat(at: Any = None) -> None:
    """What the scheduler and a worker do at that moment."""
    due = [job.pk for job in jobs.JobQuerySet(Notice).overdue(at=at or timezone.now())]
    for pk in due:
        deliver(pk)


def events() -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(event="notices:failed"))


# --- written with what it tells of --------------------------------------------------------------------------------


def test_it_is_written_or_rolled_back_with_what_it_tells_of(eve):
    with pytest.raises(RuntimeError), transaction.atomic():
        change_password(eve, "seven kettles sing")
        assert Notice.objects.filter(kind="password").exists()
        raise RuntimeError
    assert not Notice.objects.exists()
    assert letters() == []


def test_it_goes_to_the_broker_as_an_id_after_the_commit(eve, monkeypatch, django_capture_on_commit_callbacks):
    from celery import current_app

    sent: list[Any] = []
    monkeypatch.setattr(current_app, "send_task", lambda name, args: sent.append((name, args)))
    with django_capture_on_commit_callbacks(execute=True):
        notice = told(eve)
        assert sent == []
    assert sent == [("accounts.notify.tasks.deliver", [notice.pk])]


def test_its_text_is_encrypted_and_erased_once_it_is_sent(mail_server, eve):
    notice = told(eve)
    raw = Notice.objects.values_list("text_encrypted", flat=True)
    assert raw[0].startswith("v1.")
    assert "size 17" not in raw[0]
    deliver(notice.pk)
    assert list(raw.all()) == [""]
    (letter,) = mail_server.received
    assert "size 17" in letter.get_payload(decode=True).decode()
    assert (letter["To"], letter["Subject"]) == (eve.email, "Checkpoint 17")
    assert (letter["Message-ID"], letter["Auto-Submitted"]) == (f"<{notice.uid}@localhost>", "auto-generated")
    notice.refresh_from_db()
    assert (notice.state, notice.attempts) == ("completed", 1)
    assert Delivery.objects.get().outcome == "sent"


def test_the_same_news_is_told_once(mail_server):
    first = told(key="checkpoint 17")
    deliver(first.pk)
    assert told(key="checkpoint 17").pk == first.pk
    assert told("other@example.org", key="checkpoint 17").pk != first.pk
    assert told(key="checkpoint 18").pk != first.pk
    deliver(first.pk)
    beat(timezone.now() + timedelta(days=1))
    assert len([letter for letter in mail_server.received if letter["Message-ID"] == first.message_id]) == 1


@pytest.mark.parametrize(
    "address", ["", "nobody", "a b@example.org", "x@example.org\nBcc: y@example.org", "@", 300 * "a"]
)
def test_what_is_no_address_is_refused(db, address):
    with pytest.raises(ValidationError):
        told(address)
    assert not Notice.objects.exists()


def test_a_subject_can_bring_no_header(mail_server, db):
    notice = notify("anchor@example.org", kinds.LINKS, "One\nBcc: eve@example.org\r\n" + "x" * 300, "text")
    assert notice is not None
    deliver(notice.pk)
    (letter,) = mail_server.received
    assert letter["Bcc"] is None
    assert len(notice.subject) == 200


def test_a_service_gets_no_mail(db):
    robot = make_person("Robot")
    robot.kind = User.Kind.SERVICE
    assert notify(robot, kinds.PASSWORD, "x", "y") is None


# --- tried again, and given up ------------------------------------------------------------------------------------


def test_a_server_that_is_away_costs_a_delay(mail_server, settings):
    settings.EMAIL_PORT = unused_port()
    notice = told()
    deliver(notice.pk)
    notice.refresh_from_db()
    assert (notice.state, notice.attempts) == ("queued", 1)
    assert "can't be reached" in notice.reason
    assert notice.due_at - timezone.now() > timedelta(seconds=25)
    beat()  # not yet
    notice.refresh_from_db()
    assert notice.attempts == 1
    settings.EMAIL_PORT = mail_server.port
    beat(timezone.now() + timedelta(seconds=31))
    notice.refresh_from_db()
    assert (notice.state, notice.reason, len(mail_server.received)) == ("completed", "", 1)
    assert list(Delivery.objects.order_by("attempt").values_list("outcome", flat=True)) == ["deferred", "sent"]


def test_after_ten_attempts_with_growing_waits_it_has_failed_and_says_so(mail_server, eve):
    mail_server.answer = "451 Try again later"
    notice = told(eve)
    at, waits = timezone.now(), []
    deliver(notice.pk)
    for _ in range(20):
        notice.refresh_from_db()
        if notice.is_finished:
            break
        waits.append(timedelta(seconds=round((notice.due_at - timezone.now()).total_seconds())))
        at = notice.due_at + timedelta(seconds=1)
        beat(at)
    assert (notice.state, notice.attempts, notice.reason) == ("failed", 10, "451 Try again later")
    assert waits == sorted(waits)
    assert timedelta(days=1) < sum(waits, timedelta()) < timedelta(days=3)
    assert notice.text_encrypted == ""
    (entry,) = events()
    assert (entry.resource_id, entry.details["kind"], entry.details["attempts"]) == (str(eve.uid), "links", 10)
    assert entry.success is False


def test_an_address_that_is_refused_for_good_is_not_tried_again(mail_server):
    mail_server.answer = "550 No such user here"
    notice = told()
    deliver(notice.pk)
    notice.refresh_from_db()
    assert (notice.state, notice.attempts, notice.reason) == ("failed", 1, "550 No such user here")
    assert len(events()) == 1


def test_what_is_of_no_use_any_more_is_not_sent(mail_server):
    notice = told(expires_at=timezone.now() - timedelta(seconds=1))
    deliver(notice.pk)
    notice.refresh_from_db()
    assert (notice.state, mail_server.received) == ("failed", [])
    assert "of no use" in notice.reason


def test_without_a_mail_server_it_fails_and_says_what_to_do(db, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    notice = told()
    deliver(notice.pk)
    notice.refresh_from_db()
    assert (notice.state, "OPSSIGHT_SMTP_URL" in notice.reason) == ("failed", True)


def test_a_text_that_was_tampered_with_is_not_sent(mail_server):
    one, other = told(), told()
    Notice.objects.filter(pk=one.pk).update(text_encrypted=Notice.objects.get(pk=other.pk).text_encrypted)
    deliver(one.pk)
    one.refresh_from_db()
    assert (one.state, mail_server.received) == ("failed", [])


def test_one_that_every_attempt_died_on_is_given_up(mail_server):
    notice = told()
    Notice.objects.update(state="running", attempts=10, lease_until=timezone.now() - timedelta(seconds=1))
    jobs.requeue_overdue(at=timezone.now())
    notice.refresh_from_db()
    assert (notice.state, notice.reason) == ("failed", jobs.LOST)
    assert len(events()) == 1


# --- a worker that is killed --------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(environment, mail_server) -> Callable[..., subprocess.Popen[str]]:
    environment["OPSSIGHT_SMTP_URL"] = f"smtp://127.0.0.1:{mail_server.port}"

    def start(*what: str) -> subprocess.Popen[str]:
        driver = [sys.executable, "tests/accounts/notify/driver.py", *what]
        return subprocess.Popen(driver, cwd=BASE_DIR, env=environment, text=True, stdout=subprocess.PIPE)

    return start


def done(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out


def test_told_by_eight_at_once_and_sent_by_eight_at_once_it_comes_once(elsewhere, mail_server):
    assert json.loads(done(elsewhere("race"))) == 1
    assert json.loads(done(elsewhere("look"))) == ["completed", 1, ["sent"], True]
    assert len(mail_server.received) == 1


def test_killed_between_sending_and_marking_it_comes_once_more_with_the_same_id(elsewhere, mail_server):
    done(elsewhere("write"))
    victim, taken = elsewhere("deliver"), threading.Event()
    pid = int(victim.stdout.readline())  # type: ignore[union-attr]

    def kill() -> None:
        if not taken.is_set():
            taken.set()
            os.kill(pid, signal.SIGKILL)

    mail_server.on_text = kill
    victim.communicate(timeout=60)
    assert victim.returncode == -signal.SIGKILL
    assert json.loads(done(elsewhere("look"))) == ["running", 1, ["open"], False]
    done(elsewhere("deliver"))  # a second message of the broker does not take over what is held
    assert len(mail_server.received) == 1
    done(elsewhere("lapse"))
    assert json.loads(done(elsewhere("look"))) == ["completed", 2, ["open", "sent"], True]
    assert len(mail_server.received) == 2
    assert len({(letter["Message-ID"], letter["Date"]) for letter in mail_server.received}) == 1


# --- what people want ---------------------------------------------------------------------------------------------


def ending_token(user: User) -> Token:
    token, _ = issue_token(user, name="build", scopes=["me:read"], days=90)
    put(
        Token.objects.filter(pk=token.pk),
        created_at=timezone.now() - timedelta(days=84),
        expires_at=timezone.now() + timedelta(days=6),
    )
    return token


def test_a_token_that_ends_soon_is_told_of_once(eve):
    ending_token(eve)
    issue_token(eve, name="short", scopes=["me:read"], days=3)  # never had longer
    tell_of_ending_tokens()
    tell_of_ending_tokens()
    (letter,) = letters()
    assert isinstance(letter, EmailMessage)
    assert (letter.to, "“build”" in letter.subject) == ([eve.email], True)
    tell_of_ending_tokens()
    assert len(letters()) == 1


def test_what_is_turned_off_on_my_security_is_not_sent(eve, client_for):
    client = client_for(eve)
    page = client.get("/my-security").content.decode()
    assert "An API token of yours ends within a week" in page
    assert client.post("/my-security/notices/token-ending", {"by_email": "off"})["Location"] == "/my-security"
    assert AuditEntry.objects.filter(resource_type="notify.preference").exists()
    ending_token(eve)
    tell_of_ending_tokens()
    assert letters() == []
    client.post("/my-security/notices/token-ending", {"by_email": "on"})
    tell_of_ending_tokens()
    assert len(letters()) == 1


@pytest.mark.parametrize("kind", [kind.name for kind in kinds.registry.values() if kind.compulsory])
def test_what_warns_of_a_stranger_can_not_be_turned_off(eve, client_for, kind):
    answer = client_for(eve).post(f"/my-security/notices/{kind}", {"by_email": "off"}, follow=True)
    assert "can&#x27;t be turned off" in answer.content.decode()
    assert not Preference.objects.exists()
    with pytest.raises(ValidationError):
        services.set_preference(eve, kind, by_email=False)
    Preference.objects.create(user=eve, kind=kind, by_email=False)  # by whatever way it came
    assert notify(eve, kinds.registry[kind], "x", "y") is not None


def test_a_kind_that_there_is_not_is_404(eve, client_for):
    client = client_for(eve)
    assert client.post("/my-security/notices/nonsense", {"by_email": "off"}).status_code == 404
    assert client.get("/api/v1/me/notices/nonsense").status_code == 404
    assert wish(client, "nonsense", by_email=False).status_code == 404


def wish(client, kind, **body):
    return client.patch(f"/api/v1/me/notices/{kind}", json.dumps(body), content_type="application/json")


def test_the_same_by_the_api(eve, olga, client_for):
    client = client_for(eve)
    listed = client.get("/api/v1/me/notices").json()
    assert (listed["next"], len(listed["results"])) == (None, len(kinds.registry))
    ending = {"kind": "token-ending", "about": "An API token of yours ends within a week", "compulsory": False}
    assert {**ending, "by_email": True} in listed["results"]
    assert wish(client, "token-ending", by_email=False).json() == {**ending, "by_email": False}
    assert client.get("/api/v1/me/notices/token-ending").json()["by_email"] is False
    assert AuditEntry.objects.filter(resource_type="notify.preference", actor=eve).exists()
    ending_token(eve)
    tell_of_ending_tokens()
    assert letters() == []
    assert client_for(olga).get("/api/v1/me/notices/token-ending").json()["by_email"] is True  # Olga's are her own
    assert wish(client, "token-ending", by_email=True).status_code == 200
    tell_of_ending_tokens()
    assert len(letters()) == 1


@pytest.mark.parametrize("kind", [kind.name for kind in kinds.registry.values() if kind.compulsory])
def test_by_the_api_neither(eve, client_for, kind):
    answer = wish(client_for(eve), kind, by_email=False)
    assert answer.status_code == 400
    assert "stranger" in str(answer.json()["errors"]["by_email"])
    assert not Preference.objects.exists()


@pytest.mark.parametrize("body", [{}, {"by_email": "perhaps"}, {"by_email": None}, {"by_email": True, "about": "x"}])
def test_what_is_no_wish_changes_nothing(eve, client_for, body):
    assert wish(client_for(eve), "token-ending", **body).status_code == 400
    assert not Preference.objects.exists()


def test_a_token_asks_for_its_scope(eve):
    for scope, status in (("me:read", 403), ("me:update", 200)):
        _, text = issue_token(eve, name=scope, scopes=[scope])
        assert (
            wish(Client(headers={"authorization": f"Bearer {text}"}), "token-ending", by_email=False).status_code
            == status
        )
    assert Client().get("/api/v1/me/notices").status_code == 401


def test_kinds_are_registered_once():
    with pytest.raises(ValueError, match="twice"):
        kinds.register("codes", "again")
    assert sorted(kinds.registry) == [
        "acceptance", "codes", "devices", "factors", "finding-deadlines", "finding-owner", "links", "new-device",
        "password", "provider-linked", "token-ending", "token-replayed",
    ]  # fmt: skip


# --- a code that somebody waits for -------------------------------------------------------------------------------


def test_a_code_is_sent_at_once_and_a_server_that_is_away_is_told_of(eve, settings, mail_server):
    client = Client()
    client.post("/sign-in", {"username": eve.email, "password": "a long enough passphrase"})
    settings.EMAIL_PORT = unused_port()
    answer = client.post("/sign-in/enrol/message/email", {"next": ""})
    assert "did not take the e-mail" in answer.content.decode()
    notice = Notice.objects.get(kind="codes")
    assert (notice.state, notice.expires_at - timezone.now() < timedelta(minutes=10)) == ("queued", True)
    settings.EMAIL_PORT = mail_server.port
    beat(timezone.now() + timedelta(seconds=31))
    code = mail_server.received[-1].get_payload(decode=True).decode()[:6]
    assert client.post("/sign-in/enrol/message/email", {"code": code}).status_code == 200


# --- the log ------------------------------------------------------------------------------------------------------


def test_the_log_shows_what_happened_and_never_the_text(olga, eve, client_for, mail_server):
    mail_server.answer = "550 No such user here"
    notice = told(eve)
    deliver(notice.pk)
    client = client_for(olga, step_up=True)
    assert eve.email in client.get(reverse("admin:notify_notice_changelist")).content.decode()
    address = reverse("admin:notify_notice_change", args=[notice.pk])
    page = client.get(address).content.decode()
    assert "attempt 1. Refused. 550 No such user here" in page
    assert "size 17" not in page
    assert client.post(address, {"subject": "other"}).status_code == 403
    assert client.get(reverse("admin:notify_notice_delete", args=[notice.pk])).status_code == 403


def test_the_log_is_kept_for_90_days(db, settings):
    old, new = told(), told()
    for notice in (old, new):
        deliver(notice.pk)
    Notice.objects.filter(pk=old.pk).update(finished_at=timezone.now() - timedelta(days=91))
    services.purge()
    assert Notice.objects.get().pk == new.pk
    assert settings.CELERY_BEAT_SCHEDULE["purge-notices"]["task"] == "accounts.notify.tasks.purge_notices"
