"""The log in order of position, a few thousand entries at a time: the entry behind each leaf, and its side row."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from audit import verify
from audit.models import AuditEntry
from audit.sealing.models import Leaf

CHUNK = 4_000


@dataclass(frozen=True, slots=True)
class Entry:
    """`data` are its canonical bytes, `personal` its side row as a bundle holds it, None where it is gone."""

    pk: int
    uid: str
    event: str
    data: bytes
    mac: str
    personal_digest: str
    personal: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Sealed:
    position: int
    hash: bytes
    quarantined: bool
    entry_id: int
    entry: Entry | None


def sealed(start: int, end: int) -> Iterator[Sealed]:
    """Leaves from position `start` to before `end`, with their entries. Each chunk is read as of its own moment."""
    for first in range(start, end, CHUNK):
        here = Leaf.objects.filter(position__gte=first, position__lt=min(first + CHUNK, end))
        leaves = here.order_by("position").values_list("position", "hash", "quarantined", "entry_id")
        rows = AuditEntry.objects.filter(leaf__in=here).select_related("personal").order_by()
        entries = {row.pk: _entry(row) for row in rows}
        for position, digest, quarantined, entry_id in leaves:
            yield Sealed(position, bytes(digest), quarantined, entry_id, entries.get(entry_id))


def _entry(row: AuditEntry) -> Entry:
    side = getattr(row, "personal", None)
    personal = {"data": row.person, "salt": side.salt} if side else None
    data = verify.canonical(row.covered())
    return Entry(row.pk, str(row.uid), row.event, data, row.mac, row.personal_digest, personal)
