"""The client as a process, against OpsSight as it answers, and with trouble on the way."""

import http.client
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

from accounts.models import User
from accounts.tokens.services import issue_token
from scanning import services
from scanning.client.views import PROGRAM
from scanning.inventory import asset_at
from scanning.models import Asset, Scan

SCOPES = ["assets:read", "findings:read", "imports:create", "imports:read", "scans:create", "scans:read"]


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Caller:
    """`ci("upload", …)`: the client with a server and a token in its environment, ended within a minute."""

    def __init__(self, url: str, token: str, folder: Path) -> None:
        self.url, self.token, self.folder = url, token, folder
        self.env = {"PATH": "/usr/bin:/bin", "PYTHONWARNINGS": "error"}

    def start(self, *arguments: object, python: str = sys.executable, **env: str) -> subprocess.Popen[bytes]:
        named = {"OPSSIGHT_URL": self.url, "OPSSIGHT_TOKEN": self.token, **self.env, **env}
        return subprocess.Popen(
            [python, "-X", "dev", "-W", "ignore::ResourceWarning", str(PROGRAM), *map(str, arguments)],
            env={name: value for name, value in named.items() if value}, cwd=self.folder,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def __call__(self, *arguments: object, given: bytes = b"", **more: str) -> Done:
        process = self.start(*arguments, **more)
        try:
            out, err = process.communicate(given, timeout=60)
        finally:
            process.kill()
        done = Done(process.returncode, out.decode(), err.decode())
        assert "Traceback" not in done.err + done.out, done.err
        assert self.token not in done.err + done.out
        return done

    def file(self, name: str, content: bytes | str | dict[str, Any]) -> Path:
        path = self.folder / name
        text = json.dumps(content) if isinstance(content, dict) else content
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path


def finding(number: int, severity: str = "high", **more: Any) -> dict[str, Any]:
    return {
        "rule": f"R{number}", "title": f"title {number}", "severity": severity, "path": "shop.py", "line": number,
        "id": str(number), **more,
    }  # fmt: skip


def report(*findings: dict[str, Any], tool: str = "linter", **more: Any) -> dict[str, Any]:
    """A report in OpsSight's own format that vouches for shop.py."""
    return {"tool": tool, "version": "2.1", "files": ["shop.py"], "findings": list(findings), **more}


@pytest.fixture
def asset(transactional_db: None, tmp_path: Path) -> Asset:
    (tmp_path / "shop").mkdir()
    return asset_at(tmp_path / "shop")


@pytest.fixture
def runs_at_once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A worker that does what is asked before the answer to it is written."""
    asked: list[int] = []

    def work(name: str, args: list[int], **options: Any) -> None:
        if name == Scan.task:
            asked.extend(args)
            services.run_scan(*args)

    monkeypatch.setattr("celery.current_app.send_task", work)
    return asked


@pytest.fixture
def caller_of(live_server: Any, tmp_path: Path) -> Callable[..., Caller]:
    def make(person: User, *scopes: str, url: str = "") -> Caller:
        _, text = issue_token(person, name="ci", scopes=list(scopes) or SCOPES)
        folder = tmp_path / "work"
        folder.mkdir(exist_ok=True)
        return Caller(url or live_server.url, text, folder)

    return make


@pytest.fixture
def dev(transactional_db: None) -> User:
    from tests.conftest import make_person

    return make_person("Dev", "developer")


@pytest.fixture
def ci(asset: Asset, dev: User, runs_at_once: list[int], caller_of: Callable[..., Caller]) -> Caller:
    return caller_of(dev)


# --- trouble on the way -----------------------------------------------------------------------------------------------


@dataclass
class Fault:
    """What happens to the next `times` requests of this method and beginning of the path below /api/v1."""

    method: str
    path: str
    what: str | Callable[[BaseHTTPRequestHandler], None]
    times: int = 1


@dataclass
class Between:
    """A proxy before the server. `seen` holds each request's method, path, headers and body as it came."""

    target: str
    faults: list[Fault] = field(default_factory=list)
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    def on(self, method: str, path: str, what: Any, times: int = 1) -> None:
        self.faults.append(Fault(method, path, what, times))

    def asked(self, method: str, path: str) -> int:
        return sum(one[0] == method and one[1].startswith("/api/v1" + path) for one in self.seen)

    def fault(self, method: str, path: str) -> Any:
        for one in self.faults:
            if one.times and one.method == method and path.startswith("/api/v1" + one.path):
                one.times -= 1
                return one.what
        return None


def answer(code: int, body: bytes = b"", kind: str = "text/html", **headers: str) -> Any:
    def say(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return say


def between(target: str) -> Iterator[Between]:
    state = Between(target)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            state.seen.append((self.command, self.path, dict(self.headers), body))
            what = state.fault(self.command, self.path)
            if callable(what):
                return what(self)
            if what == "drop":
                self.close_connection = True
                return None
            place = urlsplit(target)
            onward = http.client.HTTPConnection(place.hostname or "", place.port)
            passed = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            onward.request(self.command, self.path, body, {**passed, "Connection": "close"})
            said = onward.getresponse()
            content = said.read()
            onward.close()
            if what == "lost":  # it was done, and nobody hears of it
                self.close_connection = True
                return None
            self.send_response(said.status)
            for name, value in said.getheaders():
                if name.lower() not in ("connection", "date", "server"):
                    self.send_header(name, value)
            self.end_headers()
            if what == "cut":
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
                return None
            self.wfile.write(content)
            return None

        do_GET = do_POST = do

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def way(live_server: Any) -> Iterator[Between]:
    yield from between(live_server.url)


@pytest.fixture
def ci_on(way: Between, ci: Caller) -> Caller:
    """The client, with `way` between it and the server."""
    ci.url = way.url
    return ci
