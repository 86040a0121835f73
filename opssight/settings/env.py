"""The one place that reads the environment. Imports no Django, so that the supervisor may use it.

Two profiles (docs/operator.md): *embedded*, when OPSSIGHT_DATABASE_URL is unset, generates what secrets are
missing into $OPSSIGHT_HOME/secrets.env (mode 0600); *server* takes them from the environment or from the file
named by <NAME>_FILE, and stops where one is missing or weak. A broken value stops the start with one line.
"""

import base64
import binascii
import hashlib
import ipaddress
import os
import re
import secrets
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

from dotenv import dotenv_values
from environs import Env, EnvError

BASE_DIR = Path(__file__).resolve().parents[2]
MIN_SECRET_BYTES = 32
T = TypeVar("T")

_env = Env()


class Misconfigured(SystemExit):
    """A setting that stops the start: prints one line that names the variable and exits with 2."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(2)
        self.line = f"{name}: {problem}"

    def __str__(self) -> str:
        return self.line


def _stop(name: str, problem: str) -> Misconfigured:
    stop = Misconfigured(name, problem)
    os.write(2, f"opssight: {stop.line}\n".encode())
    return stop


def _read(name: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except (EnvError, ValueError) as error:
        raise _stop(name, str(error).replace("\n", " ").removeprefix(f'Environment variable "{name}" ')) from None


def text(name: str, default: str) -> str:
    return os.environ.get(name) or default


def confidential(name: str) -> str:
    """The value of `name`, or the content of the file named by `name`_FILE; empty where neither is set."""
    value = os.environ.get(name, "")
    if not value and (file := os.environ.get(f"{name}_FILE")):
        try:
            value = Path(file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise _stop(f"{name}_FILE", f"{file} can't be read: {getattr(error, 'strerror', error)}") from None
    return value


def integer(name: str, default: int, *, low: int = 0, high: int = 2**31) -> int:
    value = _read(name, lambda: _env.int(name, default))
    if not low <= value <= high:
        raise _stop(name, f"{value} is not between {low} and {high}")
    return value


def boolean(name: str, default: bool) -> bool:
    return _read(name, lambda: _env.bool(name, default))


def listed(name: str, default: list[str]) -> list[str]:
    return [item.strip() for item in _read(name, lambda: _env.list(name, default)) if item.strip()]


def choice(name: str, known: list[str], default: str) -> str:
    value = text(name, default)
    if value not in known:
        raise _stop(name, f"{value!r} is not one of {', '.join(known)}")
    return value


def networks(name: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return _read(name, lambda: [ipaddress.ip_network(item) for item in listed(name, [])])


@dataclass(frozen=True)
class Outside:
    """Where outgoing calls may go beside public addresses."""

    hosts: frozenset[str]
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


def outside(name: str) -> Outside:
    """Host names and networks (CIDR, or single addresses), comma-separated."""
    hosts, nets = set(), []
    for item in listed(name, []):
        try:
            nets.append(ipaddress.ip_network(item))
        except ValueError:
            if not HOST.fullmatch(item) or item.rpartition(".")[2].isdigit():
                raise _stop(name, f"{item!r} is neither a host name nor a network such as 10.0.0.0/8") from None
            hosts.add(item.lower())
    return Outside(frozenset(hosts), tuple(nets))


def address(name: str, default: str) -> str:
    """A base address such as https://ops.example: scheme http or https, a host, no path, query or user."""
    value = text(name, default).rstrip("/")
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _stop(name, f"{value!r} is not an address such as https://ops.example")
    if parts.path or parts.query or parts.fragment or parts.username:
        raise _stop(name, f"{value!r} must be a scheme, a host and a port, with nothing after them")
    _read(name, lambda: parts.port)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise _stop(name, f"{value!r} is plain http: use https, or http on localhost only")
    return value


def _url(name: str, value: str) -> SplitResult:
    """The parts of an address that may carry a password, so what is wrong is said without quoting any of it."""
    try:
        parts = urlsplit(value)
        assert parts.port is None or parts.port
    except (ValueError, AssertionError):
        raise _stop(name, "is no address; in a password write % / # ? @ : as %25 %2F %23 %3F %40 %3A") from None
    return parts


