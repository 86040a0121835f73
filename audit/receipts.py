"""Receipts: for each committed entry a line of the log with its uid and MAC.

Between commit and sealing, an entry could be deleted together with its row in the outbox and nothing would tell. A log
that is collected elsewhere still has the receipt, and verification reports an entry that is missing.
"""

import logging
from collections.abc import Iterable
from functools import partial

from django.db import DEFAULT_DB_ALIAS, transaction

log = logging.getLogger("opssight.receipt")


def promise(entries: Iterable[tuple[str, str]], *, using: str = DEFAULT_DB_ALIAS) -> None:
    """Write receipts of (uid, mac) once the transaction that holds the entries is committed."""
    if log.isEnabledFor(logging.INFO):
        transaction.on_commit(partial(_write, list(entries)), using=using, robust=True)


def _write(entries: list[tuple[str, str]]) -> None:
    for uid, mac in entries:
        log.info("entry committed", extra={"said": {"uid": uid, "mac": mac}})
