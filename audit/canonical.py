"""One byte string for each entry, made from the values as they are read back: what MAC and, later, the leaf cover.

JSON with sorted keys, no spaces, UTF-8: equal to RFC 8785 for what an entry may hold, since floats are refused and
keys are strings. Times are UTC with microseconds and Z.
"""

import hashlib
import json
from datetime import UTC, date, datetime
from typing import Any

import orjson

_text_of = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def clean(value: Any) -> Any:
    """`value` as it may be stored: JSON types without floats, NUL or lone surrogates, keys as strings."""
    kind = type(value)
    if kind is str:
        if value.isascii() and "\0" not in value:
            return value
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if value is None or kind is bool:
        return value
    if kind is list:
        return [clean(item) for item in value]
    match value:
        case int():
            return int(value) if abs(value) < 2**53 else str(int(value))
        case str():  # a choice, or text marked safe
            return clean(str.__str__(value))
        case dict():
            return {clean(str(key)): clean(item) for key, item in value.items()}
        case tuple() | set() | frozenset():
            return [clean(item) for item in value]
        case datetime():
            return instant(value)
        case date():
            return value.isoformat()
    return clean(str(value))


def instant(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def canonical(values: dict[str, Any]) -> bytes:
    return _text_of(values).encode()


def quickly(values: Any) -> bytes:
    """The same bytes in a tenth of the time, for what `clean` has made and for nothing else."""
    try:
        return orjson.dumps(values, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # nested deeper than it goes
        return canonical(values)


def digest(salt: str, content: bytes) -> str:
    """SHA-256 over salt and canonical JSON, 64 hex characters. The salt keeps short values from being guessed."""
    return hashlib.sha256(bytes.fromhex(salt) + content).hexdigest()
