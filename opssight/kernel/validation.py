"""What text may come in, the same for API, forms, admin and commands, since it hangs on the model field.

Unicode is brought to NFC; control characters, lone surrogates and the marks that turn text around are refused, since
they make two names look alike or hide what a line says.
"""

import unicodedata
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import models

# Bidirectional controls, as listed in Unicode's "Trojan Source" advice (UTR #36, CVE-2021-42574).
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
_LINES = frozenset("\n\t\r")


def tidy(value: str) -> str:
    return unicodedata.normalize("NFC", value)


def refuse_odd_characters(value: str, *, allowed: frozenset[str] = frozenset()) -> None:
    for place, character in enumerate(value, 1):
        if character in allowed:
            continue
        if character in _TURNING or unicodedata.category(character) in ("Cc", "Cs"):
            raise ValidationError(
                f"Character {place} (U+{ord(character):04X}) is not allowed here.", code="odd_character"
            )


def one_line(value: str) -> None:
    refuse_odd_characters(value)


def some_lines(value: str) -> None:
    refuse_odd_characters(value, allowed=_LINES)


class Line(models.CharField):  # type: ignore[type-arg]
    """One line of text that people typed."""

    default_validators = [one_line]

    def to_python(self, value: Any) -> Any:
        value = super().to_python(value)
        return tidy(value) if isinstance(value, str) else value

    def deconstruct(self) -> Any:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.CharField", args, kwargs  # the same column: migrations need not know


class StrictForm(forms.Form):
    """A form of our own pages: odd characters and fields that it does not have are refused."""

    passed_on = frozenset({"csrfmiddlewaretoken", "next"})
    secret = frozenset({"password", "again"})  # what a keyboard can type may stand in a passphrase

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        unknown = sorted(set(self.data) - set(self.fields) - self.passed_on)
        if unknown:
            raise ValidationError(f"Unknown field: {', '.join(unknown)[:200]}")
        for name, value in [*data.items()]:  # an error takes the field out
            if isinstance(value, str) and name not in self.secret:
                try:
                    one_line(value)
                except ValidationError as error:
                    self.add_error(name, error)
                else:
                    data[name] = tidy(value)
        return data
