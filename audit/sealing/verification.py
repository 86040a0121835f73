"""The database against all there is to check it by: MACs, hashes, the signed checkpoints, anchors, receipts.

It reads a few thousand rows at a time and holds no transaction, so that nobody waits for it. Below the newest checkpoint
at its beginning an honest log never changes; what lies above is looked at in single statements, each a moment of its own.
"""

import hmac
from bisect import bisect_right
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from hashlib import sha256
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils import timezone

from audit import verify
from audit.models import AuditEntry
from audit.sealing.events import TRAIL_TAMPERED, TRAIL_VERIFIED
from audit.sealing.keys import public_keys
from audit.sealing.models import Checkpoint, Leaf, Pending, Verification
from audit.sealing.proofs import full_subtrees
from audit.sealing.reading import Entry, entries, sealed
from audit.verify import Report, Unreadable, Walk

# What an erasure says in its `data`: {"positions": [[first, last], …]} of the entries that lost their personal part.
ERASED = "gdpr:erased"
RECENT_ANCHORS = 1 << 20  # bytes at the end of an anchor file, for a verification of what is new
RECEIPTS_AT_ONCE = 500


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


def verify_log(*, since_last: bool = False, anchors: list[str], receipts: list[str]) -> tuple[Report, Checkpoint | None]:
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
        self.report, self.anchors = report, anchors
        checkpoint_id, last = _row(
            "SELECT (SELECT max(id) FROM sealing_checkpoint), (SELECT max(position) FROM sealing_leaf)"
        )
        self.newest = Checkpoint.objects.filter(pk=checkpoint_id).first()
        self.end = 0 if last is None else last + 1
        self.report.size = max(self.end, self.newest.size if self.newest else 0)
        self.resumed = self._resume() if since_last else None

    def whole(self, receipts: list[str]) -> Checkpoint | None:
        self._walk()
        self._waiting()
        for kind, detail, query in (*STATEMENTS, *(SQLITE if connection.vendor == "sqlite" else ())):
            self._statement(kind, detail, query)
        for path in receipts:
            self._receipts(path)
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
            if verify.note_digest(found.note).hex() == done.verified_checkpoint:
                return found
        gone = f"the checkpoint of {done.verified_size} entries that was verified last is gone"
        self.report.problem("checkpoint_missing", done.verified_size, gone)
        return None

    def _walk(self) -> None:
        tree, start, previous, first_id = verify.Range(), 0, b"", 0
        if self.resumed is not None:
            start, previous, first_id = self.resumed.size, verify.note_digest(self.resumed.note), self.resumed.pk
            tree = _tree_of(self.resumed)
            if tree.root() != verify.Checkpoint.parse(self.resumed.note)[0].root:
                said = "its stored peaks do not give the root that it signs"
                self.report.problem("checkpoint_form", start, said)
        walk = Walk(tree, public_keys(), self.report, previous, gap=1 << 62)
        origins = {key.name for key in public_keys()}
        tail = RECENT_ANCHORS if self.resumed else 1 << 62
        known = merge(*(verify.anchored(path, origins, tail) for path in self.anchors), key=lambda one: one[0].size)
        walk.start(self._notes(first_id), (one for one in known if one[0].size > start or first_id == 0))
        erased = _erased_positions()
        for leaf in sealed(start, self.end):
            self.report.checked += 1
            if leaf.position != walk.size:
                gap = f"there are no entries from #{walk.size} to #{leaf.position - 1}"
                self.report.problem("leaf_gap", walk.size, gap)
                walk.skip_to(leaf.position)
            if leaf.entry is None:
                self.report.problem("entry_missing", leaf.position, f"the entry with id {leaf.entry_id} is gone")
            else:
                if verify.leaf_hash(leaf.entry.data) != leaf.hash:
                    self.report.problem("entry_changed", leaf.position, f"entry {leaf.entry.uid} is not as it was sealed")
                self._judge(leaf.entry, leaf.position, leaf.quarantined, erased)
            walk.push(leaf.hash)
        walk.end()
        self._nodes(start)

    def _judge(self, entry: Entry, position: int | None, quarantined: bool, erased: Callable[[int], bool]) -> None:
        report = self.report
        if mac_of(entry.data) != entry.mac:
            kind = "quarantined" if quarantined else "mac_wrong"
            report.problem(kind, position, f"entry {entry.uid} was not written, or not like this, by OpsSight")
        if entry.personal is None:
            if position is None or not erased(position):
                report.problem("personal_missing", position, f"entry {entry.uid} lost its personal part, and no erasure did it")
        elif verify.personal_digest(entry.personal["salt"], entry.personal["data"]) != entry.personal_digest:
            report.problem("personal_changed", position, f"the personal part of entry {entry.uid} is not the one it had")

    def _notes(self, first_id: int) -> Iterator[str]:
        if self.newest is None:
            return
        rows = Checkpoint.objects.filter(pk__gt=first_id, pk__lte=self.newest.pk).order_by("pk")
        for size, note in rows.values_list("size", "note").iterator():
            if note.split("\n", 2)[1:2] != [str(size)]:
                self.report.problem("checkpoint_form", size, f"a checkpoint is filed under {size} and says otherwise")
            yield note

    def _nodes(self, start: int) -> None:
        pass

    def _waiting(self) -> None:
        """What is not sealed yet has its MAC already."""
        for entry in entries(AuditEntry.objects.filter(pk__in=Pending.objects.values("pk")), {}):
            self._judge(entry, None, False, lambda position: False)

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
