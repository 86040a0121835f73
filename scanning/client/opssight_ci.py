#!/usr/bin/env python3
"""OpsSight in a pipeline: one file, Python 3.8 or later, nothing to install.

    opssight-ci.py scan   --asset NAME|UID [--scanner NAME]... [--fail-on high] [--new-only]
    opssight-ci.py upload --asset NAME|UID REPORT... [--partial] [--dry-run] [--fail-on high] [--new-only]

The server and the token come from the environment: OPSSIGHT_URL, and OPSSIGHT_TOKEN or OPSSIGHT_TOKEN_FILE.

Exit code 0: all was read and the gate holds. 1: the gate does not hold. 2: usage. 3: nothing certain is known: a scan
failed, missed something or did not end in time, or a report can't be used. 4: the server is not reached, does not take
the token, or answers what is no answer. What is not known is never a pass.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import http.client
import ipaddress
import json
import os
import random
import re
import socket
import ssl
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import IO, Any, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass
from xml.sax.saxutils import escape, quoteattr

VERSION = "1.0"
OK, GATE, USAGE, UNKNOWN, UNREACHABLE = range(5)
SEVERITIES = ("critical", "high", "medium", "low", "info")
DECIDED = ("false_positive", "accepted", "duplicate")  # somebody has judged these: they hold nothing up
STATUSES = ("open", "triaged", "in_progress", "fixed", *DECIDED)
COMPLETED, WITH_ERRORS = "completed", "completed_with_errors"
ENDED = (COMPLETED, WITH_ERRORS, "failed", "timed_out", "not_installed")
GOING = ("queued", "running")
CHUNK = 1 << 16
MAX_ANSWER = 1 << 26  # bytes of one answer
CONNECT_WITHIN, ANSWER_WITHIN = 15.0, 60.0  # seconds
POLLS = (0.5, 1.0, 2.0, 3.0, 5.0)  # seconds between two looks at a scan; the last goes on
PAGE = 200
FIELDS = (
    "uid", "label", "asset", "scanner", "rule", "title", "severity", "path", "line", "cwe", "help_url", "fingerprint",
    "status", "first_seen_at", "fixed_at",
)  # fmt: skip


class Stop(Exception):
    """The end of the run, with its exit code and a sentence that says what to do."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class Refused(Stop):
    """The server's own no, with its HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(UNREACHABLE, text)
        self.status = status


def nonsense(what: str) -> Stop:
    return Stop(UNREACHABLE, "The server's answer is none of OpsSight's: " + what)


# --- text from elsewhere --------------------------------------------------------------------------------------------

_secrets: list[str] = []  # never shown, whoever says them


def shown(value: object, most: int = 1000) -> str:
    """On one line and without anything that steers a terminal, a log or its reader: such characters are spelt out."""
    text = str(value)
    for secret in _secrets:
        text = text.replace(secret, "***")
    if len(text) > most:
        text = text[:most] + "..."
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    return text.replace("##", "#\\x23")  # ##[command] and ##vso[command] count anywhere in a line of some runners' logs


def say(text: str) -> None:
    """A line for people, beside the results."""
    print("opssight-ci: " + shown(text, 4000), file=sys.stderr, flush=True)


# --- what the server says -------------------------------------------------------------------------------------------


def take(row: Any, name: str, kind: Any) -> Any:
    """A field of an answer, of the kind that it must have."""
    value = row.get(name) if isinstance(row, dict) else None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise nonsense(f"{name} is missing or of another kind.")
    return value


def number(row: Any, name: str) -> int:
    value: int = take(row, name, int)
    if value < 0:
        raise nonsense(f"{name} is negative.")
    return value


def one_of(row: Any, name: str, words: Iterable[str]) -> str:
    value: str = take(row, name, str)
    if value not in words:
        raise nonsense(f"{name} is {shown(value, 40)}, which this version of the client does not know.")
    return value


def moment(row: Any, name: str) -> datetime | None:
    text = take(row, name, (str, type(None)))
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text))
    except ValueError:
        raise nonsense(f"{name} is no time.") from None
    return at if at.tzinfo else at.replace(tzinfo=timezone.utc)


def uid_of(row: Any, name: str = "uid") -> str:
    try:
        return str(uuid.UUID(take(row, name, str)))
    except ValueError:
        raise nonsense(f"{name} is no uid.") from None


class Run(NamedTuple):
    """One run of one tool: a scan, or a part of a report."""

    uid: str
    scanner: str
    version: str
    state: str
    reason: str
    new: int
    same: int
    fixed: int
    reopened: int
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @classmethod
    def read(cls, row: Any, uid: str, *, timed: bool = True) -> Run:
        said = [take(row, name, str) for name in ("scanner", "scanner_version")]
        state, reason = one_of(row, "state", ENDED + GOING), take(row, "reason", str)
        counts = [number(row, name) for name in ("new", "same", "fixed", "reopened")]
        times = [moment(row, name) for name in ("started_at", "finished_at")] if timed else [None, None]
        return cls(uid, said[0], said[1], state, reason, *counts[:4], *times)  # type: ignore[arg-type]  # four, then two

    @property
    def did_its_work(self) -> bool:
        return self.state in (COMPLETED, WITH_ERRORS)


# --- talking to it --------------------------------------------------------------------------------------------------


class Answer(NamedTuple):
    status: int
    headers: Any
    body: bytes


class Server:
    """One OpsSight and one token. No redirect is followed, so the token goes nowhere else."""

    def __init__(self, url: str, token: str, *, ca: str, insecure: bool, retries: int, timeout: float) -> None:
        parts = self._place(url, insecure)
        self.secure, self.host, self.prefix = parts.scheme == "https", parts.hostname or "", parts.path.rstrip("/")
        self.port = parts.port or (443 if self.secure else 80)
        self.token, self.retries, self.timeout = token, retries, timeout
        self.until = time.monotonic() + timeout
        self.context: ssl.SSLContext | None = None
        if self.secure:
            try:
                self.context = ssl.create_default_context(cafile=ca or None)
            except (OSError, ValueError) as error:
                raise Stop(USAGE, f"--ca {ca} can't be used: {error}") from None
            self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.connection: http.client.HTTPConnection | None = None
        # What a socket's own time-out can't end: an answer that comes in drops.
        guard = threading.Timer(timeout + 1, self._cut)
        guard.daemon = True
        guard.start()

    @staticmethod
    def _place(url: str, insecure: bool) -> Any:
        try:
            parts = urlsplit(url)
            port, host = parts.port, parts.hostname
        except ValueError:
            parts, port, host = urlsplit(""), None, None
        if parts.scheme not in ("https", "http") or not host or port == 0 or not re.match(r"^[!-~]+$", url):
            raise Stop(USAGE, "OPSSIGHT_URL (or --url) must be an address such as https://ops.example.org")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise Stop(USAGE, "OPSSIGHT_URL takes no name, password, query or fragment: https://ops.example.org")
        if parts.scheme == "http" and not insecure and not _is_loopback(host):
            raise Stop(
                USAGE, "http shows the token to everybody on the way. Use https; --insecure-http does it anyway."
            )
        return parts

    def left(self) -> float:
        return self.until - time.monotonic()

    def sleep(self, seconds: float) -> None:
        self.close()
        time.sleep(max(0.0, min(seconds, self.left())))

    def close(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def _cut(self) -> None:
        sock = getattr(self.connection, "sock", None)
        try:
            if sock is not None:
                sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _connected(self) -> http.client.HTTPConnection:
        if self.connection is None:
            wait = max(0.1, min(CONNECT_WITHIN, self.left()))
            host, port = self.host, self.port
            proxy = "" if proxy_bypass(host) or _is_loopback(host) else getproxies().get("https", "")
            if self.context is None:
                self.connection = http.client.HTTPConnection(host, port, timeout=wait, blocksize=CHUNK)
            else:
                via = urlsplit(proxy if "//" in proxy else "//" + proxy) if proxy else None
                if via is not None and via.hostname:
                    host, port = via.hostname, via.port or 3128
                secure = http.client.HTTPSConnection(host, port, timeout=wait, blocksize=CHUNK, context=self.context)
                if via is not None and via.hostname:
                    told = {}
                    if via.username:
                        name = f"{unquote(via.username)}:{unquote(via.password or '')}"
                        told["Proxy-Authorization"] = "Basic " + base64.b64encode(name.encode()).decode()
                    secure.set_tunnel(self.host, self.port, headers=told)
                self.connection = secure
            self.connection.connect()
        return self.connection

    def _once(self, method: str, path: str, headers: dict[str, str], body: Body | None, patience: float) -> Answer:
        connection = self._connected()
        connection.sock.settimeout(max(0.1, min(patience, self.left())))
        try:
            pieces = body.pieces(self) if body else None
            connection.request(method, self.prefix + "/api/v1" + path, body=pieces, headers=headers)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            pass  # it may have answered before it had all of it, and said why
        answer = connection.getresponse()
        parts, size = [], 0
        while True:
            piece = answer.read(CHUNK)
            if not piece:
                break
            parts.append(piece)
            size += len(piece)
            if size > MAX_ANSWER:
                self.close()
                raise nonsense(f"it is longer than {MAX_ANSWER >> 20} MB.")
            if self.left() <= 0:
                raise socket.timeout("timed out")
        if answer.length:
            raise http.client.IncompleteRead(b"", answer.length)
        if answer.will_close or method != "GET":
            self.close()
        return Answer(answer.status, answer.headers, b"".join(parts))

    def send(
        self, method: str, path: str, *, body: Body | None = None, headers: dict[str, str] | None = None,
        patience: float = ANSWER_WITHIN, lost: Callable[[], bool] | None = None,
    ) -> Answer | None:  # fmt: skip
        """The answer, tried again where the trouble may pass.

        `lost` is asked before a repeat whose first try may have had its effect; where it says yes, None is answered.
        """
        told = {
            "Authorization": "Bearer " + self.token,
            "Accept": "application/json",
            "User-Agent": f"opssight-ci/{VERSION}",
        }
        told.update(headers or {})
        tries = waits = 0
        while True:
            wait = min(2.0**waits, 30.0) * random.uniform(0.5, 1)  # many pipelines must not come back at once
            waits += 1
            try:
                answer = self._once(method, path, told, body, patience)
            except ssl.SSLCertVerificationError as error:
                raise Stop(
                    UNREACHABLE,
                    f"The certificate of {self.host} does not hold: {error.verify_message}. --ca names an authority.",
                ) from None
            except (OSError, http.client.HTTPException, ValueError) as error:
                trouble, unclear = _in_words(error), True
            else:
                if answer.status not in (429, 502, 503, 504):
                    return answer
                trouble, unclear = f"it answers {answer.status}", answer.status != 429
                wait = max(wait, _retry_after(answer.headers))
            self.close()
            tries += trouble != "it answers 429"  # it says itself when to come back: only the time ends that
            if tries > self.retries:
                raise Stop(UNREACHABLE, f"{self.host} can't be used: {trouble} (tried {tries} times).")
            if wait >= self.left():
                raise Stop(
                    UNREACHABLE, f"{self.host} can't be used: {trouble}, until --timeout {self.timeout:g} was over."
                )
            say(f"{self.host}: {trouble}; again in {wait:.0f} s")
            self.sleep(wait)
            if lost is not None and unclear and lost():
                return None

    def ask(self, path: str, query: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self.send("GET", path + ("?" + urlencode(query) if query else ""))
        assert answer is not None
        return self.understood(answer)

    def understood(self, answer: Answer) -> dict[str, Any]:
        """The JSON object of a good answer; Refused, or Stop, for any other."""
        status, kind = answer.status, answer.headers.get("Content-Type", "")
        said: Any = None
        try:
            said = json.loads(answer.body.decode("utf-8"), parse_constant=_no_constant)
        except (ValueError, RecursionError):
            pass
        if status in (200, 201, 202):
            if not isinstance(said, dict):
                raise nonsense(
                    f"{shown(kind or 'nothing', 60)} in the place of JSON. Is a proxy or a sign-in page between?"
                )
            return said
        if 300 <= status < 400:
            place = shown(answer.headers.get("Location", "nowhere"), 200)
            raise Stop(UNREACHABLE, f"The server sends us to {place}. No redirect is followed: set OPSSIGHT_URL right.")
        detail = said.get("detail") if isinstance(said, dict) else None
        if not isinstance(detail, str):
            raise Refused(status, f"The server answers {status} without OpsSight's words. Is a proxy between?")
        errors = said.get("errors")
        if errors:
            detail += " " + json.dumps(errors)
        missing = said.get("missing_permission")
        if status == 401:
            detail += " The token is not valid (any more): make a new one."
        elif missing:
            detail += f" The token and its account both need {shown(missing, 80)}."
        raise Refused(status, f"The server answers {status}: {shown(detail)}")

    def pages(self, path: str, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """All rows of a list. Only the cursor is taken from the server's `next`, never the address."""
        seen = set()
        while True:
            page = self.ask(path, {"limit": PAGE, **query})
            yield from take(page, "results", list)
            if "next" not in page:
                raise nonsense("next is missing.")
            following = take(page, "next", (str, type(None)))
            if following is None:
                return
            try:
                cursor = parse_qs(urlsplit(following).query).get("cursor", [""])[0]
            except ValueError:
                cursor = ""
            if not cursor or cursor in seen:
                raise nonsense("its pages go round in a circle.")
            seen.add(cursor)
            query = {**query, "cursor": cursor}


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _in_words(error: Exception) -> str:
    if isinstance(error, socket.timeout):
        return "no answer in time"
    if isinstance(error, http.client.IncompleteRead):
        return "the answer was cut off"
    return shown(error, 200) or type(error).__name__


