"""What the trail follows of each model, and what an entry may keep of its values.

What nobody has declared is masked: a value of a free type (text, JSON, bytes) or under a name that suggests a secret
reaches the trail as a keyed fingerprint, unless its model says `plain` or `personal`. So a field that is added later
leaks nothing by being forgotten.
"""

import hmac
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.conf import settings
from django.db import models

from audit.canonical import clean

MASKED = "••••"
_SECRET_PART = re.compile(r"passw|passphrase|secret|token|hash|crypt|credential|private|signature|cookie|session")
_SECRET_WORDS = frozenset({"code", "codes", "key", "keys", "otp", "pin", "salt", "seed"})


def suggests_secret(name: str) -> bool:
    return bool(_SECRET_PART.search(name.lower())) or not _SECRET_WORDS.isdisjoint(name.lower().split("_"))


def fingerprint(value: Any, field: str = "") -> Any:
    """What the trail keeps of a secret: a keyed fingerprint, enough to see that it changed or came back.

    `field` keeps fields apart, so that equal secrets in two of them don't show. Nothing stays nothing.
    """
    if value is None or value == "":
        return value
    key = settings.HASH_KEY.encode()
    return MASKED + hmac.digest(key, f"mask\0{field}\0{clean(value)}".encode(), "sha256").hex()[:8]


@dataclass(frozen=True)
class Followed:
    """How one model is followed. `fields` are those whose changes are told, by name; `masked` of them are secrets.

    `beside` names what events tell of it that stands in other tables.
    """

    model: type[models.Model]
    fields: dict[str, Any]
    masked: frozenset[str]
    personal: frozenset[str]
    ignored: frozenset[str]
    m2m: tuple[str, ...]
    beside: frozenset[str] = frozenset()

    @cached_property
    def open(self) -> frozenset[str]:
        """Kept in the entry as they are."""
        return (frozenset(self.fields) | self.beside) - self.masked - self.personal

    @property
    def label(self) -> str:
        return self.model._meta.label_lower

    def names(self, given: Any) -> set[str]:
        """Field names for names or attnames ("user" for "user_id"), as `update_fields` and `update()` take both."""
        return {self._aliases.get(name, name) for name in given}

    @cached_property
    def _aliases(self) -> dict[str, str]:
        return {field.attname: field.name for field in self.model._meta.concrete_fields}


_by_label: dict[str, Followed] = {}


def follow(entry: Followed) -> None:
    """ValueError where the model is followed already."""
    if entry.label in _by_label:
        raise ValueError(f"audited({entry.model.__name__}): twice")
    _by_label[entry.label] = entry


def followed(model: type[models.Model]) -> Followed | None:
    return _by_label.get(model._meta.label_lower)


def told(resource_type: str, changes: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What an entry may keep of {field: [old, new]}: the part for the entry, and the part for its side row.

    A personal field leaves null behind, so that it is known to exist; of a many-to-many change the keys stay and the
    labels of the objects go apart. What is no field of a followed model is masked.
    """
    known = _by_label.get(resource_type)
    kept: dict[str, Any] = {}
    apart: dict[str, Any] = {}
    for name, change in changes.items():
        if type(change) is dict and change.get("type") == "m2m":
            apart[name] = clean(change)
            kept[name] = {key: value for key, value in apart[name].items() if key != "objects"}
        elif known is not None and name in known.open:
            kept[name] = clean(change)
        elif known is not None and name in known.personal:
            apart[name], kept[name] = clean(change), None
        elif known is not None or suggests_secret(name):
            field = f"{resource_type}.{name}"
            sides = change if isinstance(change, list | tuple) else [change]
            kept[name] = [fingerprint(side, field) for side in sides]
        else:
            kept[name] = clean(change)
    return kept, apart


def masked_data(data: dict[str, Any]) -> dict[str, Any]:
    """The data of an event. A name that says secret outright is masked; `key` and `code` are names of things here."""
    return {
        name: fingerprint(value, name) if _SECRET_PART.search(name) else clean(value) for name, value in data.items()
    }
