"""Check what was exported of OpsSight's trail: one file, standard library and `cryptography`, nothing of OpsSight.

    python verify.py BUNDLE.zip --key VKEY [--anchor FILE ...] [--receipts FILE ...] [--json]
    python verify.py PROOF.json --key VKEY

The trail is a Merkle tree (RFC 6962 section 2.1): each entry is a leaf, in the order of sealing. A checkpoint is a note
(C2SP tlog-checkpoint, signed-note) that binds the number of entries and the root of the tree, signed with Ed25519. An
anchor is a checkpoint that was kept elsewhere at the time, a receipt the line of the log that tells of one entry.

Who changes an entry breaks its hash, and the root. Who makes all hashes anew needs the signing key. Who has that key,
or goes back to an older state, contradicts the anchors; who removes an entry before it is sealed, the receipts. So the
key, the anchors and the receipts must come from elsewhere than the bundle.

Exit code 0: all of it holds. 1: something does not. 2: usage. 3: it can't be read, so nothing is known.
"""

import argparse
import base64
import hashlib
import io
import json
import re
import sqlite3
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from heapq import merge
from itertools import chain
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

BUNDLE, ENTRY_PROOF, GROWTH_PROOF = "opssight-trail/1", "opssight-proof/1", "opssight-consistency/1"
MANIFEST, FILES = ["manifest.json", "manifest.sig"], ["README.txt", "checkpoints.txt", "entries.jsonl"]
BETWEEN_NOTES = "--\n"  # in checkpoints.txt, a line of its own
LIMIT = 1 << 24  # bytes of an entry, a note, a manifest, a proof
SHOWN = 100  # problems of one kind that are told one by one
EXIT_CODES = {"ok": 0, "tampered": 1, "error": 3}
# What hostile JSON, and a hostile zip file, may raise.
MALFORMED = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError, ValueError)


# --- the tree -------------------------------------------------------------------------------------------------------

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass
class Range:
    """A tree that grows at its right end and keeps only the roots of its full subtrees, the largest first.

    `peaks` are (level, hash): a subtree of level n has 2^n leaves. Their number is the number of ones in `size`.
    """

    peaks: list[tuple[int, bytes]] = field(default_factory=list)
    size: int = 0

    def push(self, digest: bytes, level: int = 0) -> None:
        """Append a leaf, or a full subtree of `level`; `size` must be a multiple of its number of leaves."""
        self.size += 1 << level
        while self.peaks and self.peaks[-1][0] == level:
            digest = node_hash(self.peaks.pop()[1], digest)
            level += 1
        self.peaks.append((level, digest))

    def root(self) -> bytes:
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1][1]
        for _, digest in reversed(self.peaks[:-1]):
            root = node_hash(digest, root)
        return root


def root_with(leaf: bytes, position: int, size: int, path: list[bytes]) -> bytes:
    """The root of the tree of `size` leaves in which `leaf` has `position`, by an inclusion proof (RFC 9162 2.1.3.2).

    ValueError where no proof for that place has this length.
    """
    node, last, root = position, size - 1, leaf
    for sibling in path:
        if last == 0:
            break
        if node & 1 or node == last:
            root = node_hash(sibling, root)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        node, last = node >> 1, last >> 1
    else:
        if last == 0 <= position < size:
            return root
    raise ValueError(f"this is no inclusion proof for position {position} of {size}")


def is_prefix(first: int, first_root: bytes, second: int, second_root: bytes, path: list[bytes]) -> bool:
    """Whether the tree of `second` leaves begins with that of `first`, by a consistency proof (RFC 9162 2.1.4.2)."""
    if first == 0 or first >= second:
        return not path and first_root == (EMPTY_ROOT if first == 0 else second_root) and first <= second
    if first & (first - 1) == 0:
        path = [first_root, *path]
    if not path:
        return False
    node, last, old, new = first - 1, second - 1, path[0], path[0]
    while node & 1:
        node, last = node >> 1, last >> 1
    for digest in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old, new = node_hash(digest, old), node_hash(digest, new)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, digest)
        node, last = node >> 1, last >> 1
    return (last, old, new) == (0, first_root, second_root)


