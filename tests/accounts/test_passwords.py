"""Passwords: what they must be, changing one's own, and the link for those who forgot it."""

import hashlib
import re
import statistics
import time
from datetime import timedelta

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from accounts import services, tasks
from accounts.mfa.models import TOTPDevice
from accounts.mfa.passwords import stands_in
from accounts.models import SetupLink, User
from accounts.notify.models import Notice
from audit.models import AuditEntry
from tests.accounts.test_sign_in import code_for, password_step
from tests.conftest import PASSWORD, enrolled, letters, make_person, put

NEW = "seven kettles sing"


@pytest.fixture
def queue(monkeypatch) -> list[tuple[str, list]]:
    """What was handed to workers."""
    from celery import current_app

    sent: list[tuple[str, list]] = []
    monkeypatch.setattr(current_app, "send_task", lambda name, args: sent.append((name, args)))
    return sent


@pytest.fixture
def commits(django_capture_on_commit_callbacks):
    return django_capture_on_commit_callbacks


def problems(password: str, user: User) -> str:
    try:
        validate_password(password, user)
    except ValidationError as error:
        return " ".join(error.messages)
    return ""


# --- what they must be --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("password", "alone", "with_factor"),
    [
        ("qv7-mzt", False, False),  # 7
        ("qv7-mztk", False, True),  # 8
        ("qv7-mztk-plo4x", False, True),  # 14
        ("qv7-mztk-plo4xw", True, True),  # 15
    ],
)
def test_fifteen_alone_and_eight_beside_a_factor(eve, password, alone, with_factor):
    assert (not problems(password, eve)) == alone
    enrolled(eve)
    assert (not problems(password, eve)) == with_factor


@pytest.mark.parametrize(
    "password",
    [
        "crumpledvelvetoctopus",
        "83920174650192837465",
        "🦊🌵🪁🧲🦉🍋🪣🧵🦔🌶🪀🧊🦩🍈🪤",
        "the kettle sings at seven",
        "vqzjt kwpflm bnrd " * 7,
    ],
)
def test_no_rules_of_composition_and_long_ones_are_welcome(eve, password):
    assert problems(password, eve) == ""


@pytest.mark.parametrize(
    "password",
    [
        "password1234567", "passwordpassword", "aaaaaaaaaaaaaaaa", "qwertyuiopasdfgh", "abcdefgh12345678",
        "P@ssw0rdP@ssw0rd", "123456789012345678", "eve@example.org1", "opssightopssight", "iloveyouiloveyou",
        "monkeymonkeymonkey", "1q2w3e4r5t6y7u8i",
    ],
)  # fmt: skip
def test_what_is_easy_to_guess_is_refused(eve, password):
    assert "guess" in problems(password, eve) or "common" in problems(password, eve)


def test_the_commonest_are_refused_whatever_their_length(eve):
    from django.contrib.auth.password_validation import CommonPasswordValidator

    enrolled(eve)  # so that eight characters are long enough
    common = sorted(word for word in CommonPasswordValidator().passwords if len(word) >= 8)
    assert len(common) > 3000
    assert [word for word in common[:: len(common) // 60] if not problems(word, eve)] == []


def test_a_long_one_is_judged_quickly_and_one_too_long_refused(eve):
    began = time.process_time()
    problems("1234567890abcdefghij" * 50, eve)
    assert time.process_time() - began < 2
    assert Client().post("/sign-in", {"username": eve.email, "password": "x" * 100_000}).status_code == 400


def test_a_file_of_leaked_ones_is_searched(eve, tmp_path, settings):
    known = [f"{hashlib.sha1(f'leaked {n}'.encode()).hexdigest().upper()}:{n}" for n in range(1000)]
    file = tmp_path / "leaked"
    file.write_text("\r\n".join(sorted(known)) + "\r\n")
    for line in known:
        assert stands_in(file, line[:40]), line
    for n in range(1000):
        assert not stands_in(file, hashlib.sha1(f"other {n}".encode()).hexdigest().upper())
    empty = tmp_path / "empty"
    empty.write_text("")
    assert not stands_in(empty, "0" * 40)
    settings.LEAKED_PASSWORDS = file
    leaked = "crumpled velvet octopus"
    file.write_text(hashlib.sha1(leaked.encode()).hexdigest().upper() + ":3\n")
    assert "leaked" in problems(leaked, eve)


@pytest.mark.parametrize("altered", [PASSWORD + " ", PASSWORD.upper(), PASSWORD[:-1], " " + PASSWORD])
def test_it_is_checked_exactly_as_typed(eve, altered):
    assert Client().post("/sign-in", {"username": eve.email, "password": altered}).status_code == 400


def test_what_stands_behind_the_72nd_byte_counts(eve):
    long = "vqzjt kwpflm bnrd " * 7
    eve.set_password(long)
    eve.save()
    assert Client().post("/sign-in", {"username": eve.email, "password": long[:100]}).status_code == 400
    assert Client().post("/sign-in", {"username": eve.email, "password": long}).status_code == 302


def test_it_never_runs_out(eve):
    put(User.objects.filter(pk=eve.pk), created_at=timezone.now() - timedelta(days=400))
    password_step(eve)


# --- changing one's own -------------------------------------------------------------------------------------------


def change(client: Client, old: str = PASSWORD, new: str = NEW, **more: str):
    return client.post("/my-security/password", {"old": old, "password": new, "again": new, **more})


def test_it_is_changed_with_the_old_one_and_ends_other_sessions(eve, client_for, queue, commits):
    here, there = client_for(eve, step_up=True), client_for(eve)
    before = here.session.session_key
    with commits(execute=True):
        assert change(here)["Location"] == "/my-security"
    assert here.get("/my-security").status_code == 200
    assert here.session.session_key != before
    assert there.get("/my-security").status_code == 302
    eve.refresh_from_db()
    assert eve.check_password(NEW)
    notice = Notice.objects.get()
    assert queue == [("accounts.notify.tasks.deliver", [notice.pk])]
    [letter] = letters()
    assert (letter.to, letter.subject) == ([eve.email], "Your password was changed")
    assert AuditEntry.objects.filter(event="passwords:changed").count() == 1


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"old": "wrong"}, "not the password you have now"),
        ({"old": ""}, "required"),
        ({"new": "short"}, "too short"),
        ({"again": "another one entirely"}, "The two passwords differ"),
    ],
)
def test_what_keeps_it_as_it_is(eve, client_for, given, says):
    client = client_for(eve, step_up=True)
    answer = change(client, **given)
    assert (answer.status_code, says in answer.content.decode()) == (400, True)
    eve.refresh_from_db()
    assert eve.check_password(PASSWORD)


