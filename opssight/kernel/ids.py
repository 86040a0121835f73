"""Names that leave the database: UUIDv7 (RFC 9562 §5.7), ordered by creation, unguessable in 74 bits."""

import os
import time
import uuid


def new_uid() -> uuid.UUID:
    """48 bits of Unix milliseconds, then 74 random bits around version 7 and variant 10."""
    value = int.from_bytes(os.urandom(10), "big")
    milliseconds = time.time_ns() // 1_000_000
    rand_a, rand_b = value >> 68, value & ((1 << 62) - 1)
    return uuid.UUID(int=(milliseconds & (1 << 48) - 1) << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b)