# --- keys and checkpoints -------------------------------------------------------------------------------------------

ED25519 = b"\x01"


def decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@dataclass(frozen=True)
class Key:
    """A public key by name, written `name+id+base64(0x01 || key)` (C2SP signed-note). The name is the log's origin."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{encoded(ED25519 + self.public)}"

    @classmethod
    def parse(cls, text: str) -> "Key":
        """ValueError where `text` is no Ed25519 key of this form."""
        name, key_id, last = text.strip().split("+", 2)
        raw = decoded(last)
        key = cls(name, raw[1:])
        if name.split() != [name] or raw[:1] != ED25519 or len(raw) != 33 or key.id.hex() != key_id:
            raise ValueError("no Ed25519 key of the form name+id+base64, or its id does not fit")
        return key

    def signed(self, body: bytes, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, body)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True)
class Checkpoint:
    """What a note says: `size` entries with `root`, at `time`, after the note whose SHA-256 is `previous` (or none)."""

    origin: str
    size: int
    root: bytes
    time: str
    previous: bytes

    def body(self) -> str:
        """The signed text: origin, size and root, then two lines of our own."""
        root, previous = encoded(self.root), encoded(self.previous)
        return f"{self.origin}\n{self.size}\n{root}\ntime {self.time}\nprevious {previous}\n"

    @classmethod
    def parse(cls, note: str) -> tuple["Checkpoint", dict[tuple[str, bytes], bytes]]:
        """The checkpoint of a note and its signatures by (name, key id). ValueError where it is not written so."""
        body, separator, tail = note.partition("\n\n")
        origin, size, root, time, previous = body.split("\n")
        time, previous = time.removeprefix("time "), previous.removeprefix("previous ")
        found = cls(origin, int(size), decoded(root), time, decoded(previous))
        in_form = found.body() == body + "\n" and re.fullmatch(r"[\dT:.-]{19,26}Z", time) and found.size >= 0
        if not separator or not in_form or len(found.root) != 32 or len(found.previous) not in (0, 32):
            raise ValueError("the checkpoint is not in the one form that is signed")
        signatures = {}
        for line in tail.splitlines():
            dash, name, signature = line.split(" ")
            raw = decoded(signature)
            if dash != "\u2014" or len(raw) < 5:
                raise ValueError("a signature line is not in form")
            signatures[name, raw[:4]] = raw[4:]
        return found, signatures

    def signed_by(self, key: Key, signatures: dict[tuple[str, bytes], bytes]) -> bool:
        signature = signatures.get((key.name, key.id))
        return self.origin == key.name and signature is not None and key.signed(self.body().encode(), signature)


def note_digest(note: str) -> bytes:
    """What the next note names as its predecessor."""
    return hashlib.sha256(note.encode()).digest()


# --- what is found --------------------------------------------------------------------------------------------------


class Unreadable(Exception):
    """It is not what it should be, or can't be read: nothing is known of the trail."""