def _retry_after(headers: Any) -> float:
    """Seconds, said as such or as a date; 0 where it is neither."""
    text = headers.get("Retry-After", "").strip()
    if re.match(r"^[0-9]{1,9}$", text):
        return float(text)
    try:
        at = parsedate_to_datetime(text)
        return max(0.0, (at - datetime.now(at.tzinfo or timezone.utc)).total_seconds())
    except (TypeError, ValueError, IndexError, OverflowError):
        return 0.0


# --- commands: asset, scan, upload ----------------------------------------------------------------------------------


class Asset(NamedTuple):
    uid: str
    name: str


def find_asset(server: Server, asked: str) -> Asset:
    """By uid, or by its whole name. Stop where there is none, or more than one."""
    try:
        uid = str(uuid.UUID(asked))
    except ValueError:
        uid = ""
    if uid:
        try:
            row = server.ask(f"/assets/{uid}", {"fields": "uid,name"})
            return Asset(uid_of(row), take(row, "name", str))
        except Refused as refused:
            if refused.status != 404:
                raise
    rows = server.pages("/assets", {"name": asked, "fields": "uid,name"})
    found = [Asset(uid_of(row), row["name"]) for row in rows if take(row, "name", str) == asked]
    if len(found) == 1:
        return found[0]
    if found:
        raise Stop(USAGE, f"Several assets are called {asked}. Give one's uid: {', '.join(a.uid for a in found[:20])}.")
    raise Stop(USAGE, f"There is no asset {asked} that this token may see.")


