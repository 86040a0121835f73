"""The authenticator app against RFC 6238, and secrets at rest."""

import base64

import pytest

from accounts.mfa import models, services
from accounts.mfa.models import TOTPDevice
from opssight.kernel.crypto import Undecryptable

RFC_SECRET = base64.b32encode(b"12345678901234567890").decode()


# RFC 6238 appendix B, SHA-1, cut to six digits.
@pytest.mark.parametrize(
    ("at", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_rfc_6238_vectors(eve, monkeypatch, at, code):
    device = waiting(eve)
    monkeypatch.setattr(models.time, "time", lambda: at)
    assert device.verify_token(code)


def waiting(user) -> TOTPDevice:
    device = services.begin_enrolment(user)
    device.secret = RFC_SECRET
    device.save()
    return device


@pytest.mark.parametrize(("steps", "right"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_one_step_of_drift(eve, monkeypatch, steps, right):
    device = waiting(eve)
    monkeypatch.setattr(models.time, "time", lambda: 1_000_000)
    assert device.verify_token(models._code(RFC_SECRET, 1_000_000 // 30 + steps)) is right


def test_an_earlier_code_is_not_accepted_after_a_later_one(eve, monkeypatch):
    device = waiting(eve)
    monkeypatch.setattr(models.time, "time", lambda: 1_000_000)
    assert device.verify_token(models._code(RFC_SECRET, 1_000_000 // 30 + 1))
    assert not device.verify_token(models._code(RFC_SECRET, 1_000_000 // 30))


@pytest.mark.parametrize(("off", "says"), [(-6, "3 min slow"), (8, "4 min fast"), (60, "not right")])
def test_enrolment_tells_a_wrong_clock_from_a_wrong_code(eve, monkeypatch, off, says):
    waiting(eve)
    monkeypatch.setattr(models.time, "time", lambda: 1_000_000)
    with pytest.raises(services.WrongCode) as refusal:
        services.confirm_enrolment(eve, models._code(RFC_SECRET, 1_000_000 // 30 + off))
    assert says in refusal.value.detail
    assert not services.is_enrolled(eve)


def test_a_reload_keeps_the_secret_until_it_is_confirmed(eve):
    assert services.begin_enrolment(eve).secret == services.begin_enrolment(eve).secret


def test_secrets_are_encrypted_and_bound_to_their_row(eve, adam):
    first, second = services.begin_enrolment(eve), services.begin_enrolment(adam)
    assert first.secret not in first.secret_encrypted
    second.secret_encrypted = first.secret_encrypted
    with pytest.raises(Undecryptable):
        _ = second.secret
    second.secret_encrypted = "JBSWY3DPEHPK3PXP"  # plain text in the column is no secret either
    with pytest.raises(Undecryptable):
        _ = second.secret


def test_older_keys_still_decrypt(eve, settings):
    device = services.begin_enrolment(eve)
    secret, ring = device.secret, settings.FIELD_KEYS
    settings.FIELD_KEYS = {"k2": b"2" * 32, **ring}
    assert device.secret == secret
    device.secret = secret
    assert device.secret_encrypted.startswith("v1.k2.")
    settings.FIELD_KEYS = {"k2": b"2" * 32}
    assert device.secret == secret
    settings.FIELD_KEYS = {"k3": b"3" * 32}
    with pytest.raises(Undecryptable):
        _ = device.secret
