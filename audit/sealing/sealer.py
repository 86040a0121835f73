"""The sealer: gives each committed entry its place in the log, and signs what the log is then.

A batch is one transaction, and one sealer works at a time. Ended at any point, it leaves everything as it was or
everything done; nobody who writes entries waits for it.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, IntegrityError, ProgrammingError, connections, transaction
from django.utils import timezone
from psycopg.errors import InsufficientPrivilege

from audit.canonical import instant
from audit.models import AuditEntry
from audit.rollups.services import count
from audit.sealing.entries import Read, read
from audit.sealing.events import QUARANTINED, STOPPED
from audit.sealing.keys import is_ours, signed_note
from audit.sealing.models import Checkpoint, Leaf, Node, Pending
from audit.sealing.tree import Growing
from audit.verify import Checkpoint as Note
from audit.verify import leaf_hash, note_digest

BATCH = 5000  # on SQLite, writers wait while a batch is sealed: about a fifth of a second
HEARTBEAT = timedelta(hours=1)  # a checkpoint comes at least this often, so that its absence says something
LATE = timedelta(minutes=2)
NAMED = 20  # positions that an event lists; the log has them all
LOCK = 0x6F70737365616C  # of one sealer in one PostgreSQL database

log = logging.getLogger("opssight.trail")


class CannotSeal(Exception):
    """This process may not, or the log is in no state to go on from; in words for an operator."""


class Unfit(CannotSeal):
    """What is stored does not fit the newest checkpoint: nothing is signed on top of that."""


def seal(*, wait: bool = False) -> int:
    """Seal all that waits, and return how many entries that were: none while another sealer is at it, unless `wait`.

    Where nothing waits, a checkpoint of the same size is signed every hour. CannotSeal where it can't be done.
    """
    if not _is_due():
        return 0
    sealed = 0
    try:
        while _is_due() and (done := _seal_batch(wait=wait)):
            sealed += done
    except Unfit as problem:
        _tell_stopped(str(problem))
        raise
    except ProgrammingError as error:
        if not isinstance(error.__cause__, InsufficientPrivilege):
            raise
        raise CannotSeal(
            "this process signs in to the database with a role that may not seal the trail; a worker of the queue "
            "`seal` with OPSSIGHT_SEALER_DATABASE_URL does that"
        ) from None
    _tell_quarantined()
    return sealed


def catch_up() -> bool:
    """Before a report or an export: seal what waits, where this process may. False where entries still wait."""
    try:
        seal(wait=True)
    except CannotSeal:
        return not Pending.objects.exists()
    return True


def problem(*, at: datetime) -> str:
    """Why the trail is not sealed as it should be, in words; empty where it is."""
    if Pending.objects.filter(entry__timestamp__lt=at - LATE).exists():
        return "entries wait to be sealed: is a worker of the queue `seal` running? manage.py seal_trail says more"
    newest = Checkpoint.objects.newest()
    if newest and newest.at < at - 2 * HEARTBEAT:
        return f"no checkpoint since {newest.at:%Y-%m-%d %H:%M} UTC: is a worker of the queue `seal` running?"
    return ""


# --- one batch ------------------------------------------------------------------------------------------------------


def _is_due() -> bool:
    """Seen without a lock, and all that is done when there is nothing to do."""
    alias = settings.TRAIL_DATABASE
    return Pending.objects.using(alias).exists() or _needs_heartbeat(Checkpoint.objects.using(alias).newest())


def _needs_heartbeat(newest: Checkpoint | None) -> bool:
    return newest is not None and timezone.now() - newest.at >= HEARTBEAT


def _seal_batch(*, wait: bool) -> int:
    alias = settings.TRAIL_DATABASE
    with _alone(wait=wait) as alone:
        if not alone:
            return 0
        newest, batch = Checkpoint.objects.using(alias).newest(), _waiting()
        if not batch and not _needs_heartbeat(newest):
            return 0
        tree = _tree(newest)
        try:
            _add(batch, tree)
            count((entry.row for entry in batch if entry.row), using=alias)
        except IntegrityError as error:
            raise Unfit(f"an entry or a position is in the log already ({str(error).splitlines()[0]})") from None
        _forget([entry.id for entry in batch])
        _sign(tree, newest)
    return len(batch)


@contextmanager
def _alone(*, wait: bool) -> Iterator[bool]:
    """A transaction of the one sealer; False where it is another's turn."""
    alias = settings.TRAIL_DATABASE
    with transaction.atomic(using=alias, durable=True):
        if connections[alias].vendor == "sqlite":  # there, a transaction begins with the one lock of all writers
            yield True
            return
        take = "pg_advisory_xact_lock" if wait else "pg_try_advisory_xact_lock"
        with connections[alias].cursor() as cursor:
            cursor.execute(f"SELECT {take}(%s)", [LOCK])
            [taken] = cursor.fetchone()
        yield wait or taken


