"""Answers pip-audit's questions from an index of OSV records, on the loopback address, for as long as it runs.

    python osv_server.py INDEX COMMAND …      OSV_ADDRESS in COMMAND becomes the address to ask
    python osv_server.py --probe              exit code 0: this process can reach itself

Runs beside the tool and in its network, which may have nothing but this address; so it is given the Python of the
tool's own environment, and needs of it only `packaging`. What it says are public advisories, whoever asks.
"""

import fcntl
import json
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

ADDRESS = "OSV_ADDRESS"
MOST_ASKED = 100_000  # bytes of one question
GET_FLAGS, SET_FLAGS, UP = 0x8913, 0x8914, 1  # of an interface: linux/sockios.h, linux/if.h


def is_affected(record: dict[str, Any], name: str, version: Version) -> bool:
    """Whether a version of the package (by its canonical name) is affected: named, or within a range of PEP 440.

    A range that can't be judged counts as affected where no versions are named: nobody knows that it is not.
    """
    entries = [entry for entry in record.get("affected") or [] if _is_about(entry, name)]
    return any(_is_listed(entry, version) or _is_in_range(entry, version) for entry in entries)


def _is_about(entry: dict[str, Any], name: str) -> bool:
    package = entry.get("package") or {}
    return package.get("ecosystem") == "PyPI" and canonicalize_name(str(package.get("name", ""))) == name


def _is_listed(entry: dict[str, Any], version: Version) -> bool:
    listed = entry.get("versions") or []
    if not listed and not _ranges(entry):
        return True  # it says nothing of versions: all are meant
    return any(_parsed(one) in (version, Version(version.public)) for one in listed)


def _ranges(entry: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in entry.get("ranges") or [] if one.get("type") == "ECOSYSTEM"]


def _is_in_range(entry: dict[str, Any], version: Version) -> bool:
    unsure = not entry.get("versions")
    return any(_is_within(span, version, unsure) for span in _ranges(entry))


def _is_within(span: dict[str, Any], version: Version, unsure: bool) -> bool:
    """The events in the order of their versions, as OSV's own evaluation has it; introduced in 0 is from the first."""
    told = list[tuple[Version, int, str]]()
    for event in span.get("events") or []:
        for order, kind in enumerate(("fixed", "introduced", "last_affected")):
            if kind in event:
                at = Version("0.dev0") if event[kind] == "0" else _parsed(event[kind])
                if at is None:
                    return unsure
                told.append((at, order, kind))
    affected = False
    for at, _, kind in sorted(told):
        if kind == "introduced" and version >= at:
            affected = True
        elif (kind == "fixed" and version >= at) or (kind == "last_affected" and version > at):
            affected = False
    return affected


def _parsed(text: object) -> Version | None:
    try:
        return Version(str(text))
    except InvalidVersion:
        return None


def query(index: sqlite3.Connection, asked: dict[str, Any]) -> dict[str, Any]:
    """OSV's POST /v1/query for a package of PyPI in a version. ValueError where it asks for something else."""
    package, version = asked.get("package") or {}, _parsed(asked.get("version"))
    if package.get("ecosystem") != "PyPI" or not package.get("name") or version is None:
        raise ValueError("ask for a package of PyPI by its name, in a version")
    name = canonicalize_name(str(package["name"]))
    found = []
    for (body,) in index.execute("SELECT body FROM record WHERE package = ? ORDER BY id", [name]):
        record = json.loads(body)
        if not record.get("withdrawn") and is_affected(record, name, version):
            for entry in record["affected"]:
                if _is_about(entry, name):
                    entry["package"]["name"] = name  # pip-audit looks for the version that fixes it under this one
            found.append(record)
    return {"vulns": found} if found else {}


class Handler(BaseHTTPRequestHandler):
    index: str

    def do_POST(self) -> None:
        if self.path != "/v1/query":
            return self._answer(404, {"message": "only /v1/query is answered here"})
        try:
            size = int(self.headers.get("Content-Length", ""))
            if not 0 < size <= MOST_ASKED:
                raise ValueError("the question is empty or too long")
            asked = json.loads(self.rfile.read(size))
            with sqlite3.connect(f"file:{self.index}?mode=ro", uri=True) as index:
                self._answer(200, query(index, asked))
        except (ValueError, AttributeError) as error:
            self._answer(400, {"message": str(error)})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


def wake_loopback() -> None:
    """In a network of one's own even this interface is down. Where it is up, or can't be woken, nothing happens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            asked = fcntl.ioctl(one, GET_FLAGS, struct.pack("16sh14x", b"lo", 0))
            flags = struct.unpack("16sh14x", asked)[1]
            if not flags & UP:
                fcntl.ioctl(one, SET_FLAGS, struct.pack("16sh14x", b"lo", flags | UP))
        except OSError:
            return


def probe() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        try:
            socket.create_connection(server.getsockname(), timeout=2).close()
        except OSError:
            return 1
    return 0


def main(argv: list[str]) -> int:
    wake_loopback()
    if argv == ["--probe"]:
        return probe()
    index, *command = argv
    handler = type("Asked", (Handler,), {"index": index})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/v1/query"
        code = subprocess.run([word.replace(ADDRESS, address) for word in command]).returncode
        server.shutdown()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