def scan(server: Server, asset: Asset, scanners: list[str]) -> Iterator[Run]:
    """Ask for scans and wait for them. One that was under way already may have read older files: it is asked again."""
    for name in scanners or [""]:
        rows = _request_scans(server, asset, name)
        under_way = [row for row in rows if take(row, "state", str) == "running"]
        if under_way:
            say("A scan is under way already. It may have read older files, so another one follows it.")
            for row in under_way:
                _ended(server, uid_of(row))
            rows = _request_scans(server, asset, name)
        for row in rows:
            yield _ended(server, uid_of(row))


def _request_scans(server: Server, asset: Asset, scanner: str) -> list[Any]:
    wanted = {"asset": asset.uid, "scanner": scanner} if scanner else {"asset": asset.uid}
    # A repeat under the same key is answered as the first: no second scan.
    headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
    body = Body(json.dumps(wanted).encode())
    for patience in (1, 2, 4, 8, 0):
        answer = server.send("POST", "/scans", body=body, headers=headers)
        if answer is None or answer.status != 409 or not patience:
            break
        server.sleep(patience)  # the first try is being answered yet
    try:
        rows: list[Any] = take(server.understood(answer) if answer else {}, "scans", list)
    except Refused as refused:
        if refused.status in (400, 404):
            raise Stop(USAGE, refused.text) from None
        raise
    if not rows:
        raise nonsense("it asked for no scan.")
    return rows


def _ended(server: Server, uid: str) -> Run:
    """The run once it has ended; Stop where it has not in time."""
    polls = iter(POLLS)
    wait, told = 0.0, ""
    while True:
        row = server.ask("/scans/" + uid)
        if uid_of(row) != uid:
            raise nonsense("it is about another scan.")
        run = Run.read(row, uid)
        if run.state in ENDED:
            return run
        if run.state != told:
            say(f"{run.scanner}: {run.state}")
            told = run.state
        wait = next(polls, wait)
        if server.left() <= wait:
            raise Stop(
                UNKNOWN, f"{run.scanner} is {run.state} after --timeout {server.timeout:g} s: nothing is known yet."
            )
        server.sleep(wait)


class Body:
    """What is sent: some bytes, with a file between them. Read from its beginning for each try."""

    def __init__(self, head: bytes, file: IO[bytes] | None = None, tail: bytes = b"") -> None:
        self.head, self.file, self.tail = head, file, tail
        self.size = len(head) + len(tail) + (file.seek(0, os.SEEK_END) if file else 0)

    def pieces(self, server: Server) -> Any:
        return self.head if self.file is None else self._pieces(server)

    def _pieces(self, server: Server) -> Iterator[bytes]:
        yield self.head
        if self.file is not None:
            self.file.seek(0)
            for piece in iter(lambda: self.file.read(CHUNK), b""):  # type: ignore[union-attr]  # looked at above
                if server.left() <= 0:
                    raise socket.timeout("timed out")
                yield piece
        yield self.tail


class Packed(NamedTuple):
    file: IO[bytes]
    digest: str


