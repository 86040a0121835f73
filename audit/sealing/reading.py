"""The log in the order of its positions, a few thousand at a time: each leaf with its entry and side row."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS

from audit.models import AuditPersonal
from audit.sealing.entries import Read, read
from audit.sealing.models import Leaf

CHUNK = 4_000


@dataclass(frozen=True, slots=True)
class Sealed:
    """`entry` is None where it is gone. `personal` is as a bundle holds it, None where it is gone."""

    position: int
    hash: bytes
    quarantined: bool
    entry_id: int
    entry: Read | None
    personal: dict[str, Any] | None


def sealed(start: int, end: int) -> Iterator[Sealed]:
    """Positions from `start` to before `end`, as far as there are leaves. Each chunk is read at a moment of its own."""
    for first in range(start, end, CHUNK):
        here = Leaf.objects.filter(position__gte=first, position__lt=min(first + CHUNK, end)).order_by("position")
        leaves = list(here.values_list("position", "hash", "quarantined", "entry_id"))
        ids = [entry_id for *_, entry_id in leaves]
        entries = {entry.id: entry for entry in read(ids, using=DEFAULT_DB_ALIAS)}
        sides = personal_of(ids)
        for position, digest, quarantined, entry_id in leaves:
            yield Sealed(position, bytes(digest), quarantined, entry_id, entries.get(entry_id), sides.get(entry_id))


def personal_of(ids: list[int]) -> dict[int, dict[str, Any]]:
    sides = AuditPersonal.objects.filter(entry_id__in=ids)
    return {side.entry_id: {"data": side.content(), "salt": side.salt} for side in sides}
