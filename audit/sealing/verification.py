"""The database against all there is to check it by: MACs, hashes, the signed checkpoints, anchors, receipts.

It reads a few thousand rows at a time and holds no transaction, so that nobody waits for it. What was sealed before it
begins never changes in an honest log; all else is looked at in single statements, each a moment of its own.
"""

import gc
import hmac
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from heapq import merge
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connection
from django.utils import timezone

from audit import verify
from audit.models import AuditEntry
from audit.sealing import reading
from audit.sealing.entries import Read, read
from audit.sealing.events import TRAIL_TAMPERED, TRAIL_VERIFIED
from audit.sealing.keys import is_ours, public_keys
from audit.sealing.models import Checkpoint, Node, Pending, Verification
from audit.sealing.reading import personal_of, sealed
from audit.sealing.recount import Recount
from audit.sealing.tree import Growing
from audit.verify import Report, Unreadable, Walk

# What an erasure says in its `data`: {"positions": [[first, last], …]} of the entries that lost their personal part.
ERASED = "gdpr:erased"
RECENT_ANCHORS = 1 << 20  # bytes at the end of an anchor file, for a verification of what is new
RECEIPTS_AT_ONCE, WAITING_AT_ONCE, NODES_AT_ONCE = 500, 4_000, 1_000


@cache
def verifier_digest() -> str:
    """SHA-256 of the verifier that is served at /verify.py, 64 hex characters."""
    return sha256(Path(verify.__file__).read_bytes()).hexdigest()


def mac_of(data: bytes) -> str:
    return hmac.digest(settings.TRAIL_KEY.encode(), data, "sha256").hex()


# --- verifying and keeping the result -----------------------------------------------------------------------------


def verify_and_keep(*, since_last: bool = False, anchors: list[str] | None = None,
                    receipts: list[str] | None = None) -> Report:  # fmt: skip
    """Verify, keep the result for the console, and tell the trail of what is wrong, once until it changes."""
    scope = Verification.Scope.NEW if since_last else Verification.Scope.FULL
    started_at = timezone.now()
    report, upto = verify_log(since_last=since_last, anchors=anchors or [], receipts=receipts or [])
    before = Verification.objects.filter(scope=scope).first()
    values: dict[str, Any] = {
        "verdict": report.verdict,
        "started_at": started_at,
        "at": timezone.now(),
        **{name: getattr(report, name) for name in ("size", "checked", "anchored", "counts", "problems", "error")},
    }
    if report.verdict == "ok":
        digest = verify.note_digest(upto.note).hex() if upto else ""
        values |= {"verified_size": report.size, "verified_at": started_at, "verified_checkpoint": digest}
    Verification.objects.update_or_create(scope=scope, defaults=values)
    if report.verdict == "tampered" and (before is None or before.problems != report.problems):
        TRAIL_TAMPERED.emit(scope=scope.value, size=report.size, problems=report.counts)
    if report.verdict == "ok" and (scope == Verification.Scope.FULL or (before and before.verdict != "ok")):
        TRAIL_VERIFIED.emit(scope=scope.value, size=report.size, checked=report.checked, checkpoint=digest)
    return report


def verify_log(
    *, since_last: bool = False, anchors: list[str], receipts: list[str]
) -> tuple[Report, Checkpoint | None]:
    """The report, and the checkpoint up to which it went. What can't be read is an error in the report."""
    report = Report()
    newest = None
    try:
        report.key = public_keys()[0]
        newest = _Run(report, since_last, [*_configured_anchor(), *anchors]).whole(receipts)
    except Unreadable as error:
        report.error = str(error)
    return report, newest


def verify_bundle(path: str, *, anchors: list[str], receipts: list[str]) -> Report:
    """A bundle, by this server's own keys and MACs."""
    return verify.check(path, verify.Evidence(public_keys(), [*_configured_anchor(), *anchors], receipts, mac_of))


def _configured_anchor() -> list[str]:
    """The anchor file of the settings. Unreadable where it is gone and was there before."""
    path = settings.ANCHOR_FILE
    if not path or Path(path).exists():
        return [path] if path else []
    if Verification.objects.filter(anchored__gt=0).exists():
        raise Unreadable(f"the anchor file {path!r} is gone: bring it back, or verify against another with --anchor")
    return []


# --- one run ------------------------------------------------------------------------------------------------------