def pack(path: str) -> Packed:
    """The report gzipped, on disk. Its first member is empty and named by chance, so that the digest is this upload's
    alone, by which the server can be asked whether it has it."""
    packed = tempfile.TemporaryFile()
    with gzip.GzipFile(filename=uuid.uuid4().hex, mode="wb", fileobj=packed):
        pass
    try:
        source = sys.stdin.buffer if path == "-" else open(path, "rb")
        with source:
            start = source.read(2)
            if start == b"\x1f\x8b":
                packed.write(start)
                for piece in iter(lambda: source.read(CHUNK), b""):
                    packed.write(piece)
            else:
                with gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=5) as zipped:
                    zipped.write(start)
                    for piece in iter(lambda: source.read(CHUNK), b""):
                        zipped.write(piece)
    except OSError as error:
        raise Stop(USAGE, f"{path} can't be read: {error.strerror}") from None
    packed.seek(0)
    digest = hashlib.sha256()
    for piece in iter(lambda: packed.read(CHUNK), b""):
        digest.update(piece)
    return Packed(packed, digest.hexdigest())


def upload(server: Server, asset: Asset, path: str, *, format: str, partial: bool, trial: bool) -> dict[str, Any]:
    """Send one report. {"scans": [uid]}, or after a trial the server's whole answer. Refused says why not."""
    report = pack(path)
    with report.file:
        fields = {"asset": asset.uid, "is_partial": str(partial).lower(), "dry_run": str(trial).lower()}
        if format:
            fields["format"] = format
        boundary, name = uuid.uuid4().hex, re.sub(r"[^ !#-\[\]-~]", "_", os.path.basename(path))[:150] or "report"
        head = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
            for key, value in fields.items()
        )
        head += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        body = Body(head.encode(), report.file, f"\r\n--{boundary}--\r\n".encode())
        headers = {"Content-Type": "multipart/form-data; boundary=" + boundary, "Content-Length": str(body.size)}
        repeated = []

        def had_its_effect() -> bool:
            repeated.append(True)
            return not trial and bool(_imports(server, asset, report.digest))

        server.close()
        answer = server.send(
            "POST", "/imports", body=body, headers=headers, patience=server.left(), lost=had_its_effect
        )
    said = server.understood(answer) if answer else {}
    if trial:
        if take(said, "dry_run", bool) is not True:
            raise nonsense("it was asked for a trial, and took the report in.")
        return said
    if answer and not repeated:
        return {"scans": [uid_of(row, "scan") for row in take(said, "scanners", list)]}
    # Two tries may both have had an effect: the first tells what is new, the second that it is the same.
    scans = []
    for uid in _imports(server, asset, report.digest):
        scans += take(server.ask("/imports/" + uid), "scans", list)
    if not scans:
        raise nonsense("it has taken the report in, and does not know it.")
    return {"scans": [uid_of({"uid": scan}) for scan in scans]}


def _imports(server: Server, asset: Asset, digest: str) -> list[str]:
    """The imports that this very upload has made, oldest first."""
    rows = server.pages("/imports", {"asset": asset.uid, "digest": digest, "fields": "uid"})
    return [uid_of(row) for row in rows][::-1]


# --- findings -------------------------------------------------------------------------------------------------------


class Gate(NamedTuple):
    fail_on: str
    new_only: bool
    baseline: frozenset[str] | None

    def stops(self, finding: dict[str, Any]) -> bool:
        return (
            bool(self.fail_on)
            and SEVERITIES.index(finding["severity"]) <= SEVERITIES.index(self.fail_on)
            and (finding["new"] or not self.new_only)
            and not finding["known"]
        )


