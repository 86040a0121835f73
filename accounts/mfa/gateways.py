"""How a code reaches a telephone: one small class per kind of gateway, chosen by OPSSIGHT_SMS_GATEWAY."""

import base64
import json
import logging
from typing import Protocol
from urllib.parse import urlencode

from django.conf import settings

from opssight.kernel import outgoing
from opssight.kernel.errors import Refusal

log = logging.getLogger("opssight.sms")


class NotSent(Refusal):
    """The gateway did not take the message."""

    status = 502


class Gateway(Protocol):
    def send(self, number: str, text: str) -> None:
        """Hand the text over for an E.164 number. NotSent where the gateway does not take it."""


class Console:
    """Writes the message to the log: for trying things out, where whoever reads the log may read the codes."""

    def send(self, number: str, text: str) -> None:
        log.warning("text message to %s: %s", number, text)


class Twilio:
    """`POST …/Accounts/<sid>/Messages.json` with To, From and Body, under HTTP Basic; many gateways speak it."""

    def send(self, number: str, text: str) -> None:
        form = urlencode({"To": number, "From": settings.SMS_FROM, "Body": text}).encode()
        key = base64.b64encode(f"{settings.SMS_USER}:{settings.SMS_PASSWORD}".encode()).decode()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": f"Basic {key}"}
        try:
            answer = outgoing.send("POST", settings.SMS_URL, content=form, headers=headers)
        except outgoing.OutgoingError as error:
            log.error("the text message gateway failed: %s", error)
            raise NotSent("The text message could not be sent: its gateway did not answer. Use another way.") from None
        if not answer.is_success:
            log.error("the text message gateway answered %s %s", answer.status_code, _code(answer.content))
            raise NotSent("The text message could not be sent: its gateway refused it. Use another way.")


def _code(body: bytes) -> str:
    """The gateway's own number of the error; the rest of its answer may repeat the text, and so the code."""
    try:
        told = json.loads(body)
    except ValueError:
        return ""
    return f"(code {told['code']})" if isinstance(told, dict) and isinstance(told.get("code"), int) else ""


GATEWAYS: dict[str, type[Gateway]] = {"console": Console, "twilio": Twilio}


def gateway() -> Gateway | None:
    """The one in use; None where codes by text message are switched off."""
    kind = GATEWAYS.get(settings.SMS_GATEWAY)
    return kind() if kind else None
