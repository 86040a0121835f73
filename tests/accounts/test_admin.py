"""People in the admin: who has which second factor."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from accounts.mfa.models import MessageDevice, Passkey, TOTPDevice
from accounts.models import User
from accounts.tokens.service_accounts import create_service_account
from tests.conftest import enrolled, put

LIST = reverse("admin:accounts_user_changelist")


@pytest.fixture
def people(olga, adam, dev, eve) -> None:
    """Olga has an app, Adam an app and a passkey, Dev codes by message, Eve an app that waits, ci is a program."""
    enrolled(olga)
    enrolled(adam)
    Passkey.objects.create(user=adam, name="key", credential_id=b"adam", public_key=b"")
    device = MessageDevice(user=dev, name="text", channel="sms")
    device.address = "+4930901820"
    device.save()
    put(TOTPDevice.objects.filter(pk=enrolled(eve).pk), confirmed=False)
    create_service_account("ci@example.org", name="ci")


def shown(client: Client, query: str = "") -> dict[str, str]:
    page = client.get(LIST + query)
    assert page.status_code == 200
    row = r'class="field-email"[^>]*><a[^>]*>([^<@]+)@.*?class="field-second_factor">([^<]*)<'
    return dict(re.findall(row, page.content.decode(), re.S))


def test_the_strongest_factor_of_each_is_shown(people, olga, client_for):
    assert shown(client_for(olga, step_up=True)) == {
        "adam": "a passkey",
        "ci": "-",
        "dev": "a code by message",
        "eve": "none",
        "olga": "an authenticator app",
    }


@pytest.mark.parametrize(
    ("strength", "who"), [("none", "eve"), ("message", "dev"), ("otp", "olga"), ("passkey", "adam")]
)
def test_the_list_is_narrowed_to_a_strength(people, olga, client_for, strength, who):
    assert list(shown(client_for(olga, step_up=True), f"?strength={strength}")) == [who]


def test_it_costs_the_same_for_many(people, olga, client_for, django_assert_max_num_queries):
    client = client_for(olga, step_up=True)
    with django_assert_max_num_queries(20) as few:
        client.get(LIST)
    for n in range(40):
        User.objects.create(email=f"p{n}@example.org", password="!")
    with django_assert_max_num_queries(len(few)):
        client.get(LIST)
