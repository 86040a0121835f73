"""Lockout: by name and address, never the victim, and lifted by an officer."""

from datetime import timedelta

import pytest
from axes.models import AccessAttempt
from django.conf import settings as configured
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.mfa.models import MOST_FAILURES, TOTPDevice
from audit.models import AuditEntry
from tests.accounts.test_sign_in import code_for, password_step
from tests.conftest import PASSWORD, enrolled, make_person

STRANGER = "203.0.113.9"


def fail(email: str, times: int = 5, address: str = STRANGER, **headers: str) -> int:
    client = Client(REMOTE_ADDR=address, headers=headers)
    answers = [client.post("/sign-in", {"username": email, "password": "wrong"}).status_code for _ in range(times)]
    return answers[-1]


def knock(email: str, address: str = STRANGER) -> int:
    return Client(REMOTE_ADDR=address).post("/sign-in", {"username": email, "password": PASSWORD}).status_code


def test_it_ends_by_itself_and_going_on_does_not_extend_it(eve):
    assert fail(eve.email, 9) == 429
    assert knock(eve.email) == 429
    AccessAttempt.objects.update(attempt_time=timezone.now() - configured.AXES_COOLOFF_TIME - timedelta(seconds=1))
    assert knock(eve.email) == 302


def test_the_owner_elsewhere_is_never_locked(eve):
    for number in range(20):
        fail(eve.email, 5, f"203.0.113.{number}")
    assert knock(eve.email, "10.0.0.7") == 302


def test_what_a_client_says_of_its_address_is_not_believed(eve, settings):
    for number in range(5):
        answer = fail(eve.email, 1, **{"x-forwarded-for": f"198.51.100.{number}"})
    assert answer == 429
    import ipaddress

    settings.TRUSTED_PROXIES = [ipaddress.ip_network("10.0.0.0/8")]
    for number in range(5):  # behind a proxy of ours they are five people
        answer = fail(eve.email, 1, "10.0.0.1", **{"x-forwarded-for": f"198.51.100.{number}"})
    assert answer == 400
    assert fail(eve.email, 4, "10.0.0.1", **{"x-forwarded-for": "198.51.100.0"}) == 429


def test_spraying_many_names_from_one_address_is_slowed(eve, settings):
    settings.LOGIN_ADDRESS_LIMIT = 12
    for number in range(4):
        fail(f"name{number}@example.org", 3)
    assert knock(eve.email) == 429
    assert knock(eve.email, "10.0.0.7") == 302


def test_an_officer_lifts_it_by_api(olga, eve, client_for):
    client = client_for(olga, step_up=True)
    fail(eve.email)
    assert [row["email"] for row in client.get("/api/v1/lockouts").json()["results"]] == [eve.email]
    assert client.delete(f"/api/v1/lockouts/{eve.uid}").status_code == 204
    assert knock(eve.email) == 302
    assert client.get("/api/v1/lockouts").json()["results"] == []
    assert client.delete(f"/api/v1/lockouts/{eve.uid}").status_code == 404
    entry = AuditEntry.objects.get(event="accounts:unlocked")
    assert (entry.actor_id, entry.object_pk) == (olga.pk, str(eve.pk))


def test_an_officer_lifts_it_in_the_admin(olga, eve, client_for):
    fail(eve.email)
    page = client_for(olga, step_up=True).post(
        reverse("admin:accounts_user_changelist"), {"action": "unlock", "_selected_action": [eve.pk]}, follow=True
    )
    assert "example.org: unlocked." in page.content.decode()
    assert knock(eve.email) == 302
    assert AuditEntry.objects.filter(event="accounts:unlocked").count() == 1


@pytest.mark.parametrize("who", ["adam", "eve"])
def test_nobody_else_does(who, request, client_for):
    person, locked = request.getfixturevalue(who), make_person("Lena")
    fail(locked.email)
    client = client_for(person, step_up=True)
    assert client.get("/api/v1/lockouts").status_code == 403
    assert client.delete(f"/api/v1/lockouts/{locked.uid}").status_code == 403
    assert knock(locked.email) == 429


def test_wrong_codes_never_keep_the_owner_out_for_long(eve):
    """Somebody who knows the password goes on guessing codes; see also who then changes the password."""
    device = enrolled(eve)
    client = password_step(eve)
    for _ in range(30):
        TOTPDevice.objects.update(throttling_failure_timestamp=timezone.now() - timedelta(minutes=9))
        client.post("/sign-in/second-step", {"code": "000000"})
    device.refresh_from_db()
    assert device.throttling_failure_count == MOST_FAILURES
    TOTPDevice.objects.update(throttling_failure_timestamp=timezone.now() - timedelta(minutes=9))
    assert client.post("/sign-in/second-step", {"code": code_for(device)}).status_code == 302
