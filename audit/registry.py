"""Which models the trail follows, and what it may keep of their fields.

What nobody has declared is masked: a value of a free type (text, JSON, bytes) or under a name that suggests a secret
reaches the trail as a keyed fingerprint, unless its model says `plain` or `personal`. So a field that is added later
leaks nothing by being forgotten.
"""

import hmac
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from auditlog.registry import auditlog
from django.conf import settings
from django.db import models

from audit.canonical import clean
from opssight.kernel import reads

MASKED = "••••"
# Types whose values are numbers, moments, keys of rows: nothing that a secret could be written into.
_TYPED = (
    models.BooleanField,
    models.DateField,
    models.DecimalField,
    models.DurationField,
    models.FloatField,
    models.ForeignKey,
    models.IntegerField,
    models.TimeField,
    models.UUIDField,
)
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
    """How one model is followed. `fields` are those whose changes are told, by name; `masked` of them are secrets."""

    model: type[models.Model]
    fields: dict[str, Any]
    masked: frozenset[str]
    personal: frozenset[str]
    ignored: frozenset[str]
    m2m: tuple[str, ...]

    @cached_property
    def open(self) -> frozenset[str]:
        """Kept in the entry as they are."""
        return frozenset(self.fields) - self.masked - self.personal

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


def followed(model: type[models.Model]) -> Followed | None:
    return _by_label.get(model._meta.label_lower)


def audited(
    model: type[models.Model],
    *,
    plain: tuple[str, ...] = (),
    secret: tuple[str, ...] = (),
    personal: tuple[str, ...] = (),
    ignore: tuple[str, ...] = (),
    m2m: tuple[str, ...] = (),
    reads_too: bool = False,
) -> None:
    """Follow `model`: its creations, changes and deletions through the ORM become entries.

    `plain` fields are kept as they are, `personal` ones apart, `secret` ones masked; `ignore`d are left out: leases
    and counters, and what events of the subject tell. With `reads_too`, a look at a row or a list is an entry as well.
    A name that is not a field is a ValueError.
    """
    from audit import capture

    concrete = {field.name: field for field in model._meta.concrete_fields if not field.primary_key}
    relations = {field.name for field in model._meta.many_to_many}
    wrong = {*plain, *secret, *personal, *ignore} - concrete.keys() | set(m2m) - relations
    if wrong or model._meta.label_lower in _by_label:
        raise ValueError(f"audited({model.__name__}): {f'no such field: {sorted(wrong)}' if wrong else 'twice'}")
    fields = {name: field for name, field in concrete.items() if name not in ignore}
    declared = {*plain, *personal} - {*secret}
    masked = frozenset(name for name, field in fields.items() if name not in declared and _is_free(field, name, secret))
    entry = Followed(model, fields, masked, frozenset(personal), frozenset(ignore), m2m)
    _by_label[entry.label] = entry
    auditlog.register(model, exclude_fields=list(ignore), mask_fields=sorted(masked))
    capture.connect(entry)
    if reads_too:
        reads.sensitive.add(model)


def _is_free(field: "models.Field[Any, Any]", name: str, secret: tuple[str, ...]) -> bool:
    """Whether the field could hold a secret, as far as its type and name tell."""
    typed = isinstance(field, _TYPED) or bool(field.choices)
    return name in secret or not typed or suggests_secret(name)


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


def register_lower_apps() -> None:
    """The models of accounts and rbac, which stand below and can't name the trail."""
    from django.contrib.auth.models import Group

    from accounts.mfa.models import RecoveryCode, RecoveryDevice, TOTPDevice
    from accounts.models import SetupLink, User
    from accounts.tokens.models import Token
    from audit.models import AuditEntry
    from rbac.access.models import AccessTrace, Policy, Zone
    from rbac.models import DenyRule, Role, RoleAssignment, RolePermission, Unit

    throttle = ("throttling_failure_timestamp", "throttling_failure_count")
    audited(User, personal=("email", "name"), ignore=("last_login",), m2m=("groups",), reads_too=True)
    audited(SetupLink, reads_too=True)
    audited(TOTPDevice, plain=("name",), ignore=("last_step", "last_used_at", *throttle), reads_too=True)
    audited(RecoveryDevice, plain=("name",), ignore=throttle, reads_too=True)
    audited(RecoveryCode, reads_too=True)
    audited(Token, plain=("name", "key", "scopes"), ignore=("last_used_at",), reads_too=True)
    audited(Group, plain=("name",))
    audited(Unit, plain=("name",))
    audited(Role, plain=("key", "name", "description"), m2m=("parents",))
    audited(RolePermission, plain=("permission",))
    audited(RoleAssignment, plain=("reason",), reads_too=True)
    audited(DenyRule, plain=("permission", "reason"), reads_too=True)
    audited(Policy, plain=("name", "resource", "action", "condition", "reason"))
    audited(Zone, plain=("name", "networks"))
    reads.sensitive |= {AccessTrace, AuditEntry}
    reads.quiet.add(AuditEntry)
