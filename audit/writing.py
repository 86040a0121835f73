"""How an entry is made and written: one dictionary of columns for it, one for its side row, two INSERTs.

Both are put together without model instances, and the statements once for each database: an entry is written with every
save of a followed row, and the ORM's way of inserting costs several times what the statements do (see
tests/bench/trail_save.py). Whatever way an entry takes, it comes through `compose`.
"""

import hmac
import secrets
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from audit import receipts
from audit.canonical import clean, digest, quickly
from audit.followed import masked_data
from audit.followed import told as told_of
from audit.tags import VERSION as TAGS_VERSION
from audit.tags import tags_of
from opssight.kernel import actor as actors
from opssight.kernel.actor import Actor
from opssight.kernel.ids import new_uid

SALT_BYTES = 16
# Names in the data of events that name people, or that people type.
PERSONAL_KEYS = frozenset({"name", "email", "account", "address", "text"})
FILTER = "filter"  # what a list was narrowed by; apart from the data, or a search would find earlier searches

Columns = dict[str, Any]


def compose(
    *,
    action: int | None = None,
    event: str = "",
    resource_type: str = "",
    resource_id: str = "",
    object_pk: str = "",
    object_id: int | None = None,
    content_type_id: int | None = None,
    label: str = "",
    changes: dict[str, Any] | None = None,
    data: dict[str, Any] | None = None,
    success: bool = True,
    error: str = "",
    actor: Actor | None = None,
    **further: Any,
) -> tuple[Columns, Columns]:
    """The columns of an entry and of its side row, complete with actor, digests and MAC.

    `changes` is {field: [old, new]} and `data` what an event tells, both as Python values: they are masked, parted and
    cleaned here. `further` columns stand as given.
    """
    from audit.models import SCHEMA, covered

    actor = actor or actors.current()
    kept, values = told_of(resource_type, changes) if changes else ({}, {})
    told = masked_data(data) if data else {}
    person = {
        "actor": clean(actor.label),
        "user_agent": clean(actor.user_agent)[: actors.MAX_USER_AGENT],
        "object": clean(label)[:255],
        "values": values,
        "data": {key: value for key, value in told.items() if key in PERSONAL_KEYS},
    }
    if FILTER in told:
        person[FILTER] = told.pop(FILTER)
    if actor.impersonator is not None:
        person["impersonator"] = clean(str(actor.impersonator))
    salts = secrets.token_hex(2 * SALT_BYTES)
    side: Columns = {"address": actor.address, "data": person, "salt": salts[: 2 * SALT_BYTES]}
    entry = {
        "uid": new_uid(),
        "schema_v": SCHEMA,
        "timestamp": timezone.now(),
        "actor_id": actor.user.pk if actor.user is not None else None,
        "actor_kind": actor.kind,
        "impersonator_id": actor.impersonator.pk if actor.impersonator is not None else None,
        "event": event,
        "action": action,
        "content_type_id": content_type_id,
        "object_pk": clean(object_pk)[:255],
        "object_id": object_id,
        "resource_type": clean(resource_type)[:64],
        "resource_id": clean(resource_id or object_pk)[:64],
        "changes": kept,
        "additional_data": {key: value for key, value in told.items() if key not in PERSONAL_KEYS},
        "success": success,
        "error_message": clean(error)[:500],
        "request_id": actor.request_id,
        "session": actor.session,
        "compliance_tags": list(tags_of(event, resource_type, action)),
        "tags_version": TAGS_VERSION,
        "personal_digest": digest(side["salt"], quickly({**person, "address": actor.address})),
        "salt": salts[2 * SALT_BYTES :],
        **further,
    }
    entry["mac"] = mac(quickly(covered(entry)))
    return entry, side


def mac(content: bytes) -> str:
    return hmac.digest(settings.TRAIL_KEY.encode(), content, "sha256").hex()


def insert(entry: Columns, side: Columns, using: str) -> int:
    """Write both rows in one transaction; returns the entry's key."""
    connection = connections[using]
    if not connection.in_atomic_block:
        with transaction.atomic(using=using):
            return insert(entry, side, using)
    first, second = _statements(connection)
    with connection.cursor() as cursor:
        if second.of_the_same_statement:
            cursor.execute(second.sql, first.values(entry, connection) + second.values(side, connection))
            key: int = cursor.fetchone()[0]
        else:
            cursor.execute(first.sql, first.values(entry, connection))
            key = cursor.fetchone()[0]
            cursor.execute(second.sql, [key, *second.values(side, connection)])
    receipts.promise([(str(entry["uid"]), entry["mac"])], using=using)
    return key


class _Insert:
    """INSERT into a model's table. Both databases take text, numbers and truth as they are, and JSON as its text.

    PostgreSQL writes both rows by one statement: `after` is the first, whose key the second takes.
    """

    def __init__(
        self, model: type[models.Model], connection: BaseDatabaseWrapper, after: "_Insert | None" = None
    ) -> None:
        quote = connection.ops.quote_name
        pk: Any = model._meta.pk
        fields: list[Any] = [field for field in model._meta.local_concrete_fields if field is not pk]
        self.columns = [(field.attname, _adapter(field)) for field in fields]
        self.of_the_same_statement = after is not None and connection.vendor == "postgresql"
        names, marks = [quote(field.column) for field in fields], ["%s"] * len(fields)
        if after is not None:
            names.insert(0, quote(pk.column))
            marks.insert(0, "(SELECT id FROM entry)" if self.of_the_same_statement else "%s")
        table, key = quote(model._meta.db_table), quote(pk.column)
        self.sql = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(marks)})"
        if after is None or self.of_the_same_statement:
            self.sql = f"{self.sql} RETURNING {key}"
        if after is not None and self.of_the_same_statement:
            self.sql = f"WITH entry AS ({after.sql}) {self.sql}"

    def values(self, given: Columns, connection: BaseDatabaseWrapper) -> list[Any]:
        return [given[name] if adapt is None else adapt(given[name], connection) for name, adapt in self.columns]


def _adapter(field: Any) -> Callable[[Any, BaseDatabaseWrapper], Any] | None:
    if isinstance(field, models.JSONField):
        return lambda value, connection: quickly(value).decode()
    if isinstance(field, models.DateTimeField):
        return lambda value, connection: connection.ops.adapt_datetimefield_value(value)
    if isinstance(field, models.UUIDField):
        return lambda value, connection: value if connection.features.has_native_uuid_field else value.hex
    return None


_prepared: dict[str, tuple[_Insert, _Insert]] = {}


def _statements(connection: BaseDatabaseWrapper) -> tuple[_Insert, _Insert]:
    from audit.models import AuditEntry, AuditPersonal

    if connection.vendor not in _prepared:
        entry = _Insert(AuditEntry, connection)
        _prepared[connection.vendor] = (entry, _Insert(AuditPersonal, connection, after=entry))
    return _prepared[connection.vendor]
