"""Entries as the sealer reads them: sets of rows, without a model instance for each."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import DataError

from audit.canonical import canonical
from audit.models import AuditEntry, covered

# What a row that no honest writer made can raise: a float beyond all bounds, a time after the year 9999, a lone
# surrogate, a hundred thousand brackets, and on SQLite text or bytes in any column.
UNREADABLE = (ValueError, TypeError, ArithmeticError, AttributeError, RecursionError, DataError)
COLUMNS = [field.attname for field in AuditEntry._meta.concrete_fields]


@dataclass(frozen=True, slots=True)
class Read:
    """One entry: `data` are its canonical bytes, `row` its columns by name (None where it can't be read)."""

    id: int
    data: bytes
    genuine: bool  # the MAC is right
    row: Any


def read(ids: Sequence[int], *, using: str) -> list[Read]:
    """The entries of `ids` that are there, in the order of their ids.

    One that can't be read is not genuine, and stands in the log as `{"unreadable": id}`; it must not stop the others.
    """
    rows = AuditEntry.objects.using(using).filter(pk__in=ids).order_by("pk").values_list(*COLUMNS, named=True)
    try:
        return [_read(row) for row in rows]
    except UNREADABLE:
        if len(ids) == 1:
            return [Read(ids[0], canonical({"unreadable": ids[0]}), False, None)]
    half = len(ids) // 2
    return read(ids[:half], using=using) + read(ids[half:], using=using)


def _read(row: Any) -> Read:
    data = canonical(covered(row._asdict()))
    mac = hmac.digest(settings.TRAIL_KEY.encode(), data, "sha256").hex()
    return Read(row.id, data, hmac.compare_digest(mac, row.mac), row)
