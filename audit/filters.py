"""The query parameters by which entries are found: the same in console, API and export."""

from contextlib import suppress
from datetime import UTC, datetime, time, timedelta
from ipaddress import ip_address
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from accounts.models import User
from audit.search import ACTIONS, Conditions
from audit.tags import FRAMEWORKS

NUMBERS = {word: number for number, word in ACTIONS.items()}
NOBODY = ("system", "command", "anonymous")  # kinds of actors without an account
SPANS = {"24h": timedelta(hours=24), "7d": timedelta(days=7), "31d": timedelta(days=31)}
TEXT_SPAN = timedelta(days=31)
MAX_TEXT = 200
YEARS = range(2000, 2200)  # beyond them, no entry is, and a day more or less may be no date
MAX_ACCOUNT = 2**63 - 1


class MomentField(forms.CharField):
    """A moment (RFC 3339), a day, or how long ago, in UTC where it names no zone. `last` takes a day as a whole."""

    def __init__(self, *, last: bool = False, **kwargs: Any) -> None:
        self.last = last
        super().__init__(max_length=40, **kwargs)

    def clean(self, value: Any) -> datetime | None:
        text = super().clean(value)
        if not text:
            return None
        if text in SPANS:
            return timezone.now() - SPANS[text]
        moment = self._read(text)
        if moment is not None and moment.year in YEARS:
            return moment
        raise forms.ValidationError(
            f"{text} is no time. Write a day as 2026-05-03, a moment as 2026-05-03T14:30:00Z, or one of "
            f"{', '.join(SPANS)}."
        )

    def _read(self, text: str) -> datetime | None:
        with suppress(ValueError, OverflowError):
            if day := parse_date(text):
                return datetime.combine(day + timedelta(days=self.last), time(), UTC)
            # A "+" that a query string turned into a space is the one before a zone.
            if moment := parse_datetime(text.replace(" ", "+") if "T" in text else text):
                return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        return None


class AccountField(forms.CharField):
    """Somebody's e-mail address or account number, or a kind of actor without an account: an id or a kind."""

    def clean(self, value: Any) -> int | str | None:
        text = super().clean(value)
        if not text or text in NOBODY:
            return text or None
        if text.isascii() and text.isdigit() and int(text[:19]) <= MAX_ACCOUNT and len(text) < 20:
            return int(text)
        person = User.objects.filter(email__iexact=text).values_list("pk", flat=True).first()
        if person is None:
            raise forms.ValidationError(
                f"No account is called {text}. Write an e-mail address, an account's number (a deleted one has none "
                f"but that), or one of {', '.join(NOBODY)}."
            )
        return person


class AddressField(forms.CharField):
    def clean(self, value: Any) -> str:
        text = super().clean(value)
        try:
            return str(ip_address(text)) if text else ""
        except ValueError:
            raise forms.ValidationError(f"{text} is no IP address.") from None


class ActionsField(forms.CharField):
    """Words of ACTIONS, separated by commas."""

    def clean(self, value: Any) -> frozenset[int]:
        words = [word.strip().upper() for word in super().clean(value).split(",") if word.strip()]
        if unknown := [word for word in words if word not in NUMBERS]:
            raise forms.ValidationError(f"{unknown[0]} is no action. There are: {', '.join(ACTIONS.values())}.")
        return frozenset(NUMBERS[word] for word in words)


class TrailForm(forms.Form):
    """Each field is a query parameter; its `help_text` says so to readers of console and API description."""

    since = MomentField(required=False, label="From", help_text="A day, a moment, or 24h, 7d, 31d; inside.")
    until = MomentField(
        required=False, label="To", last=True, help_text="A day, which is inside, or a moment, which is not."
    )
    actor = AccountField(
        required=False, max_length=254, help_text="E-mail, account number, or system, command, anonymous."
    )
    user_id = forms.IntegerField(
        required=False, min_value=1, max_value=MAX_ACCOUNT, label="Account", help_text="The account's number."
    )
    action = ActionsField(required=False, max_length=40, help_text="CREATE, READ, UPDATE or DELETE; several by commas.")
    event = forms.CharField(required=False, max_length=64, help_text="The name of an event, as roles:assigned.")
    resource_type = forms.CharField(
        required=False, max_length=64, label="Type", help_text="The type of object, as scanning.finding."
    )
    resource_id = forms.CharField(required=False, max_length=64, label="Id", help_text="The object's id.")
    success = forms.NullBooleanField(required=False, help_text="false: what was refused or failed.")
    ip_address = AddressField(required=False, max_length=45, label="Address", help_text="From where, an IP address.")
    request_id = forms.CharField(required=False, max_length=64, label="Request", help_text="All of one request.")
    framework = forms.ChoiceField(
        required=False,
        choices=[(key, key) for key in FRAMEWORKS],
        error_messages={"invalid_choice": f"%(value)s is no framework here. There are: {', '.join(FRAMEWORKS)}."},
        help_text=f"What is evidence for it: {', '.join(FRAMEWORKS)}.",
    )
    text = forms.CharField(
        required=False,
        max_length=MAX_TEXT,
        help_text="Words in the object's label, the data or the error; within 31 days, by default the last.",
    )

    def clean_success(self) -> bool | None:
        given = self.data.get("success", "")
        if given not in ("", "true", "false"):
            raise forms.ValidationError("Write true or false.")
        return {"true": True, "false": False}.get(given)

    def clean(self) -> dict[str, Any]:
        asked = super().clean() or {}
        since, until, now = asked.get("since"), asked.get("until"), timezone.now()
        if since and until and since >= until:
            self.add_error("until", "The end of the time is before its beginning.")
        if asked.get("text") and not self.errors:
            since = asked["since"] = since or (until or now) - TEXT_SPAN
            if (until or now) - since > TEXT_SPAN + timedelta(minutes=1):
                self.add_error("text", "Text is looked for within 31 days at most. Choose a shorter time.")
        if asked.get("user_id") and asked.get("actor") not in (None, asked["user_id"]):
            self.add_error("user_id", "It names another account than actor does.")
        return asked

    def conditions(self) -> Conditions:
        """Of a valid form."""
        asked = self.cleaned_data
        actor = asked["actor"] or asked["user_id"]
        return Conditions(
            actor=actor if isinstance(actor, int) else None,
            actor_kind=actor if isinstance(actor, str) else "",
            actions=asked["action"],
            event=asked["event"],
            resource_type=asked["resource_type"],
            resource_id=asked["resource_id"],
            success=asked["success"],
            since=asked["since"],
            until=asked["until"],
            request_id=asked["request_id"],
            address=asked["ip_address"],
            framework=asked["framework"],
            text=asked["text"],
        )