class _Run:
    def __init__(self, report: Report, since_last: bool, anchors: list[str]) -> None:
        self.report, self.anchors, self.keys, self.erased = report, anchors, public_keys(), Erased()
        checkpoint_id, last = _row(
            "SELECT (SELECT max(id) FROM sealing_checkpoint), (SELECT max(position) FROM sealing_leaf)"
        )
        self.newest = Checkpoint.objects.filter(pk=checkpoint_id).first()
        self.end = 0 if last is None else last + 1
        self.report.size = max(self.end, self.newest.size if self.newest else 0)
        self.resumed = self._resume() if since_last else None
        self.recount = Recount()

    def whole(self, receipts: list[str]) -> Checkpoint | None:
        with _what_lives_stays():
            self._walk()
        self._waiting()
        for kind, detail, query in (*STATEMENTS, *(SQLITE if connection.vendor == "sqlite" else ())):
            self._statement(kind, detail, query)
        for path in receipts:
            self._receipts(path)
        if self.resumed is None:
            for difference in self.recount.differences():
                self.report.problem("rollup_wrong", None, str(difference))
        return self.newest

    def _resume(self) -> Checkpoint | None:
        """The checkpoint that the last good verification ended with, if it is still what it was."""
        done = Verification.objects.furthest()
        if done is None:
            return None
        if done.verified_size > self.report.size:
            gone = f"on {done.verified_at:%Y-%m-%d %H:%M} there were {done.verified_size}, and there are {self.end}"
            self.report.problem("tail_missing", self.end, gone)
        for found in Checkpoint.objects.filter(size=done.verified_size).order_by("-pk"):
            if verify.note_digest(found.note).hex() == done.verified_checkpoint and fits(found):
                return found
        gone = f"the checkpoint of {done.verified_size} entries that was verified last is gone or changed"
        self.report.problem("checkpoint_missing", done.verified_size, gone)
        return None

    def _walk(self) -> None:
        tree, start, previous, first_id = Growing(), 0, b"", 0
        if self.resumed is not None:
            tree = Growing(self.resumed.size, bytes(self.resumed.peaks))
            start, previous, first_id = tree.size, verify.note_digest(self.resumed.note), self.resumed.pk
        walk = Walk(tree, self.keys, self.report, previous, gap=1 << 62)
        walk.newest = verify.Checkpoint.parse(self.resumed.note)[0] if self.resumed else None
        origins = {key.name for key in self.keys}
        tail = RECENT_ANCHORS if self.resumed else 1 << 62
        anchors = merge(*(verify.anchored(path, origins, tail) for path in self.anchors), key=lambda one: one[0].size)
        walk.start(self._notes(first_id), (one for one in anchors if not self.resumed or one[0].size > start))
        for leaf in sealed(start, self.end):
            self.report.checked += 1
            if self.resumed is None:
                self.recount.add(leaf.position, leaf.entry.row if leaf.entry else None)
            if leaf.position != walk.size:
                gone = f"there are no entries from #{walk.size} to #{leaf.position - 1}"
                self.report.problem("leaf_gap", walk.size, gone)
                walk.skip_to(leaf.position)
            if leaf.entry is None:
                self.report.problem("entry_missing", leaf.position, f"the entry with id {leaf.entry_id} is gone")
            else:
                if verify.leaf_hash(leaf.entry.data) != leaf.hash:
                    self.report.problem("entry_changed", leaf.position, f"{_name(leaf.entry)} is not as it was sealed")
                self._judge(leaf.entry, leaf.personal, leaf.position, quarantined=leaf.quarantined)
            walk.push(leaf.hash)
            if len(tree.completed) > NODES_AT_ONCE:
                self._nodes(tree)
        walk.end()
        if walk.whole:
            self._nodes(tree)

    def _judge(self, entry: Read, personal: Any, position: int | None, *, quarantined: bool = False) -> None:
        if not entry.genuine:
            kind = "quarantined" if quarantined else "mac_wrong"
            self.report.problem(kind, position, f"OpsSight did not write {_name(entry)} so")
        if entry.row is None:
            return
        if personal is None:
            if not self.erased.covers(position):
                gone = f"{_name(entry)} has no personal part, and no erasure tells why"
                self.report.problem("personal_missing", position, gone)
        elif not reading.fits(personal, entry.row.personal_digest):
            said = f"the personal part of {_name(entry)} is not the one it had"
            self.report.problem("personal_changed", position, said)

    def _nodes(self, tree: Growing) -> None:
        """The stored nodes are what was computed. Proofs are made of them."""
        for level in {level for level, _, _ in tree.completed}:
            wanted = {position: digest for at, position, digest in tree.completed if at == level}
            rows = Node.objects.filter(level=level, position__gte=min(wanted), position__lte=max(wanted))
            stored = {position: bytes(digest) for position, digest in rows.values_list("position", "hash")}
            if stored != wanted:
                first = min(at for at in stored.keys() | wanted.keys() if stored.get(at) != wanted.get(at))
                said = f"the stored node of level {level} at {first} is not that of its entries"
                self.report.once("root_wrong", first << level, said)
        tree.completed.clear()

    def _notes(self, first_id: int) -> Iterator[str]:
        if self.newest is None:
            return
        rows = Checkpoint.objects.filter(pk__gt=first_id, pk__lte=self.newest.pk).order_by("pk")
        for size, note in rows.values_list("size", "note").iterator():
            if note.split("\n", 2)[1:2] != [str(size)]:
                self.report.problem("checkpoint_form", size, f"a checkpoint is filed under {size} and says otherwise")
            yield note

    def _waiting(self) -> None:
        """What is not sealed yet has its MAC already."""
        waiting = Pending.objects.order_by("pk").values_list("pk", flat=True).iterator()
        while ids := list(islice(waiting, WAITING_AT_ONCE)):
            sides = personal_of(ids)
            for entry in read(ids, using=DEFAULT_DB_ALIAS):
                self._judge(entry, sides.get(entry.id), None)

    def _statement(self, kind: str, detail: str, query: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(query)
            while rows := cursor.fetchmany(1_000):
                for (value,) in rows:
                    self.report.problem(kind, None, detail.format(value))

    def _receipts(self, path: str) -> None:
        lines = verify.told(path, "uid", "mac", "time")
        while batch := list(islice(lines, RECEIPTS_AT_ONCE)):
            found = dict(AuditEntry.objects.filter(uid__in={uid for uid, _, _ in batch}).values_list("uid", "mac"))
            macs = {str(uid): mac for uid, mac in found.items()}
            for uid, mac, at in batch:
                if macs.get(uid) != mac:
                    said = f"the entry {uid}, written {at}, is not here as it was"
                    self.report.problem("receipt_missing", None, said)


@contextmanager
def _what_lives_stays() -> Iterator[None]:
    """Else chunk after chunk makes the garbage collector look at all of Django again, at a quarter more time."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def fits(checkpoint: Checkpoint) -> bool:
    """Whether what is stored beside the note is what the note signs."""
    try:
        signed, tree = verify.Checkpoint.parse(checkpoint.note)[0], Growing(checkpoint.size, bytes(checkpoint.peaks))
        return is_ours(checkpoint.note) and (signed.size, signed.root) == (tree.size, tree.root())
    except ValueError:
        return False


class Erased:
    """The positions whose personal part may be gone: what genuine entries tell of erasures."""

    def __init__(self) -> None:
        self.newest: int | None = None
        self.starts: list[int] = []
        self.reach: list[int] = []

    def covers(self, position: int | None) -> bool:
        if position is None:
            return False
        if not self._covers(position):
            self._read()  # it may have been erased a moment ago
        return self._covers(position)

    def _covers(self, position: int) -> bool:
        before = bisect_right(self.starts, position)
        return before > 0 and self.reach[before - 1] >= position

    def _read(self) -> None:
        ids = list(AuditEntry.objects.filter(event=ERASED, pk__gt=self.newest or 0).values_list("pk", flat=True))
        if not ids:
            return
        genuine = [entry.id for entry in read(ids, using=DEFAULT_DB_ALIAS) if entry.genuine]
        told = AuditEntry.objects.filter(pk__in=genuine).values_list("additional_data", flat=True)
        spans = [(int(first), int(last)) for data in told for first, last in data["positions"]]
        spans = sorted([*spans, *zip(self.starts, self.reach, strict=True)])
        self.newest, self.starts = max(ids), [first for first, _ in spans]
        self.reach = list(accumulate((last for _, last in spans), max))


def _name(entry: Read) -> str:
    return f"entry {entry.row.uid}" if entry.row else f"the unreadable entry with id {entry.id}"


def _row(query: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()


# Each is one statement, and so one moment: sealing moves an entry from the outbox to the leaves in one transaction.
STATEMENTS = (
    (
        "entry_not_in_log",
        "the entry with id {} has no position and does not wait for one",
        "SELECT e.id FROM audit_auditentry e"
        " WHERE NOT EXISTS (SELECT 1 FROM sealing_leaf l WHERE l.entry_id = e.id AND l.position >= 0)"
        " AND NOT EXISTS (SELECT 1 FROM sealing_pending p WHERE p.entry_id = e.id)",
    ),
    (
        "pending_without_entry",
        "an entry with id {} waits to be sealed, and is gone",
        "SELECT p.entry_id FROM sealing_pending p"
        " WHERE NOT EXISTS (SELECT 1 FROM audit_auditentry e WHERE e.id = p.entry_id)",
    ),
    (
        "entry_twice",
        "the entry with id {} has several positions",
        "SELECT entry_id FROM sealing_leaf GROUP BY entry_id HAVING count(*) > 1",
    ),
)
# SQLite gives numbers without gaps, even where a transaction is rolled back, and keeps the last one.
SQLITE = (
    (
        "number_gap",
        "entries up to the one with id {} were removed",
        "SELECT e.id - 1 FROM audit_auditentry e"
        " WHERE e.id > 1 AND NOT EXISTS (SELECT 1 FROM audit_auditentry b WHERE b.id = e.id - 1)"
        " UNION ALL SELECT seq FROM sqlite_sequence WHERE name = 'audit_auditentry'"
        " AND seq > (SELECT coalesce(max(id), 0) FROM audit_auditentry)",
    ),
)