class Findings:
    """All that a run has found, most severe first: on disk, since it may be a great many."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.files = {severity: tempfile.TemporaryFile("w+", encoding="utf-8") for severity in SEVERITIES}
        self.counts = dict.fromkeys(SEVERITIES, 0)
        self.stopping = dict.fromkeys(SEVERITIES, 0)
        self.by_tool: dict[str, list[int]] = {}  # how many, and how many of them stop
        self.rules: dict[str, dict[str, dict[str, Any]]] = {}  # by tool and rule: the most severe finding of each
        self._uids: set[str] = set()

    def add(self, row: Any, *, new: bool) -> None:
        """A row as the server lists it; one that comes twice counts once."""
        finding = {
            name: take(row, name, str) for name in ("scanner", "rule", "title", "path", "help_url", "fingerprint")
        }
        finding["severity"] = one_of(row, "severity", SEVERITIES)
        finding["line"], finding["cwe"] = number(row, "line"), take(row, "cwe", (int, type(None)))
        for name in ("uid", "label", "status"):
            finding[name] = take(row, name, str) if name in row else ""
        finding["new"] = new
        finding["known"] = self.gate.baseline is not None and finding["fingerprint"] in self.gate.baseline
        if finding["uid"] in self._uids:
            return
        if finding["uid"]:
            self._uids.add(finding["uid"])
        finding["stops"] = self.gate.stops(finding)
        self.files[finding["severity"]].write(json.dumps(finding) + "\n")
        self.counts[finding["severity"]] += 1
        self.stopping[finding["severity"]] += finding["stops"]
        numbers = self.by_tool.setdefault(finding["scanner"], [0, 0])
        numbers[0] += 1
        numbers[1] += finding["stops"]
        rule = self.rules.setdefault(finding["scanner"], {}).setdefault(finding["rule"], finding)
        if SEVERITIES.index(finding["severity"]) < SEVERITIES.index(rule["severity"]):
            self.rules[finding["scanner"]][finding["rule"]] = finding

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for file in self.files.values():
            file.seek(0)
            for line in file:
                yield json.loads(line)

    def of(self, tool: str) -> Iterator[dict[str, Any]]:
        return (finding for finding in self if finding["scanner"] == tool)


def newly_raised(server: Server, run: Run) -> Iterator[str]:
    """The uids of what the run has raised or reopened."""
    if run.new + run.reopened:
        yield from (uid_of(row) for row in server.pages("/findings", {"raised_by": run.uid, "fields": "uid"}))


def collect(server: Server, asset: Asset, run: Run, raised: set[str] | None, into: Findings) -> str:
    """Add what the run has found; only what it has raised where `raised`, the uids of these, is None. A sentence where
    the server shows fewer than the run counted, else "".

    Where others look at the same asset at the same time, a finding that both may have seen counts: what is not
    certain is never a pass.
    """
    if raised is None:
        expected, query = run.new + run.reopened, {"raised_by": run.uid}
    else:
        since = run.started_at.isoformat() if run.started_at else "1970-01-01T00:00:00Z"
        expected, query = (
            run.new + run.reopened + run.same,
            {"asset": asset.uid, "scanner": run.scanner, "seen_since": since},
        )
    listed = 0
    for row in server.pages("/findings", {**query, "fields": ",".join(FIELDS)}):
        if uid_of(row, "asset") != asset.uid or take(row, "scanner", str) != run.scanner:
            raise nonsense("it lists findings of something else.")
        status, uid = one_of(row, "status", STATUSES), uid_of(row)
        first, fixed = moment(row, "first_seen_at"), moment(row, "fixed_at")
        if raised is not None and run.finished_at and first and first > run.finished_at:
            continue  # of a later run
        if status == "fixed" and fixed and run.started_at and fixed < run.started_at:
            continue  # fixed before, and in the report as suppressed
        listed += 1
        if status not in DECIDED:
            into.add(row, new=raised is None or uid in raised)
    if listed < expected:
        return f"{run.scanner} counted {expected} findings, and the server shows {listed}: may the token read them all?"
    return ""


# --- outputs --------------------------------------------------------------------------------------------------------


class Outcome:
    """What one call came to: everything that an output tells."""

    def __init__(self, command: str, gate: Gate, allow_errors: bool) -> None:
        self.command, self.gate, self.allow_errors = command, gate, allow_errors
        self.asset = Asset("", "")
        self.runs: list[Run] = []
        self.findings = Findings(gate)
        self.trial = False
        self.problems: list[str] = []  # each of them alone makes it unknown
        self.stop: Stop | None = None

    def tells(self, run: Run) -> bool:
        """Whether the run may count towards a pass."""
        return run.state == COMPLETED or (run.state == WITH_ERRORS and self.allow_errors)

    @property
    def code(self) -> int:
        if self.stop:
            return self.stop.code
        if self.problems or not self.runs or not all(run.did_its_work for run in self.runs):
            return UNKNOWN
        if any(self.findings.stopping.values()):
            return GATE
        return OK if all(self.tells(run) for run in self.runs) else UNKNOWN

    @property
    def words(self) -> str:
        stopping = sum(self.findings.stopping.values())
        if self.code == OK:
            return "passed" if self.gate.fail_on else "done (without --fail-on nothing is gated)"
        if self.code == GATE:
            which = "new " if self.gate.new_only else ""
            return f"gate failed: {stopping} {which}findings of severity {self.gate.fail_on} or above"
        return {USAGE: "usage", UNKNOWN: "not known", UNREACHABLE: "no usable answer"}[self.code]

    def troubles(self) -> Iterator[str]:
        for run in self.runs:
            if run.state != COMPLETED:
                yield f"{run.scanner}: {run.state}" + (f": {run.reason}" if run.reason else "")
        yield from self.problems
        if self.stop:
            yield self.stop.text


def place(finding: dict[str, Any]) -> str:
    return f"{finding['path']}:{finding['line']}" if finding["line"] else str(finding["path"])


def as_table(outcome: Outcome) -> Iterator[str]:
    for finding in outcome.findings:
        marks = "new" if finding["new"] else ("known" if finding["known"] else "")
        words = f"{shown(finding['scanner'], 32)} {shown(finding['rule'], 80)}  {shown(finding['title'], 200)}"
        yield f"{finding['severity'].upper():<8} {marks:<5} {shown(place(finding), 200)}  {words}"
    for run in outcome.runs:
        name = shown(f"{run.scanner} {run.version}".strip(), 80)
        counts = f"{run.new} new, {run.same} same, {run.fixed} fixed, {run.reopened} reopened"
        yield f"{name}: {run.state}, {counts}" + (" (trial: nothing is kept)" if outcome.trial else "")
    yield from ("! " + shown(text) for text in outcome.troubles())
    yield f"opssight-ci: {outcome.words}"


def as_json(outcome: Outcome) -> Iterator[str]:
    told = {
        "version": 1,
        "command": outcome.command,
        "exit_code": outcome.code,
        "outcome": outcome.words,
        "asset": outcome.asset._asdict(),
        "dry_run": outcome.trial,
        "gate": {"fail_on": outcome.gate.fail_on or None, "new_only": outcome.gate.new_only,
                 "baseline": outcome.gate.baseline is not None, "stopping": outcome.findings.stopping},
        "troubles": list(outcome.troubles()),
        "scanners": [
            {"name": run.scanner, "version": run.version, "state": run.state, "reason": run.reason, "scan": run.uid,
             "new": run.new, "same": run.same, "fixed": run.fixed, "reopened": run.reopened}
            for run in outcome.runs
        ],
        "counts": outcome.findings.counts,
    }  # fmt: skip
    yield _json(told)[:-1] + ', "findings": ['
    yield from _separated(outcome.findings)
    yield "]}"


def _json(value: Any) -> str:
    text = json.dumps(value)
    for secret in _secrets:
        text = text.replace(secret, "***")
    return text


def _separated(rows: Iterable[Any]) -> Iterator[str]:
    comma = ""
    for row in rows:
        yield comma + _json(row)
        comma = ","


LEVELS = {"critical": "error", "high": "error", "medium": "warning", "low": "note", "info": "note"}
SCORES = {"critical": "9.5", "high": "8.0", "medium": "5.5", "low": "2.0", "info": "0.0"}


def as_sarif(outcome: Outcome) -> Iterator[str]:
    """2.1.0, one run for each tool: code scanning refuses several of one tool."""
    yield '{"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": ['
    tools = dict.fromkeys([run.scanner for run in outcome.runs]) or {"opssight-ci": None}
    comma = ""
    for tool in tools:
        runs = [run for run in outcome.runs if run.scanner == tool]
        rules = outcome.findings.rules.get(tool, {})
        driver: dict[str, Any] = {
            "name": tool or "unnamed",
            "rules": [
                {
                    "id": shown(rule, 255) or "unnamed",
                    "shortDescription": {"text": shown(finding["title"]) or "no title"},
                    **({"helpUri": finding["help_url"]} if _is_link(finding["help_url"]) else {}),
                    "properties": {
                        "security-severity": SCORES[finding["severity"]],
                        "tags": ["security", *([f"external/cwe/cwe-{finding['cwe']:03d}"] if finding["cwe"] else [])],
                    },
                }
                for rule, finding in rules.items()
            ],
        }
        if runs and runs[-1].version:
            driver["version"] = runs[-1].version
        troubles = [run.reason or run.state for run in runs if run.state != COMPLETED]
        troubles += [*outcome.problems, *([outcome.stop.text] if outcome.stop else [])]
        invocation = {
            "executionSuccessful": not troubles,
            "toolExecutionNotifications": [{"level": "error", "message": {"text": shown(text)}} for text in troubles],
        }
        yield comma + '{"tool": ' + _json({"driver": driver}) + ', "invocations": ' + _json([invocation])
        yield ', "columnKind": "unicodeCodePoints", "results": ['
        places = {rule: index for index, rule in enumerate(rules)}
        yield from _separated(_result(finding, places[finding["rule"]]) for finding in outcome.findings.of(tool))
        yield "]}"
        comma = ","
    yield "]}"


def _is_link(text: str) -> bool:
    return re.match(r"^https?://[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]+$", text) is not None


def _result(finding: dict[str, Any], rule: int) -> dict[str, Any]:
    told: dict[str, Any] = {
        "ruleId": shown(finding["rule"], 255) or "unnamed",
        "ruleIndex": rule,
        "level": LEVELS[finding["severity"]],
        "message": {"text": shown(finding["title"]) or "no title"},
        "partialFingerprints": {"opssight/v1": finding["fingerprint"]},
        "properties": {name: finding[name] for name in ("uid", "severity", "status", "new", "stops")},
    }
    path = finding["path"].lstrip("/")
    if path:
        region = {"region": {"startLine": finding["line"]}} if finding["line"] else {}
        uri = quote(path.encode("utf-8", "replace"))
        told["locations"] = [{"physicalLocation": {"artifactLocation": {"uri": uri}, **region}}]
    return told


def as_junit(outcome: Outcome) -> Iterator[str]:
    """A suite for each tool: its run is a case, and each finding one that fails, or is skipped below the gate."""
    gated = bool(outcome.gate.fail_on)
    tools = dict.fromkeys(run.scanner for run in outcome.runs)
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="OpsSight">\n'
    for tool in tools:
        runs = [run for run in outcome.runs if run.scanner == tool]
        total, stopping = outcome.findings.by_tool.get(tool, (0, 0))
        failures = stopping if gated else total
        errors = sum(not outcome.tells(run) for run in runs)
        yield (
            f'<testsuite name={_attribute(tool)} tests="{total + len(runs)}" failures="{failures}" '
            f'errors="{errors}" skipped="{total - failures}">\n'
        )
        for run in runs:
            yield _case(tool, "the run", "" if outcome.tells(run) else _element("error", run.state, run.reason))
        for finding in outcome.findings.of(tool):
            about = f"{finding['severity']}: {finding['title']}"
            text = f"{place(finding)}\n{finding['label']} {finding['help_url']}".strip()
            fails = finding["stops"] or not gated
            inside = _element("failure", about, text) if fails else '<skipped message="the gate lets it pass"/>'
            yield _case(tool, f"{finding['rule']} {place(finding)}", inside, finding["path"])
        yield "</testsuite>\n"
    others = [*outcome.problems, *([outcome.stop.text] if outcome.stop else [])]
    if others or not outcome.runs:
        others = others or ["Nothing was scanned."]
        yield f'<testsuite name="opssight-ci" tests="{len(others)}" failures="0" errors="{len(others)}" skipped="0">\n'
        yield from (_case("opssight-ci", "opssight-ci", _element("error", text, "")) for text in others)
        yield "</testsuite>\n"
    yield "</testsuites>\n"


def _attribute(value: object) -> str:
    return quoteattr(shown(value)).encode("ascii", "xmlcharrefreplace").decode()


def _case(tool: str, name: str, inside: str, file: str = "") -> str:
    where = f" file={_attribute(file)}" if file else ""
    return f"<testcase classname={_attribute(tool)} name={_attribute(name)}{where}>{inside}</testcase>\n"


def _element(kind: str, message: str, text: str) -> str:
    lines = "\n".join(shown(line) for line in text.split("\n"))
    inside = escape(lines).encode("ascii", "xmlcharrefreplace").decode()
    return f"<{kind} message={_attribute(message)}>{inside}</{kind}>"


MOST_NOTES = 50  # of each level: GitHub shows ten a step, and the log is for people
GITHUB = {"critical": "error", "high": "error", "medium": "warning", "low": "notice", "info": "notice"}


def as_github(outcome: Outcome) -> Iterator[str]:
    """Workflow commands, which the runner shows at the lines of a change."""
    told = dict.fromkeys(GITHUB.values(), 0)
    for finding in outcome.findings:
        level = GITHUB[finding["severity"]]
        told[level] += 1
        if told[level] > MOST_NOTES:
            continue
        about = {"title": f"{finding['severity']}: {finding['rule']}"}
        if finding["path"]:
            about = {"file": finding["path"], **({"line": str(finding["line"])} if finding["line"] else {}), **about}
        yield _command(level, about, f"{finding['title']} ({finding['scanner']})")
    for level, count in told.items():
        if count > MOST_NOTES:
            yield _command("notice", {}, f"{count - MOST_NOTES} more of level {level}")
    for text in outcome.troubles():
        yield _command("error" if outcome.code else "warning", {"title": "OpsSight"}, text)
    yield _command("notice" if outcome.code == OK else "error", {"title": "OpsSight"}, outcome.words)


def _command(level: str, about: dict[str, str], text: str) -> str:
    values = ",".join(
        f"{name}={_escaped(value).replace(':', '%3A').replace(',', '%2C')}" for name, value in about.items()
    )
    return f"::{level} {values}::{_escaped(text)}" if values else f"::{level}::{_escaped(text)}"


def _escaped(text: str) -> str:
    return shown(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


WRITERS = {"table": as_table, "json": as_json, "sarif": as_sarif, "junit": as_junit, "github": as_github}
LINES = ("table", "github")  # these two may share standard output


class Output:
    """One document. A file is written beside its place and moved there whole, whatever happens."""

    def __init__(self, format: str, path: str) -> None:
        self.format, self.path = format, path
        self.file: IO[str] | None = None
        self.part = path if os.path.exists(path) and not os.path.isfile(path) else f"{path}.part"  # a device, a pipe
        if path:
            try:
                self.file = open(self.part, "w", encoding="utf-8", errors="backslashreplace", newline="\n")
                if os.path.isfile(path):
                    os.remove(path)  # whatever happens now, an earlier result is not taken for this one
            except OSError as error:
                raise Stop(USAGE, f"{path} can't be written: {error.strerror}") from None

    def write(self, outcome: Outcome) -> None:
        end = "\n" if self.format in LINES else ""
        pieces = (piece + end for piece in WRITERS[self.format](outcome))
        if self.file:
            with self.file:
                self.file.writelines(pieces)
            if self.part != self.path:
                os.replace(self.part, self.path)
            return
        try:
            sys.stdout.writelines(pieces)
            sys.stdout.write("" if end else "\n")
            sys.stdout.flush()
        except BrokenPipeError:  # its reader has seen enough; the exit code still says what came out
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# --- the baseline ---------------------------------------------------------------------------------------------------


def read_baseline(path: str) -> frozenset[str]:
    """The first word of each line; # begins a remark."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = (line.split("#")[0].split() for line in file)
            return frozenset(words[0] for words in lines if words)
    except (OSError, UnicodeDecodeError) as error:
        raise Stop(USAGE, f"--baseline {path} can't be read: {error}. --write-baseline makes one.") from None


