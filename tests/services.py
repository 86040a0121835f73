"""The services that some tests talk to. One that does not answer is skipped, and in CI a failure."""

import os
import socket
from urllib.parse import urlsplit

import pytest

PORTS = {"redis": 6379, "amqp": 5672}


def missing(reason: str) -> None:
    if os.environ.get("OPSSIGHT_REQUIRE_SERVICES") == "1":
        pytest.fail(f"{reason} (OPSSIGHT_REQUIRE_SERVICES is set)")
    pytest.skip(reason)


def address(variable: str, default: str) -> str:
    """The address in `variable`, or the default; skips where nothing listens there."""
    url = os.environ.get(variable) or default
    parts = urlsplit(url)
    place = (parts.hostname or "127.0.0.1", parts.port or PORTS[parts.scheme])
    try:
        socket.create_connection(place, timeout=2).close()
    except OSError:
        missing(f"nothing answers at {place[0]}:{place[1]}; name another in {variable}")
    return url