def database(name: str, *, pool: bool = True) -> dict[str, Any]:
    """Django's DATABASES entry for postgresql://user:password@host:port/name."""
    parts = _url(name, confidential(name))
    if parts.scheme not in ("postgresql", "postgres") or len(parts.path) < 2:
        raise _stop(name, "must read postgresql://user:password@host:port/name")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path[1:]),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": parts.port or 5432,
        # A server that does not answer is an error after seconds, not half a minute for each request.
        "OPTIONS": {
            "connect_timeout": 5,
            **({"pool": {"min_size": 1, "max_size": 8, "timeout": 10}} if pool else {}),
        },
        **({} if pool else {"CONN_MAX_AGE": 60}),
    }


def sealer_database(name: str) -> dict[str, Any] | None:
    """The same database as the role that seals, where it has an address of its own. Few connections: no pool."""
    if not confidential(name):
        return None
    if EMBEDDED:
        raise _stop(name, "goes with OPSSIGHT_DATABASE_URL, which is not set")
    return database(name, pool=False)


def seed(name: str) -> bytes:
    """32 bytes in url-safe base64: a private key of Ed25519."""
    try:
        value = base64.urlsafe_b64decode(secret(name))
    except ValueError:
        value = b""
    if len(value) != 32:
        raise _stop(name, "must be 32 bytes in url-safe base64")
    return value


def origin(name: str, default: str) -> str:
    """What a log is called in its checkpoints: like a host and path, without spaces or plus signs."""
    value = text(name, default)
    if not re.fullmatch(r"[!-*,-~]{1,200}", value):
        raise _stop(name, f"{value!r} must be a name such as ops.example/trail, without spaces or +")
    return value


def public_keys(name: str) -> list[str]:
    """Public keys as C2SP vkeys, `name+id+base64`, comma-separated."""
    found = listed(name, [])
    for item in found:
        try:
            owner, key_id, encoded = item.split("+", 2)
            raw = base64.b64decode(encoded, validate=True)
        except ValueError:
            owner, key_id, raw = "", "", b""
        fits = hashlib.sha256(f"{owner}\n".encode() + raw).hexdigest()[:8] == key_id
        if len(raw) != 33 or raw[:1] != b"\1" or not fits:
            raise _stop(name, f"{item!r} is no public key such as ops.example/trail+1f2e3d4c+AZ…")
    return found


def webhook(name: str) -> str:
    """An address to post to, or "". It may hold a secret, so what is wrong is said without quoting it."""
    value = confidential(name)
    parts = _url(name, value)
    if value and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise _stop(name, "must be an address such as https://siem.example/hook")
    return value


def broker(name: str) -> str:
    """Celery's broker, or "" for the queue of files."""
    value = confidential(name)
    if not value:
        return ""
    parts = _url(name, value)
    if parts.scheme not in BROKERS or not parts.hostname:
        raise _stop(name, f"must begin with one of {', '.join(f'{scheme}://' for scheme in BROKERS)} and name a host")
    return value


HOST = re.compile(r"(?i)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")


def mail(name: str) -> dict[str, Any]:
    """The mail server of smtp://user:password@host:port (smtps:// for TLS from the start), or {} where none is named.

    smtp:// turns to TLS before anything is said, unless the server is on this machine.
    """
    value = confidential(name)
    if not value:
        return {}
    parts = _url(name, value)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise _stop(name, "must read smtp://user:password@host:port or smtps://…")
    over_tls = parts.scheme == "smtps"
    return {
        "host": parts.hostname,
        "port": parts.port or (465 if over_tls else 587),
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "ssl": over_tls,
        "tls": not over_tls and parts.hostname not in LOOPBACK,
    }


def mailbox(name: str, *, server: bool) -> str:
    """A mail address, or ""; of use only where mail has a `server`."""
    value = text(name, "").strip()
    if value and not re.fullmatch(r"[^@\s,;<>]+@[^@\s,;<>]+", value):
        raise _stop(name, "must be one mail address, such as auditor@example.org")
    if value and not server:
        raise _stop(name, "needs a mail server: name one in OPSSIGHT_SMTP_URL")
    return value


def readable(name: str) -> Path | None:
    """The file that `name` gives, which must be there to be read; None where it is unset."""
    value = os.environ.get(name, "")
    if value and not (os.path.isfile(value) and os.access(value, os.R_OK)):
        raise _stop(name, f"{value} is no file that can be read")
    return Path(value) if value else None