@dataclass
class Report:
    """`size`: entries of the log; `checked`: those looked at; `anchored`: the largest size that an anchor confirms.

    A problem's `position` is that of an entry, or the size of a checkpoint.
    """

    size: int = 0
    checked: int = 0
    anchored: int | None = None
    problems: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    key: Key | None = None
    error: str = ""

    def problem(self, kind: str, position: int | None, detail: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self.counts[kind] <= SHOWN:
            self.problems.append({"kind": kind, "position": position, "detail": detail})

    def once(self, kind: str, position: int | None, detail: str) -> None:
        """For what follows from itself: behind a wrong root all roots are wrong."""
        if kind not in self.counts:
            self.problem(kind, position, detail)

    @property
    def verdict(self) -> str:
        return "error" if self.error else "tampered" if self.problems else "ok"

    def as_json(self) -> dict[str, Any]:
        names = ("verdict", "size", "checked", "anchored", "problems", "counts", "error")
        return {**{name: getattr(self, name) for name in names}, "key": str(self.key or "")}


class Walk:
    """Grows the tree leaf by leaf, and compares it with the checkpoints and anchors of each size that it passes.

    `notes` are the log's own, oldest first. The first follows the note with the digest `previous`, where that is known;
    of those for more than `gap` entries some may be left out. `keys` are newest first: once a newer one has signed, an
    older one counts no more.
    """

    def __init__(self, tree: Range, keys: list[Key], report: Report, previous: bytes | None, gap: int) -> None:
        self.tree, self.size, self.keys, self.report = tree, tree.size, keys, report
        self.previous, self.gap, self.rank = previous, gap, len(keys) - 1
        self.whole = True  # no leaf is missing so far
        self.newest: Checkpoint | None = None
        self.here: set[str] = set()  # the notes of the newest one's size
        self.largest_anchor = 0

    def start(self, notes: Iterable[str], anchors: Iterable[tuple[Checkpoint, str]]) -> None:
        own = ((checkpoint, note, False) for checkpoint, note in self._in_form(notes))
        kept = ((checkpoint, note, True) for checkpoint, note in anchors)
        self.stops = merge(own, kept, key=lambda stop: stop[0].size)
        self.stop = next(self.stops, None)
        self.meet()

    def push(self, digest: bytes, level: int = 0) -> None:
        if self.whole:
            self.tree.push(digest, level)
        self.size += 1 << level
        if self.stop and self.stop[0].size <= self.size:
            self.meet()

    def skip_to(self, position: int) -> None:
        """Leaves are missing: from here on there is no root."""
        self.whole, self.size = False, max(position, self.size)
        self.meet()

    def meet(self) -> None:
        root = self.tree.root() if self.whole else b""
        while self.stop and self.stop[0].size <= self.size:
            checkpoint, note, is_anchor = self.stop
            (self._compare if is_anchor else self._judge)(checkpoint, note, root)
            self.stop = next(self.stops, None)

    def end(self) -> None:
        """All leaves are pushed. What tells of more of them tells that some are gone."""
        for checkpoint, note, is_anchor in chain([self.stop] if self.stop else [], self.stops):
            said = f"{checkpoint.size} entries on {checkpoint.time}, and there are {self.size}"
            if is_anchor:
                self.report.once("anchor_ahead", self.size, f"an anchor tells of {said}")
            else:
                self._judge(checkpoint, note, None)
                self.report.once("tail_missing", self.size, f"a checkpoint tells of {said}")
        signed = self.newest.size if self.newest else 0
        if signed < self.size:
            self.report.problem("unsigned_leaves", signed, f"no checkpoint binds the last {self.size - signed} entries")

    def _in_form(self, notes: Iterable[str]) -> Iterator[tuple[Checkpoint, str]]:
        for note in notes:
            try:
                yield Checkpoint.parse(note)[0], note
            except MALFORMED as error:
                self.report.problem("checkpoint_form", None, f"{error}: {note[:60]!r}")

    def _judge(self, checkpoint: Checkpoint, note: str, root: bytes | None) -> None:
        """A checkpoint of the log: signature, place in the chain, and the tree of its size."""
        report, size, newest = self.report, checkpoint.size, self.newest
        signatures = Checkpoint.parse(note)[1]
        rank = next((n for n, key in enumerate(self.keys) if checkpoint.signed_by(key, signatures)), None)
        if rank is None or rank > self.rank:
            by = "not signed by the key" if rank is None else "signed by a former key"
            report.problem("checkpoint_signature", size, f"the checkpoint of {size} entries is {by}")
        else:
            self.rank = rank
        if self.previous is not None and checkpoint.previous != self.previous and size <= self.gap:
            said = f"the checkpoint of {size} entries does not follow the one that stands before it"
            report.problem("checkpoint_chain", size, said)
        if newest and size < newest.size:
            report.problem("checkpoint_chain", size, f"a checkpoint of {size} entries follows one of {newest.size}")
        if newest and checkpoint.time < newest.time:
            report.problem("checkpoint_time", size, f"the checkpoint of {checkpoint.time} follows one of {newest.time}")
        if size == self.size and root is not None and root != checkpoint.root:
            since = newest.size if newest else 0
            report.once("root_wrong", since, f"the entries from #{since} to #{size - 1} are not those that were signed")
        if not newest or size != newest.size:
            self.here = set()
        self.here.add(note)
        self.newest, self.previous = checkpoint, note_digest(note)

    def _compare(self, anchor: Checkpoint, note: str, root: bytes) -> None:
        size, what = anchor.size, f"the anchor of {anchor.time} for {anchor.size} entries"
        if size < self.largest_anchor:
            self.report.once("anchor_differs", size, f"{what} stands behind a larger one: the log went back")
        elif size == self.size and anchor.root != root:
            signatures = Checkpoint.parse(note)[1]
            signed = any(anchor.signed_by(key, signatures) for key in self.keys)
            doubt = "" if signed else ", nor is it signed by the key: the anchor itself may be the forgery"
            self.report.once("anchor_differs", size, f"{what} is not of these entries{doubt}")
        elif size == self.size <= self.gap and note not in self.here:
            self.report.once("checkpoint_missing", size, f"{what} is not among the checkpoints")
        elif size == self.size:
            self.report.anchored = size
        self.largest_anchor = max(size, self.largest_anchor)


# --- anchors and receipts -------------------------------------------------------------------------------------------


def opened(path: str) -> io.BufferedReader:
    try:
        return open(path, "rb")
    except (OSError, ValueError) as error:
        raise Unreadable(f"{path!r} can't be read: {getattr(error, 'strerror', error)}") from None


def told(path: str, *names: str, tail: int = 1 << 62) -> Iterator[list[str]]:
    """What the JSON objects in a file, one a line, have under `names`; lines that are something else are left out.

    `tail`: only the last so many bytes. Unreadable where no line is one.
    """
    found = False
    with opened(path) as file:
        file.seek(max(0, file.seek(0, io.SEEK_END) - tail))
        while line := file.readline(LIMIT):
            try:
                said = json.loads(line)
                values = [str(said[name]) for name in names]
            except MALFORMED:
                continue
            found = True
            yield values
    if not found:
        raise Unreadable(f"{path!r} has no line with {' and '.join(names)}")


def anchored(path: str, origins: set[str], tail: int = 1 << 62) -> Iterator[tuple[Checkpoint, str]]:
    for (note,) in told(path, "note", tail=tail):
        try:
            checkpoint, _ = Checkpoint.parse(note)
        except MALFORMED:
            raise Unreadable(f"{path!r} holds an anchor that is no checkpoint: {note[:60]!r}") from None
        if checkpoint.origin in origins:
            yield checkpoint, note


# --- entries --------------------------------------------------------------------------------------------------------

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def canonical(values: Any) -> bytes:
    """The one way to write `values`: sorted keys, no spaces, UTF-8; RFC 8785 for what an entry may hold (no floats)."""
    return _encode(values).encode()


def personal_digest(salt: str, content: Any) -> str:
    """SHA-256 over salt and canonical JSON, 64 hex characters. The salt keeps short values from being guessed."""
    return hashlib.sha256(bytes.fromhex(salt) + canonical(content)).hexdigest()


def entry_line(position: int, entry: bytes, mac: str, personal: dict[str, Any] | None) -> bytes:
    """How a bundle holds the entry whose canonical bytes are `entry`; the line is canonical JSON too."""
    side = canonical(personal)
    return b'{"entry":%b,"mac":"%b","personal":%b,"position":%d}\n' % (entry, mac.encode(), side, position)


# --- a bundle -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Evidence:
    """What comes from elsewhere: the keys to trust, files of anchors and of receipts; on the server, an entry's MAC."""

    keys: list[Key] = field(default_factory=list)
    anchors: list[str] = field(default_factory=list)
    receipts: list[str] = field(default_factory=list)
    mac_of: Callable[[bytes], str] | None = None


class Bundle:
    """What a bundle says of itself: entries [start, end) of a log of `size`, and subtrees on either side of them."""

    def __init__(self, members: zipfile.ZipFile, raw: bytes, report: Report) -> None:
        """One of MALFORMED where `raw` is no manifest."""
        said = json.loads(raw)
        if said["format"] != BUNDLE:
            raise ValueError(f"its format is {said['format']!r:.40}, and this program reads {BUNDLE}")
        self.members, self.report = members, report
        self.keys = [Key.parse(text) for text in (said["key"], *said["old_keys"])]
        self.start, self.end, self.size, self.erased = (int(said[name]) for name in ("from", "to", "size", "erased"))
        self.before, self.after = ([(int(n), decoded(text)) for n, text in said[name]] for name in ("before", "after"))
        self.files = {name: (str(said["files"][name]["sha256"]), int(said["files"][name]["bytes"])) for name in FILES}
        self.exported_at = str(said["exported_at"])
        sane = all(0 <= level < 62 for level, _ in self.before + self.after)
        if not sane or not 0 <= self.start <= self.end <= self.size < 1 << 62:
            raise ValueError("its numbers do not fit each other")

    def lines(self, name: str) -> Iterator[bytes]:
        """The lines of a member; at its end, whether that was what the manifest says, all of it and no more."""
        digest, length, damage = hashlib.sha256(), 0, ""
        try:
            with self.members.open(name) as member:
                while length <= self.files[name][1] and (line := member.readline(LIMIT)):
                    digest.update(line)
                    length += len(line)
                    yield line
        except DAMAGED as error:
            damage = f": {error}"
        if damage or (digest.hexdigest(), length) != self.files[name]:
            self.report.problem("bundle_form", None, f"its {name} is not what the manifest says{damage}")

    def notes(self) -> Iterator[str]:
        note: list[str] = []
        for line in chain(self.lines("checkpoints.txt"), [BETWEEN_NOTES.encode()]):
            text = line.decode("utf-8", "replace")
            if text != BETWEEN_NOTES and len(note) < 100:
                note.append(text)
            elif note:
                yield "".join(note)
                note = []

    def check(self, evidence: Evidence) -> None:
        report, tree = self.report, Range()
        for level, digest in self.before:
            tree.push(digest, level)
        if tree.size != self.start:
            report.problem("bundle_form", None, f"what it gives for the entries before has {tree.size} leaves")
        origins = {key.name for key in self.keys}
        anchors = merge(*(anchored(path, origins) for path in evidence.anchors), key=lambda anchor: anchor[0].size)
        walk = Walk(tree, self.keys, report, b"" if self.start == 0 else None, gap=self.end)
        walk.start(self.notes(), self._until_export(anchors))
        index = sqlite3.connect("")  # a temporary file: the uids of millions of entries need not fit into memory
        index.execute("CREATE TABLE entry (uid TEXT PRIMARY KEY, mac TEXT) WITHOUT ROWID")
        erased = 0
        for line in self.lines("entries.jsonl"):
            position, report.checked = walk.size, report.checked + 1
            try:
                row = json.loads(line)
                entry, mac, personal = canonical(row["entry"]), row["mac"], row["personal"]
                if line != entry_line(position, entry, mac, personal):
                    raise ValueError("it is not in canonical form, or belongs to another position")
                uid, digest = str(row["entry"].get("uid", position)), row["entry"].get("personal")
                if personal is None:
                    erased += 1
                elif personal_digest(personal["salt"], personal["data"]) != digest:
                    report.problem("personal_changed", position, "its personal part is not the one that was sealed")
                if evidence.mac_of and evidence.mac_of(entry) != mac:
                    report.problem("mac_wrong", position, "its MAC is not the server's")
                if not index.execute("INSERT OR IGNORE INTO entry VALUES (?, ?)", (uid, mac)).rowcount:
                    report.problem("entry_twice", position, f"the entry {uid!r:.50} has two positions")
                walk.push(leaf_hash(entry))
            except MALFORMED as error:
                report.problem("bundle_form", position, f"the line of #{position}: {error}")
                walk.skip_to(position + 1)
        if walk.size < self.end:
            report.problem("entry_missing", walk.size, f"it ends before #{walk.size}, and should before #{self.end}")
        for level, digest in self.after:
            walk.push(digest, level)
        walk.end()
        if (erased, walk.size) != (self.erased, self.size) or list(self.lines("README.txt")) == []:
            report.problem("bundle_form", None, "it does not hold what its manifest counts")
        if (self.start, self.end) == (0, self.size):  # else the entry of a receipt may stand in another bundle
            for path in evidence.receipts:
                for uid, mac, at in told(path, "uid", "mac", "time"):
                    found = index.execute("SELECT mac FROM entry WHERE uid = ?", (uid,)).fetchone()
                    if found != (mac,) and (found or at[:23] < self.exported_at[:23]):  # to the millisecond
                        said = f"the entry {uid!r:.50}, written {at!r:.40}, is not here as it was"
                        report.problem("receipt_missing", None, said)

    def _until_export(self, anchors: Iterable[tuple[Checkpoint, str]]) -> Iterator[tuple[Checkpoint, str]]:
        """An anchor of more entries is no contradiction where it was made after the export."""
        for anchor, note in anchors:
            if anchor.size <= self.size or anchor.time[:23] <= self.exported_at[:23]:
                yield anchor, note


def check_bundle(path: str, evidence: Evidence) -> Report:
    """All that a bundle can show. Without trusted keys, the one that it names is taken. Raises Unreadable."""
    report = Report()
    try:
        with opened(path) as file, zipfile.ZipFile(file) as members:
            names = sorted(members.namelist())
            if not set(MANIFEST) <= set(names):
                raise Unreadable("it is a zip file and no bundle of a trail: it holds no manifest")
            raw, signature = (members.open(name).read(LIMIT) for name in MANIFEST)
            try:
                bundle, signature = Bundle(members, raw, report), decoded(signature.decode().strip())
            except MALFORMED as error:
                raise Unreadable(f"its manifest is not in form: {error}") from None
            report.size, report.key = bundle.size, bundle.keys[0]
            if names != sorted(FILES + MANIFEST):
                report.problem("bundle_form", None, f"it holds {names[:9]}, and should hold {FILES + MANIFEST}")
            if evidence.keys and report.key not in evidence.keys:
                report.problem("bundle_form", None, f"it is by the key {report.key}, which is not the one given")
            if not report.key.signed(raw, signature):
                report.problem("bundle_form", None, "its manifest is not what the key signed")
            if not report.problems:  # else all that it says is anybody's word
                bundle.check(evidence)
    except DAMAGED as error:
        raise Unreadable(f"{path!r} is no whole zip file: {error}") from None
    return report


# --- a single proof -------------------------------------------------------------------------------------------------


def check_proof(raw: bytes, evidence: Evidence) -> Report:
    """That an entry is in a checkpoint's log, or that one checkpoint's log begins with another's. Raises Unreadable."""
    report = Report(checked=1)
    try:
        said = json.loads(raw, object_pairs_hook=_no_twins)
        report.key, path = Key.parse(said["key"]), [decoded(text) for text in said["proof"]]
        if evidence.keys and report.key not in evidence.keys:
            report.problem("checkpoint_signature", None, f"it is by {report.key}, which is not the key given")
        names = {ENTRY_PROOF: ["checkpoint"], GROWTH_PROOF: ["from", "to"]}[said["format"]]
        checkpoints = []
        for note in (said[name] for name in names):
            checkpoint, signatures = Checkpoint.parse(note)
            checkpoints.append(checkpoint)
            if not any(checkpoint.signed_by(key, signatures) for key in evidence.keys or [report.key]):
                report.problem("checkpoint_signature", checkpoint.size, "the checkpoint is not signed by the key")
        old, new = checkpoints[0], checkpoints[-1]
        report.size = new.size
        if said["format"] == ENTRY_PROOF:
            entry, position, personal = said["entry"], int(said["position"]), said["personal"]
            if root_with(leaf_hash(canonical(entry)), position, new.size, path) != new.root:
                report.problem("root_wrong", position, "this is not the entry that the signed log has at its position")
            if personal and personal_digest(personal["salt"], personal["data"]) != entry["personal"]:
                report.problem("personal_changed", position, "its personal part is not the one that was sealed")
        elif not is_prefix(old.size, old.root, new.size, new.root, path):
            report.problem("root_wrong", old.size, "the later log does not begin with the earlier one")
    except MALFORMED as error:
        raise Unreadable(f"it is neither a bundle nor a proof in form: {error}") from None
    return report


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name stands twice, so two programs may read it differently")
    return dict(pairs)


# --- the command ----------------------------------------------------------------------------------------------------


def check(path: str, evidence: Evidence) -> Report:
    """A bundle, or a proof. What can't be read, whatever a hostile file provokes, is no verdict and never a pass."""
    try:
        with opened(path) as file:
            beginning = file.read(1)
            if beginning == b"{":
                return check_proof(beginning + file.read(LIMIT), evidence)
        return check_bundle(path, evidence)
    except Unreadable as error:
        return Report(error=str(error))
    except Exception as error:
        return Report(error=f"it can't be judged: {type(error).__name__}: {error}")


def in_words(report: Report, evidence: Evidence) -> Iterator[str]:
    """The report in lines, with what it does not show."""
    yield f"{report.verdict}: {report.error or f'{report.checked:,} checked, of a log of {report.size:,} entries'}"
    if report.error:
        return
    yield f"  key        {report.key}"
    if not evidence.keys:
        yield "             NOT GIVEN with --key: anybody can make a log with a key of their own. Identity unproven"
    if report.anchored is not None:
        yield f"  anchors    confirm the first {report.anchored:,} entries"
    else:
        none = "none of this log" if evidence.anchors else "none given"
        yield f"  anchors    {none}: a log set back, or made anew with the key, would not show"
    if not evidence.receipts:
        yield "  receipts   none given: an entry removed before it was sealed would not show"
    for problem in report.problems:
        place = "" if problem["position"] is None else f"#{problem['position']} "
        yield f"  {problem['kind']}: {place}{problem['detail']}"
    yield from (f"  {kind}: {count - SHOWN:,} more" for kind, count in report.counts.items() if count > SHOWN)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="verify.py", description="Check a bundle or a proof of OpsSight's trail.")
    parser.add_argument("file", help="a bundle (zip) or a proof (JSON)")
    parser.add_argument("--key", action="append", default=[], help="the public key, name+id+base64, got from elsewhere")
    parser.add_argument("--anchor", action="append", default=[], metavar="FILE", help="checkpoints kept elsewhere")
    parser.add_argument("--receipts", action="append", default=[], metavar="FILE", help="the log that has the receipts")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args(arguments)
    try:
        evidence = Evidence([Key.parse(text) for text in asked.key], asked.anchor, asked.receipts)
    except ValueError as error:
        parser.error(f"--key: {error}")
    report = check(asked.file, evidence)
    text = json.dumps(report.as_json()) if asked.json else "\n".join(in_words(report, evidence))
    print(re.sub(r"[^\n -~]", "?", text))  # nothing that a bundle holds may steer the terminal
    return EXIT_CODES[report.verdict]


if __name__ == "__main__":
    sys.exit(main())
