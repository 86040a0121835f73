"""Codes by text message and e-mail: the weakest factor, for those who have nothing better at hand.

A code is good for ten minutes, for the session that asked for it (`ticket`), and once. Sends are counted, since each
costs money and bothers somebody.
"""

import secrets
from datetime import timedelta
from typing import Any

import phonenumbers
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from accounts.mfa import events, services
from accounts.mfa.gateways import NotSent, gateway
from accounts.mfa.models import DIGITS, MESSAGE_CODE_VALID, MessageDevice
from accounts.models import User
from accounts.notify import kinds
from accounts.notify.services import notify_now
from opssight.kernel.errors import Refusal

TICKET = "message_ticket"  # key of the session
PAUSE, MOST, WINDOW = timedelta(seconds=30), 5, timedelta(hours=1)
Channel = MessageDevice.Channel


class NotOffered(Refusal):
    status = 400


class TooManySends(Refusal):
    status = 429


def channels() -> list[str]:
    """Those that this installation offers."""
    return [channel for channel in Channel.values if channel in settings.MESSAGE_CODES]


def parsed_number(text: str) -> str:
    """A telephone number as E.164; without a leading + it is read as of OPSSIGHT_PHONE_REGION. ValidationError."""
    try:
        number = phonenumbers.parse(text, settings.PHONE_REGION or None)
    except phonenumbers.NumberParseException:
        number = None
    if number is None or not phonenumbers.is_valid_number(number):
        raise ValidationError("This is no telephone number. Write it with the country code, such as +49 30 901820.")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


@transaction.atomic
def begin_enrolment(user: User, channel: str, phone: str = "") -> MessageDevice:
    """The address that waits for its first right code. For e-mail it is always the account's own."""
    if channel not in channels():
        raise NotOffered("Codes of this kind are not offered here. Use an authenticator app or a passkey.")
    address = parsed_number(phone) if channel == Channel.SMS else user.email
    validate_email(address) if channel == Channel.EMAIL else None
    waiting = MessageDevice.objects.filter(user=user, channel=channel, confirmed=False).first()
    if waiting is None:
        waiting = MessageDevice(user=user, channel=channel, confirmed=False)
    waiting.name = {"sms": "text message", "email": "e-mail"}[channel]
    if not waiting.pk or not waiting.is_readable or waiting.address != address:
        waiting.address, waiting.code_hash = address, ""
        waiting.save()
    return waiting


def send_code(request: HttpRequest, device: MessageDevice) -> None:
    """Send a fresh code, which only this session can use. TooManySends, NotSent, TooManyTries and Unreadable say what
    to do."""
    if not device.is_readable:
        services.note_unreadable(device)
        raise services.Unreadable(device)
    code, ticket = f"{secrets.randbelow(10**DIGITS):0{DIGITS}}", secrets.token_urlsafe(16)
    with transaction.atomic():
        locked = MessageDevice.objects.select_for_update().get(pk=device.pk)
        if refused := services.refusal(locked):
            raise refused
        _count(locked)
        locked.set_code(code, ticket)
        locked.save()
    request.session[TICKET] = ticket
    _deliver(locked, code)
    events.CODE_SENT.emit(target=locked, channel=locked.channel)


def _count(device: MessageDevice) -> None:
    """At most so many an hour for one account and address, with a pause between two."""
    now = timezone.now()
    if device.sent_at and now - device.sent_at < PAUSE:
        wait = max(1, round((device.sent_at + PAUSE - now).total_seconds()))
        raise TooManySends(f"A code was sent just now. Wait {wait} s before you ask for another.")
    if now - device.sends_since > WINDOW:
        device.sends, device.sends_since = 0, now
    if device.sends >= MOST:
        minutes = max(1, round((device.sends_since + WINDOW - now).total_seconds() / 60))
        raise TooManySends(f"{MOST} codes were sent within the hour. Wait {minutes} min, or use another way.")
    device.sent_at, device.sends = now, device.sends + 1


def _deliver(device: MessageDevice, code: str) -> None:
    text = f"{code} is your code for {settings.MFA_ISSUER}. It is good for ten minutes. Never tell it to anybody."
    if device.channel == Channel.EMAIL:
        until = timezone.now() + MESSAGE_CODE_VALID
        subject = f"Your code for {settings.MFA_ISSUER}"
        if not notify_now(device.address, kinds.CODES, subject, text, expires_at=until):
            raise NotSent("The mail server did not take the e-mail. It is tried again; or use another way.")
        return
    way = gateway()
    if way is None:
        raise NotOffered("Text messages are switched off here. Use another way.")
    way.send(device.address, text)


def ticket_of(request: HttpRequest) -> str:
    return request.session.get(TICKET, "")


def confirm_enrolment(request: HttpRequest, user: User, channel: str, code: str) -> tuple[MessageDevice, list[str]]:
    """Enrol with the code that was sent, in place of an earlier address. WrongCode and TooManyTries, in sentences."""
    with transaction.atomic():
        rows: Any = MessageDevice.objects.select_for_update()
        device = rows.filter(user=user, channel=channel, confirmed=False).first()
        if device is None:
            raise services.WrongCode("This set-up was finished or replaced. Start again.")
        refused = services.refusal(device)
        right = refused is None and device.verify_token(services.tidy(code), ticket_of(request))
        if right:
            services.replace(user, MessageDevice.objects.filter(user=user, channel=channel, confirmed=True))
            codes = services.confirm(device)
    if refused:
        raise refused
    if not right:
        raise services.WrongCode("This code is not right, or older than ten minutes. Ask for a new one.")
    return device, codes