def required(because: str, **values: str) -> None:
    """Stop where a setting is empty that another one makes necessary."""
    for name, value in values.items():
        if not value:
            raise _stop(name, f"is missing: {because} needs it")


LOOPBACK = ("localhost", "127.0.0.1", "::1")
BROKERS = ("redis", "rediss", "amqp", "amqps")
HOME = Path(text("OPSSIGHT_HOME", str(BASE_DIR / "var"))).expanduser().resolve()
URL = address("OPSSIGHT_URL", "http://localhost:8000")
# What changes tables is done as their owner; only the run of such a command needs to know the owner's password.
_OWNER = "OPSSIGHT_OWNER_DATABASE_URL"
_as_owner = Path(sys.argv[0]).name == "manage.py" and sys.argv[1:2] in (["migrate"], ["setup_database"])
DATABASE_VARIABLE = _OWNER if _as_owner and confidential(_OWNER) else "OPSSIGHT_DATABASE_URL"
DATABASE_URL = confidential(DATABASE_VARIABLE)
BROKER_URL = broker("OPSSIGHT_BROKER_URL")
EMBEDDED = not DATABASE_URL


def ensure_home() -> Path:
    """Create the data folder (0700) and what lives in it. Refuses with one line where it can't."""
    try:
        HOME.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("run", "queue", "scanners"):
            (HOME / name).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _stop("OPSSIGHT_HOME", f"{HOME} can't be used: {error.strerror}") from None
    return HOME


def generated_secrets() -> dict[str, str]:
    key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return {
        "OPSSIGHT_SECRET_KEY": secrets.token_urlsafe(48),
        "OPSSIGHT_FIELD_KEYS": f"k1:{key}",
        "OPSSIGHT_HASH_KEY": secrets.token_urlsafe(48),
        "OPSSIGHT_TRAIL_KEY": secrets.token_urlsafe(48),
        "OPSSIGHT_TRAIL_SIGNING_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    }


def _embedded_secrets() -> dict[str, str]:
    """What secrets.env holds, after completing it. Written to one side and renamed, so a crash leaves no half."""
    path = ensure_home() / "secrets.env"
    kept = {k: v for k, v in dotenv_values(path).items() if v} if path.exists() else {}
    missing = {name: value for name, value in generated_secrets().items() if name not in kept}
    if not missing:
        return kept
    lines = "".join(f"{name}={value}\n" for name, value in {**kept, **missing}.items())
    handle, temporary = tempfile.mkstemp(dir=HOME, prefix="secrets.")
    with os.fdopen(handle, "w") as file:  # mkstemp makes it 0600
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())
    if kept:
        os.replace(temporary, path)
        return {**kept, **missing}
    with suppress(FileExistsError):  # the first of two starters wins, the other takes what it wrote
        os.link(temporary, path)
    os.unlink(temporary)
    return {k: v for k, v in dotenv_values(path).items() if v}


_stored: dict[str, str] | None = None


def secret(name: str) -> str:
    """The value of `name`, or the content of the file named by `name`_FILE, or (embedded) the generated one."""
    global _stored
    value = confidential(name)
    if not value and EMBEDDED:
        if _stored is None:
            _stored = _embedded_secrets()
        value = _stored.get(name, "")
    if not value:
        raise _stop(name, f"is missing: set it, or {name}_FILE to a file that holds it")
    if len(value.encode()) < MIN_SECRET_BYTES or len(set(value)) < 10 or "insecure" in value or "change" in value:
        raise _stop(name, f"is weak or well known: use at least {MIN_SECRET_BYTES} random bytes")
    return value


def field_keys(name: str) -> dict[str, bytes]:
    """The key ring `id:key,id:key`, newest first; each key is 32 bytes in url-safe base64."""
    ring: dict[str, bytes] = {}
    for item in secret(name).split(","):
        key_id, _, encoded = item.strip().partition(":")
        try:
            key = base64.urlsafe_b64decode(encoded)
        except (ValueError, binascii.Error):
            key = b""
        if not key_id.isalnum() or len(key) != 32 or key_id in ring:
            raise _stop(name, "must read id:key,id:key with distinct ids and keys of 32 bytes in url-safe base64")
        ring[key_id] = key
    return ring
