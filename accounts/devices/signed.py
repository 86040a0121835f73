"""What devices sign: the registration, and reports as JWS (RFC 7515, 8037) over canonical JSON.

One algorithm and one header, both compared as a whole: there is nothing to choose, so nothing to confuse.
"""

import base64
import binascii
import json
import re
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TYPE = "opssight-posture+jws"
MOST = 4096  # characters of a report
_PART = re.compile(r"^[A-Za-z0-9_-]+$")


class NotSigned(Exception):
    """Malformed, or not signed by that key."""


def decoded(text: str) -> bytes:
    """Url-safe base64 without padding, and no second spelling of the same bytes."""
    if not _PART.match(text):
        raise NotSigned("no base64url")
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        raise NotSigned("no base64url") from None
    if encoded(raw) != text:
        raise NotSigned("another spelling of base64url")
    return raw


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def canonical(value: Any) -> bytes:
    """Keys sorted, no white space, UTF-8: of strings, whole numbers and booleans what RFC 8785 says."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def registration(challenge: str, public_key: str, user_uid: Any) -> bytes:
    """The bytes that prove that whoever registers a key holds its private half, for this account."""
    return f"opssight-device\n{challenge}\n{public_key}\n{user_uid}".encode()


def check(public_key: str, signature: bytes, message: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(decoded(public_key)).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise NotSigned("not signed by this key") from None


def named_device(jws: str) -> UUID:
    """Which device a report says it is of; not yet believed."""
    header = _object(jws.split(".")[0])
    if header.keys() != {"alg", "kid", "typ"} or (header["alg"], header["typ"]) != ("EdDSA", TYPE):
        raise NotSigned("another header")
    try:
        return UUID(header["kid"])
    except (ValueError, AttributeError, TypeError):
        raise NotSigned("no device") from None


def payload(jws: str, public_key: str) -> dict[str, Any]:
    """What the report says, once its signature is right."""
    parts = jws.split(".")
    if len(parts) != 3:
        raise NotSigned("not three parts")
    check(public_key, decoded(parts[2]), f"{parts[0]}.{parts[1]}".encode())
    return _object(parts[1])


def _object(part: str) -> dict[str, Any]:
    raw = decoded(part)
    try:
        value = json.loads(raw)
        is_canonical = isinstance(value, dict) and canonical(value) == raw
    except (ValueError, RecursionError):
        raise NotSigned("no JSON") from None
    if not is_canonical:
        raise NotSigned("no canonical JSON object")
    return dict(value)