def _waiting() -> list[Read]:
    """The first that wait. A row of the outbox whose entry is gone stays, as evidence, and is in nobody's way."""
    rows = Pending.objects.using(settings.TRAIL_DATABASE).order_by("pk").values_list("pk", flat=True)
    ids = list(rows[:BATCH])
    while ids:
        if found := read(ids, using=settings.TRAIL_DATABASE):
            return found
        ids = list(rows.filter(pk__gt=ids[-1])[:BATCH])
    return []


def _tree(newest: Checkpoint | None) -> Growing:
    """The tree of the newest checkpoint. Unfit where that is not ours, or not what is stored."""
    last = Leaf.objects.using(settings.TRAIL_DATABASE).order_by("-position").first()
    stored = last.position + 1 if last else 0
    if newest is None:
        tree = Growing()
    else:
        try:
            note, tree = Note.parse(newest.note)[0], Growing(newest.size, bytes(newest.peaks))
            fits = is_ours(newest.note) and (note.size, note.root) == (tree.size, tree.root())
        except ValueError:
            fits = False
        if not fits:
            raise Unfit("the newest checkpoint is changed, or signed with a key that is not in OPSSIGHT_TRAIL_OLD_KEYS")
    if tree.size != stored:
        raise Unfit(f"the newest checkpoint is of {tree.size} entries, and {stored} are stored")
    return tree


def _add(batch: Sequence[Read], tree: Growing) -> None:
    """Leaves and nodes of the batch; `tree` grows by them."""
    alias, first = settings.TRAIL_DATABASE, tree.size
    hashes = [leaf_hash(entry.data) for entry in batch]
    for digest in hashes:
        tree.push(digest)
    _insert_leaves(
        list(range(first, tree.size)),
        [entry.id for entry in batch],
        hashes,
        [not entry.genuine for entry in batch],
    )
    Node.objects.using(alias).bulk_create(
        Node(level=level, position=position, hash=digest) for level, position, digest in tree.completed
    )


def _insert_leaves(*columns: list[Any]) -> None:
    """Column by column, in a fifth of the time that the ORM needs for as many objects."""
    connection = connections[settings.TRAIL_DATABASE]
    insert = "INSERT INTO sealing_leaf (position, entry_id, hash, quarantined)"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            arrays = " SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bytea[], %s::boolean[])"
            cursor.execute(insert + arrays, columns)
        else:
            cursor.executemany(insert + " VALUES (%s, %s, %s, %s)", list(zip(*columns, strict=True)))


def _forget(ids: list[int]) -> None:
    """Take the batch out of the outbox: by its ids, as others with ids between them may have been committed since."""
    connection, delete = connections[settings.TRAIL_DATABASE], "DELETE FROM sealing_pending WHERE entry_id = "
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(delete + "ANY(%s)", [ids])
        else:
            cursor.executemany(delete + "%s", [(pk,) for pk in ids])


def _sign(tree: Growing, newest: Checkpoint | None) -> None:
    # The log's own time never goes back, whatever the clock does.
    at = max(timezone.now(), newest.at) if newest else timezone.now()
    previous = note_digest(newest.note) if newest else b""
    note = signed_note(Note(settings.TRAIL_ORIGIN, tree.size, tree.root(), instant(at), previous))
    Checkpoint(size=tree.size, at=at, note=note, peaks=tree.packed()).save(using=settings.TRAIL_DATABASE)


# --- what went wrong is an entry too --------------------------------------------------------------------------------


def _tell_quarantined() -> None:
    """One event for entries sealed with a wrong MAC that none has told of: also after a sealer that came to its end
    before it could."""
    found = Leaf.objects.filter(quarantined=True).order_by("position").values_list("position", flat=True)
    if not found.exists():
        return
    positions = list(found.filter(position__gt=_told_to())[: NAMED + 1])
    if positions:
        last, rest = found.last(), found.filter(position__gt=positions[-1]).count()
        log.critical("%d entries have a wrong MAC, from position %d on", len(positions) + rest, positions[0])
        QUARANTINED.emit(positions=positions[:NAMED], last=last, count=len(positions) + rest)


def _told_to() -> int:
    """Up to which position quarantined entries are told of, by events that we wrote ourselves."""
    ids = AuditEntry.objects.filter(event=QUARANTINED.name).order_by("-pk").values_list("pk", flat=True)
    for pk in ids.iterator(chunk_size=100):
        for entry in read([pk], using=DEFAULT_DB_ALIAS):
            if entry.genuine:
                return int(json.loads(entry.data)["data"]["last"])
    return -1


def _tell_stopped(reason: str) -> None:
    """Once for each standstill: while it lasts there is no new checkpoint."""
    newest, told = Checkpoint.objects.newest(), AuditEntry.objects.filter(event=STOPPED.name)
    if not (told.filter(timestamp__gt=newest.at) if newest else told).exists():
        STOPPED.emit(success=False, error=reason)
