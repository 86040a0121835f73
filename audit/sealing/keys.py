"""The log's signature: its own key, the public keys it had before, and notes signed with it (C2SP signed-note)."""

import base64

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings

from audit.verify import Checkpoint, Key


def _private() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(settings.TRAIL_SIGNING_KEY)


def public_key() -> Key:
    """What a verifier must know from elsewhere; `str()` of it is the form to hand out."""
    raw = _private().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return Key(settings.TRAIL_ORIGIN, raw)


def old_keys() -> list[Key]:
    return [Key.parse(text) for text in settings.TRAIL_OLD_KEYS]


def public_keys() -> list[Key]:
    """All of them, newest first."""
    return [public_key(), *old_keys()]


def sign(data: bytes) -> bytes:
    """64 bytes."""
    return _private().sign(data)


def signed_note(checkpoint: Checkpoint) -> str:
    key, body = public_key(), checkpoint.body()
    signature = base64.b64encode(key.id + sign(body.encode())).decode()
    return f"{body}\n\u2014 {key.name} {signature}\n"


def is_ours(note: str) -> bool:
    """Whether this log signed the note, with its key or one of its old ones. ValueError where it is no note."""
    checkpoint, signatures = Checkpoint.parse(note)
    return any(checkpoint.origin == key.name and checkpoint.signed_by(key, signatures) for key in public_keys())
