"""Entries as the sealer reads them: sets of rows, quickly, and one by one where something is wrong.

What an entry's bytes are is defined by `canonical(entry.covered())`. The quick way makes the same from a row without a
model instance, with orjson in a third of the time. An honest entry's MAC was made from those bytes, so it shows whether
the quick way got them right; where it does not fit, the definition decides.
"""

import hmac
from collections import namedtuple
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, NamedTuple

import orjson
from django.conf import settings
from django.db import DataError, connections
from django.db.models import BooleanField, JSONField, TextField
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast

from audit.canonical import canonical, instant
from audit.models import COVERED, AuditEntry

# What a row that no honest writer made can raise: a float beyond all bounds, a time after the year 9999, a lone
# surrogate, a hundred thousand brackets, a schema that there is not, and on SQLite text or bytes in any column.
UNREADABLE = (ValueError, TypeError, ArithmeticError, AttributeError, LookupError, RecursionError, DataError)

_fields = AuditEntry._meta.concrete_fields
PLAIN = [field.attname for field in _fields if not isinstance(field, JSONField)]
JSON = [field.attname for field in _fields if isinstance(field, JSONField)]
# Not kept with a batch: so much JSON would keep the garbage collector as busy as all the rest.
BULKY = ("changes", "additional_data")
ALL = [*PLAIN, *JSON]
KEPT = [name for name in ALL if name not in BULKY]
Row = namedtuple("Row", KEPT)  # type: ignore[misc]


def _taken(columns: Iterable[str]) -> "itemgetter[Any]":
    return itemgetter(*map(ALL.index, columns))


_kept, _id, _mac = _taken(KEPT), ALL.index("id"), ALL.index("mac")
_schema, _uid, _timestamp = (ALL.index(name) for name in ("schema_v", "uid", "timestamp"))
_covered = {schema: (list(names), _taken(names.values())) for schema, names in COVERED.items()}


class Read(NamedTuple):
    """One entry: `data` are its canonical bytes, `row` its columns by name, but for BULKY (None if unreadable)."""

    id: int
    data: bytes
    genuine: bool  # the MAC is right
    row: Any


def read(ids: Sequence[int], *, using: str) -> list[Read]:
    """The entries of `ids` that are there, in the order of their ids.

    One that can't be read is not genuine, and stands in the log as `{"unreadable": id}`: it must not stop the others.
    """
    try:
        found = list(_quickly(ids, using=using))
    except UNREADABLE:
        if len(ids) == 1:
            return [_carefully(ids[0], using=using)]
        half = len(ids) // 2
        return read(ids[:half], using=using) + read(ids[half:], using=using)
    return [entry if entry.genuine else _carefully(entry.id, using=using) for entry in found]


def _quickly(ids: Sequence[int], *, using: str) -> Iterator[Read]:
    sqlite = connections[using].vendor == "sqlite"
    as_text = {*JSON, "uid", *(("timestamp",) if sqlite else ())}
    texts = {f"{name}_text": Cast(name, TextField()) for name in ALL if name in as_text}
    rows = among(AuditEntry.objects.using(using), "id", ids).order_by("pk").annotate(**texts)
    key, json_from = settings.TRAIL_KEY.encode(), len(PLAIN)
    for found in rows.values_list(*(f"{name}_text" if name in as_text else name for name in ALL)):
        values = [*found[:json_from], *(None if text is None else orjson.loads(text) for text in found[json_from:])]
        if sqlite:  # as it is stored there; the ORM's own way costs as much as all the rest of an entry
            values[_uid] = _dashed(values[_uid])
            values[_timestamp] = _moment(values[_timestamp])
        data = _bytes(values)
        yield Read(values[_id], data, _fits(values[_mac], data, key), Row._make(_kept(values)))


def _moment(text: str) -> datetime:
    """A text with a zone is not how moments are stored, and would be another one to who reads it."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is not None:
        raise ValueError("a moment with a zone")
    return at.replace(tzinfo=UTC)


def _dashed(uid: str) -> str:
    return f"{uid[:8]}-{uid[8:12]}-{uid[12:16]}-{uid[16:20]}-{uid[20:]}"


def _bytes(values: Sequence[Any]) -> bytes:
    """`canonical(covered(…))`, the quick way."""
    names, columns_of = _covered[values[_schema]]
    content = dict(zip(names, columns_of(values), strict=True))
    content["timestamp"] = instant(content["timestamp"])
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)


def among(rows: Any, column: str, ids: Sequence[int]) -> Any:
    """Those whose `column` is among `ids`, at most two parameters for thousands: each costs as much as reading its row.

    Neighbours, as most are, are found by their ends; others by one array, where the database has such.
    """
    if ids and len(ids) == len(set(ids)) == max(ids) - min(ids) + 1:
        return rows.filter(**{f"{column}__gte": min(ids), f"{column}__lte": max(ids)})
    if connections[rows.db].vendor == "postgresql":
        here = f"{rows.model._meta.db_table}.{column} = ANY(%s::bigint[])"
        return rows.filter(RawSQL(here, [list(ids)], BooleanField()))  # noqa: S611  (names of our own)
    return rows.filter(**{f"{column}__in": ids})


def _carefully(pk: int, *, using: str) -> Read:
    try:
        entry = AuditEntry.objects.using(using).get(pk=pk)
        data = canonical(entry.covered())
        return Read(pk, data, _fits(entry.mac, data, settings.TRAIL_KEY.encode()), entry)
    except UNREADABLE:
        return Read(pk, canonical({"unreadable": pk}), False, None)


def _fits(mac: Any, data: bytes, key: bytes) -> bool:
    made = hmac.digest(key, data, "sha256").hex()
    return isinstance(mac, str) and mac.isascii() and hmac.compare_digest(made, mac)
