"""One byte string for each entry, made from the values as they are read back: what MAC and, later, the leaf cover.

JSON with sorted keys, no spaces, UTF-8: equal to RFC 8785 for what an entry may hold, since floats are refused and
keys are strings. Times are UTC with microseconds and Z.
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def clean(value: Any) -> Any:
    """`value` as it may be stored: JSON types without floats, NUL or lone surrogates, keys as strings."""
    match value:
        case None | bool():
            return value
        case int():
            return value if abs(value) < 2**53 else str(value)
        case str():
            return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
        case dict():
            return {str(clean(str(key))): clean(item) for key, item in value.items()}
        case list() | tuple() | set():
            return [clean(item) for item in value]
        case datetime():
            return instant(value)
    return clean(str(value))


def instant(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def canonical(values: dict[str, Any]) -> bytes:
    return _encode(values).encode()


def digest(salt: str, values: dict[str, Any]) -> str:
    """SHA-256 over salt and canonical JSON, 64 hex characters. The salt keeps short values from being guessed."""
    return hashlib.sha256(bytes.fromhex(salt) + canonical(values)).hexdigest()
