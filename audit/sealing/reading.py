"""The log in the order of its positions, a few thousand at a time: each leaf with its entry and side row."""

from collections import namedtuple
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import orjson
from django.db import DEFAULT_DB_ALIAS
from django.db.models import TextField
from django.db.models.functions import Cast

from audit import verify
from audit.models import AuditPersonal
from audit.sealing.entries import UNREADABLE, Read, among, read
from audit.sealing.models import Leaf

CHUNK = 4_000
Personal = dict[str, Any]  # {"data", "salt"}, as a bundle holds it
_Side = namedtuple("_Side", ["data", "address"])  # what `content` asks a side row for


class Sealed(NamedTuple):
    """`entry` and `personal` are None where they are gone."""

    position: int
    hash: bytes
    quarantined: bool
    entry_id: int
    entry: Read | None
    personal: Personal | None


def sealed(start: int, end: int) -> Iterator[Sealed]:
    """Positions from `start` to before `end`, as far as there are leaves. Each chunk is read at a moment of its own."""
    for first in range(start, end, CHUNK):
        here = Leaf.objects.filter(position__gte=first, position__lt=min(first + CHUNK, end)).order_by("position")
        leaves = list(here.values_list("position", "hash", "quarantined", "entry_id"))
        ids = sorted(entry_id for *_, entry_id in leaves)
        entries = {entry.id: entry for entry in read(ids, using=DEFAULT_DB_ALIAS)}
        sides = personal_of(ids)
        for position, digest, quarantined, entry_id in leaves:
            yield Sealed(position, bytes(digest), quarantined, entry_id, entries.get(entry_id), sides.get(entry_id))


def personal_of(ids: Sequence[int]) -> dict[int, Personal]:
    """The side rows of entries. One that can't be read fits no digest, and must not stop the others."""
    rows = among(AuditPersonal.objects.all(), "entry_id", ids).annotate(text=Cast("data", TextField()))
    try:
        return {
            entry_id: {"data": AuditPersonal.content(_Side(orjson.loads(text), address)), "salt": salt}  # type: ignore[arg-type]
            for entry_id, salt, address, text in rows.values_list("entry_id", "salt", "address", "text")
        }
    except UNREADABLE:
        if len(ids) == 1:
            return {ids[0]: {"data": None, "salt": ""}}
    half = len(ids) // 2
    return personal_of(ids[:half]) | personal_of(ids[half:])


def fits(personal: Personal, digest: str) -> bool:
    """Whether `digest` is that of the side row: quickly, and where it is not, by its definition."""
    try:
        salt, data = personal["salt"], personal["data"]
        if sha256(bytes.fromhex(salt) + orjson.dumps(data, option=orjson.OPT_SORT_KEYS)).hexdigest() == digest:
            return True
        return verify.personal_digest(salt, data) == digest
    except UNREADABLE:
        return False
