"""Check an exported bundle of the trail: standard library and `cryptography`, nothing of OpsSight.

The trail is a Merkle tree (RFC 6962 section 2.1). Each entry is a leaf, in the order of sealing; a checkpoint is a note
(C2SP tlog-checkpoint, signed-note) that binds the size and the root of the tree, signed with Ed25519.
"""

import base64
import hashlib
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

EMPTY_ROOT = hashlib.sha256(b"").digest()
ED25519 = b"\x01"


# --- the tree -------------------------------------------------------------------------------------------------------


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


# --- checkpoints ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Key:
    """A public key by name, written `name+id+base64(0x01 || key)` (C2SP signed-note)."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(ED25519 + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> "Key":
        """ValueError where `text` is no Ed25519 key of this form."""
        name, key_id, encoded = text.strip().split("+", 2)
        raw = base64.b64decode(encoded, validate=True)
        key = cls(name, raw[1:])
        if raw[:1] != ED25519 or len(raw) != 33 or key.id.hex() != key_id:
            raise ValueError("no Ed25519 key, or its id does not fit")
        return key

    def signed(self, body: str, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, body.encode())
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
        root, previous = (base64.b64encode(value).decode() for value in (self.root, self.previous))
        return f"{self.origin}\n{self.size}\n{root}\ntime {self.time}\nprevious {previous}\n"

    @classmethod
    def parse(cls, note: str) -> tuple["Checkpoint", dict[tuple[str, bytes], bytes]]:
        """The checkpoint of a note and its signatures by (name, key id). ValueError where it is not written so."""
        body, separator, tail = note.partition("\n\n")
        origin, size, root, time, previous = body.split("\n")
        found = cls(
            origin,
            int(size),
            base64.b64decode(root, validate=True),
            time.removeprefix("time "),
            base64.b64decode(previous.removeprefix("previous "), validate=True),
        )
        if not separator or found.body() != body + "\n":
            raise ValueError("the checkpoint is not in the one form that is signed")
        signatures = {}
        for line in tail.splitlines():
            dash, name, encoded = line.split(" ")
            raw = base64.b64decode(encoded, validate=True)
            if dash != "\u2014" or len(raw) != 68:
                raise ValueError("a signature line is not in form")
            signatures[name, raw[:4]] = raw[4:]
        return found, signatures

    def signed_by(self, key: Key, signatures: dict[tuple[str, bytes], bytes]) -> bool:
        signature = signatures.get((key.name, key.id))
        return signature is not None and key.signed(self.body(), signature)


def note_digest(note: str) -> bytes:
    """What the next note names as its predecessor."""
    return hashlib.sha256(note.encode()).digest()