def test_it_takes_a_fresh_second_factor(eve, client_for):
    client = client_for(eve)
    assert client.get("/my-security/password")["Location"].startswith("/step-up?next=")
    assert change(client)["Location"].startswith("/step-up")
    eve.refresh_from_db()
    assert eve.check_password(PASSWORD)


def test_guessing_the_old_one_is_counted(eve, client_for):
    client = client_for(eve, step_up=True)
    answers = [change(client, old="wrong").status_code for _ in range(5)]
    assert answers == [400] * 4 + [429]
    assert change(client).status_code == 429
    kept = AccessAttempt.objects.get()
    assert not [secret for secret in (NEW, "wrong") if secret in kept.post_data]


# --- forgotten ----------------------------------------------------------------------------------------------------


def link_in_mail() -> str:
    found = re.search(r"http://localhost:8000(/set-up/[\w-]+)", letters()[-1].body)
    assert found
    return found[1]


def test_the_link_sets_a_new_one_and_the_second_factor_stays(eve, queue, client_for, commits):
    device, elsewhere = enrolled(eve), client_for(eve)
    with commits(execute=True):
        assert Client().post("/sign-in/forgotten", {"email": "EVE@example.org"}).status_code == 200
    [(name, args)] = queue
    assert (name, args) == ("accounts.tasks.send_reset_link", [eve.email])
    tasks.send_reset_link(*args)
    assert letters()[-1].to == [eve.email]
    client, link = Client(), link_in_mail()
    answer = client.post(link, {"password": NEW, "again": NEW})
    assert client.get(answer["Location"])["Location"] == "/sign-in/second-step"
    assert client.get("/my-security").status_code == 302
    assert elsewhere.get("/my-security").status_code == 302  # ended
    assert client.post("/sign-in/second-step", {"code": code_for(device)}).status_code == 302
    assert client.get("/my-security").status_code == 200
    assert TOTPDevice.objects.filter(pk=device.pk, confirmed=True).exists()
    assert Client().get(link).status_code == 404  # spent


def test_the_link_is_short_lived_and_the_newest_alone_counts(eve):
    services.send_reset_link(eve.email)
    first = link_in_mail()
    link = SetupLink.objects.get()
    assert link.expires_at - link.created_at < timedelta(minutes=31)
    services.send_reset_link(eve.email)
    assert Client().get(first).status_code == 404
    assert Client().get(link_in_mail()).status_code == 200
    put(SetupLink.objects.all(), expires_at=timezone.now())
    assert Client().get(link_in_mail()).status_code == 404


def test_it_voids_no_invitation_and_floods_no_mailbox(eve):
    invitation = services.issue_setup_link(eve).removeprefix("http://localhost:8000")
    for _ in range(5):
        services.send_reset_link(eve.email)
    assert len(letters()) == services.MOST_RESETS
    assert Client().get(invitation).status_code == 200


def test_nobody_else_gets_mail(eve):
    eve.is_active = False
    eve.save()
    for email in (eve.email, "nobody@example.org"):
        services.send_reset_link(email)
    assert letters() == []
    assert not SetupLink.objects.exists()


def test_words_and_work_are_the_same_whether_there_is_an_account(eve, queue, django_assert_num_queries):
    def asked(email: str) -> str:
        page = Client().post("/sign-in/forgotten", {"email": email}).content.decode().replace(email, "")
        return re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", page)

    with django_assert_num_queries(0):  # of accounts it knows nothing
        assert asked(eve.email) == asked("nobody@example.org")


def test_one_address_asks_a_dozen_times_an_hour(db, queue):
    answers = [Client().post("/sign-in/forgotten", {"email": f"p{n}@example.org"}).status_code for n in range(14)]
    assert answers == [200] * 12 + [429] * 2


def test_sign_in_takes_as_long_for_a_name_that_is_not_there(db, settings):
    """Medians of thirty each, with the real hasher. Within a third, so that a busy machine does not fail it."""
    settings.PASSWORD_HASHERS = ["accounts.hashers.Argon2id"]
    settings.AXES_FAILURE_LIMIT = 1000
    person = make_person("Tim")
    person.set_password(PASSWORD)
    person.save()

    def median(name: str) -> float:
        took = []
        for _ in range(15):
            began = time.process_time()
            Client().post("/sign-in", {"username": name, "password": "wrong"})
            took.append(time.process_time() - began)
        return statistics.median(took)

    known, unknown = median(person.email), median("nobody@example.org")
    assert 2 / 3 < known / unknown < 3 / 2


def test_password_managers_know_the_fields(eve, client_for):
    page = Client().get("/sign-in").content.decode()
    assert 'autocomplete="current-password"' in page
    assert 'autocomplete="username"' in page
    page = client_for(eve, step_up=True).get("/my-security/password").content.decode()
    assert page.count('autocomplete="new-password"') == 2
    assert "onpaste" not in page
