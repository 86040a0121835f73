"""Secrets at rest: authenticated encryption bound to its row, and keyed hashes.

AES-256-GCM (NIST SP 800-38D) with the place of the value (table, column, row) as associated data, so that a
ciphertext copied to another row does not decrypt there. Stored as `v1.<key id>.<url-safe base64 of nonce+text+tag>`.
"""

import base64
import hashlib
import hmac
import os
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

NONCE_BYTES = 12


class Undecryptable(Exception):
    """The stored value was changed, moved, or encrypted with a key that is no longer in OPSSIGHT_FIELD_KEYS."""


class NotEncrypted(Undecryptable):
    """The column holds plain text: somebody wrote past the model. It is never taken for the value."""


def encrypt_sensitive_data(data: str, place: str) -> str:
    """Encrypt `data` for `place` (such as "mfa_totpdevice.secret.<uid>") with the newest key."""
    key_id, key = next(iter(settings.FIELD_KEYS.items()))
    nonce = os.urandom(NONCE_BYTES)
    sealed = nonce + AESGCM(key).encrypt(nonce, data.encode(), place.encode())
    return f"v1.{key_id}.{base64.urlsafe_b64encode(sealed).decode()}"


def decrypt_sensitive_data(encrypted_data: str, place: str) -> str:
    """The inverse of `encrypt_sensitive_data`; plain text or a foreign ciphertext raises Undecryptable."""
    if not encrypted_data.startswith("v1."):
        raise NotEncrypted(f"the value at {place} is no ciphertext; manage.py rotate_field_keys --check lists all such")
    try:
        version, key_id, encoded = encrypted_data.split(".")
        sealed = base64.urlsafe_b64decode(encoded)
        if version != "v1":
            raise ValueError(version)
        key = settings.FIELD_KEYS[key_id]
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place.encode()).decode()
    except (ValueError, KeyError, InvalidTag) as error:
        raise Undecryptable(f"the value at {place} can't be decrypted with the keys in OPSSIGHT_FIELD_KEYS") from error


class Encrypted:
    """A model attribute kept encrypted in a text column: `secret = Encrypted("secret_encrypted")`.

    The row's `uid` is part of what is authenticated, so it must be set before the value is.
    """

    def __init__(self, column: str) -> None:
        self.column = column

    def _place(self, row: Any) -> str:
        return f"{row._meta.db_table}.{self.column}.{row.uid}"

    def __get__(self, row: Any, owner: type | None = None) -> Any:
        return self if row is None else decrypt_sensitive_data(getattr(row, self.column), self._place(row))

    def __set__(self, row: Any, value: str) -> None:
        setattr(row, self.column, encrypt_sensitive_data(value, self._place(row)))


def is_readable(row: Any, name: str) -> bool:
    """Whether the encrypted attribute `name` of this row can be decrypted."""
    try:
        getattr(row, name)
    except Undecryptable:
        return False
    return True


def keyed_hash(purpose: str, value: str) -> str:
    """What is stored of codes and links: HMAC-SHA256 under OPSSIGHT_HASH_KEY, 64 hex characters.

    `purpose` keeps the uses apart.
    """
    return hmac.new(settings.HASH_KEY.encode(), f"{purpose}\0{value}".encode(), hashlib.sha256).hexdigest()


def same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