def write_baseline(path: str, findings: Iterable[dict[str, Any]]) -> None:
    known = {}
    for finding in findings:
        about = shown(f"{finding['scanner']} {finding['rule']} {place(finding)}", 300)
        known[re.sub(r"[\s#]", "_", finding["fingerprint"])] = about
    with open(f"{path}.part", "w", encoding="utf-8", newline="\n", errors="backslashreplace") as file:
        file.write("# What OpsSight knew of, one fingerprint a line: see opssight-ci.py --baseline\n")
        for fingerprint, about in sorted(known.items()):
            file.write(f"{fingerprint}  # {about}\n")
    os.replace(f"{path}.part", path)


# --- the command ----------------------------------------------------------------------------------------------------


def own_digest() -> str:
    with open(os.path.abspath(__file__), "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


class Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(f"opssight-ci {VERSION} sha256:{own_digest()}")
        parser.exit(OK)


class NoToken(argparse.Action):
    """Other people of the machine see arguments. What was given is not repeated."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        parser.error("the token is no argument: set OPSSIGHT_TOKEN, or OPSSIGHT_TOKEN_FILE to the path of its file")


class AddFormat(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, value: Any, option: str | None = None) -> None:
        namespace.outputs = [*namespace.outputs, [value, ""]]


class AddFile(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, value: Any, option: str | None = None) -> None:
        if not namespace.outputs or namespace.outputs[-1][1]:
            parser.error("-o follows the --format whose file it names")
        namespace.outputs[-1][1] = value


def seconds(text: str) -> float:
    value = float(text)
    if not 1 <= value <= 86_400:
        raise argparse.ArgumentTypeError("must be from 1 to 86400 seconds")
    return value


def few(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError("must be from 0 to 100")
    return value


def make_parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument("--asset", required=True, metavar="NAME|UID")
    common.add_argument("--url", default="", help="in place of OPSSIGHT_URL")
    common.add_argument("--token", nargs="?", action=NoToken, help=argparse.SUPPRESS)
    common.add_argument("--ca", default="", metavar="FILE", help="certificates of your own authority, PEM")
    common.add_argument("--insecure-http", action="store_true", help="plain http to another machine")
    common.add_argument("--timeout", type=seconds, default=900.0, metavar="S", help="for the whole run; 900")
    common.add_argument("--retries", type=few, default=5, metavar="N", help="of what may pass by itself; 5")
    common.add_argument("--fail-on", choices=SEVERITIES, default="", help="exit code 1 from this severity on")
    common.add_argument("--new-only", action="store_true", help="only what this run has raised or reopened")
    common.add_argument("--baseline", default="", metavar="FILE", help="fingerprints that hold nothing up")
    common.add_argument("--write-baseline", action="store_true", help="write FILE from what was found")
    common.add_argument("--allow-errors", action="store_true", help="a run that missed some files may pass")
    common.add_argument("--format", dest="outputs", action=AddFormat, choices=sorted(WRITERS), default=[],
                        help="table; may be given several times, each with its -o")  # fmt: skip
    common.add_argument("-o", "--output", action=AddFile, metavar="FILE", help="where the --format before it goes")
    codes = "exit codes: 0 passed, 1 gate, 2 usage, 3 not known, 4 no usable server"
    parser = argparse.ArgumentParser(
        prog="opssight-ci.py", description="OpsSight in a pipeline.", allow_abbrev=False, epilog=codes
    )
    parser.add_argument("--version", action=Version, nargs=0)
    parser.add_argument("--token", nargs="?", action=NoToken, help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", required=True, metavar="scan|upload")
    scanning = commands.add_parser("scan", parents=[common], allow_abbrev=False, help="let the server scan an asset")
    scanning.add_argument("--scanner", action="append", default=[], metavar="NAME", help="all that fit; several times")
    sending = commands.add_parser("upload", parents=[common], allow_abbrev=False, help="send reports of other tools")
    sending.add_argument("reports", nargs="+", metavar="REPORT", help="a file, plain or gzipped; - is standard input")
    sending.add_argument(
        "--report-format", default="", metavar="NAME", help="bandit, sarif, ...; else the content says"
    )
    sending.add_argument("--partial", action="store_true", help="about a part of the asset")
    sending.add_argument("--dry-run", action="store_true", help="only say what would happen")
    return parser


def the_token() -> str:
    text, path = os.environ.get("OPSSIGHT_TOKEN", ""), os.environ.get("OPSSIGHT_TOKEN_FILE", "")
    if path and not text:
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read(10_000)
        except (OSError, UnicodeDecodeError) as error:
            raise Stop(USAGE, f"OPSSIGHT_TOKEN_FILE can't be read: {type(error).__name__}.") from None
    text = text.strip()
    if not re.match(r"^[!-~]+$", text):
        raise Stop(USAGE, "There is no token: put it into OPSSIGHT_TOKEN, or its file's path into OPSSIGHT_TOKEN_FILE.")
    if len(text) >= 8:
        _secrets.append(text)
    return text


def work(asked: argparse.Namespace, outcome: Outcome) -> None:
    """Fill in the outcome; Stop where it can't go on."""
    server = Server(
        asked.url or os.environ.get("OPSSIGHT_URL", ""), the_token(), ca=asked.ca, insecure=asked.insecure_http,
        retries=asked.retries, timeout=asked.timeout,
    )  # fmt: skip
    outcome.asset = find_asset(server, asked.asset)
    if asked.command == "scan":
        for run in scan(server, outcome.asset, list(dict.fromkeys(asked.scanner))):
            outcome.runs.append(run)
    else:
        send_all(server, asked, outcome)
    runs = [] if outcome.trial else [run for run in outcome.runs if run.did_its_work]
    raised = {uid for run in runs for uid in newly_raised(server, run)} if not asked.new_only else None
    for run in runs:
        problem = collect(server, outcome.asset, run, raised, outcome.findings)
        outcome.problems += [problem] if problem else []


def send_all(server: Server, asked: argparse.Namespace, outcome: Outcome) -> None:
    """Every report, though one of them can't be used."""
    for path in asked.reports:
        try:
            said = upload(server, outcome.asset, path, format=asked.report_format, partial=asked.partial,
                          trial=asked.dry_run)  # fmt: skip
        except Refused as refused:
            if refused.status not in (400, 413):
                raise
            outcome.problems.append(f"{path}: {refused.text}")
            continue
        if asked.dry_run:
            take_trial(said, outcome, path)
            continue
        if not said["scans"]:
            outcome.problems.append(f"{path} holds no run of any tool, so it says nothing.")
        twice = {run.scanner for run in outcome.runs}
        runs = [_ended(server, uid) for uid in said["scans"]]
        if not asked.partial and any(run.scanner in twice for run in runs):
            say(f"{path}: another report of the same tool came before. Each speaks for the whole asset; use --partial.")
        outcome.runs += runs


def take_trial(said: dict[str, Any], outcome: Outcome, path: str) -> None:
    runs = [Run.read(row, "", timed=False) for row in take(said, "scanners", list)]
    if not runs:
        outcome.problems.append(f"{path} holds no run of any tool, so it says nothing.")
    if any(run.state in GOING for run in runs):
        raise nonsense("a trial has not ended.")
    raised, rows = sum(run.new + run.reopened for run in runs), take(said, "raised", list)
    if len(rows) < min(raised, 1000):
        outcome.problems.append(f"{path}: {raised} findings would be new, and the server shows {len(rows)}.")
    elif raised > len(rows):
        say(f"{path}: {raised} findings would be new; the {len(rows)} most severe are listed.")
        if outcome.gate.baseline is not None:
            outcome.problems.append(f"{path}: {raised} findings are too many to hold against a baseline in a trial.")
    for row in rows:
        one_of(row, "scanner", [run.scanner for run in runs])
        outcome.findings.add(row, new=True)
    outcome.runs += runs


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser()
    asked = parser.parse_args(arguments)
    asked.outputs = asked.outputs or [["table", ""]]
    asked.outputs = [[format, "" if path == "-" else path] for format, path in asked.outputs]
    on_screen = [format for format, path in asked.outputs if not path]
    if len(on_screen) > 1 and not set(on_screen) <= set(LINES):
        parser.error("only one document goes to standard output: give each --format an -o FILE")
    files = [os.path.abspath(path) for _, path in asked.outputs if path]
    if len(set(files)) < len(files):
        parser.error("two outputs go to the same file")
    if asked.write_baseline and not asked.baseline:
        parser.error("--write-baseline needs --baseline FILE")
    asked.dry_run = getattr(asked, "dry_run", False)
    if asked.dry_run and asked.write_baseline:
        parser.error("--dry-run knows only what would be new: a baseline needs all")
    if asked.dry_run and asked.fail_on and not asked.new_only:
        parser.error("--dry-run knows only what would be new: --fail-on needs --new-only with it")
    if asked.write_baseline and (asked.new_only or asked.fail_on):
        parser.error("--write-baseline takes all that is found: neither --new-only nor --fail-on goes with it")
    return asked


def run(arguments: list[str] | None = None) -> int:
    asked = parse(arguments)
    outputs: list[Output] = []
    try:
        known = read_baseline(asked.baseline) if asked.baseline and not asked.write_baseline else None
        outcome = Outcome(asked.command, Gate(asked.fail_on, asked.new_only, known), asked.allow_errors)
        outcome.trial = asked.dry_run
        outputs += [Output(format, path) for format, path in asked.outputs]
    except Stop as stop:
        say(stop.text)
        return stop.code
    try:
        work(asked, outcome)
    except Stop as stop:
        outcome.stop = stop
    except Exception as error:  # nothing is known then, and never a traceback with a token in it
        outcome.stop = Stop(UNKNOWN, f"The client itself failed: {type(error).__name__}: {shown(error, 200)}")
    if asked.write_baseline and outcome.code in (OK, GATE):
        write_baseline(asked.baseline, outcome.findings)
        say(f"{asked.baseline} holds {sum(outcome.findings.counts.values())} findings now.")
    code = outcome.code
    for output in sorted(outputs, key=lambda output: not output.path):  # standard output may be gone: files first
        output.write(outcome)
    for text in outcome.troubles():
        say(text)
    return code


def main(arguments: list[str] | None = None) -> int:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        return run(arguments)
    except KeyboardInterrupt:
        say("stopped")
        return 130
    except OSError as error:
        say(f"A result can't be written: {error}")
        return USAGE


if __name__ == "__main__":
    sys.exit(main())
