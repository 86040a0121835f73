"""A real provider, as npm has it, for as long as it is needed; and a box for what it sends us."""

import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from django.conf import settings

from tests.services import missing

PROGRAM = Path(__file__).parent / "provider.mjs"
TOOLS = Path(os.environ.get("OPSSIGHT_SSO_TOOLS") or Path(settings.BASE_DIR) / "var" / "tools" / "sso")


@contextmanager
def real_provider(ours: str, log: Path, *, logout: str = "") -> Iterator[str]:
    """Its issuer. `ours` is where we are, with a row of the slug `real`; `logout` where it tells of sign-outs."""
    node = shutil.which("node")
    if node is None:
        missing("there is no node on the path; on Debian: apt install nodejs npm")
    if not (TOOLS / "node_modules" / "oidc-provider").exists():
        missing("oidc-provider is not installed: make oidc")
    # Beside the modules, since that is where node looks for them.
    program = TOOLS / PROGRAM.name
    if not program.exists() or program.read_bytes() != PROGRAM.read_bytes():
        copy = program.with_suffix(f".{os.getpid()}")
        shutil.copyfile(PROGRAM, copy)
        copy.replace(program)  # whole at once: another run may start it now
    row = f"{ours}/sign-in/with/real"
    with (
        log.open("w") as file,
        subprocess.Popen(
            [node, str(program), f"{row}/back", logout or f"{row}/logout", f"{ours}/signed-out"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True,
        ) as process,
    ):  # fmt: skip
        assert process.stdout
        assert process.stdin
        port = ""
        for line in process.stdout:
            if (port := line.strip()).isdigit():
                break
        assert port.isdigit(), log.read_text()
        yield f"http://127.0.0.1:{port}"
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


class Box:
    """Keeps what is posted to `address`: the tests hand it on, as no server of ours listens."""

    def __init__(self) -> None:
        self.letters: queue.Queue[dict[str, str]] = queue.Queue()
        letters = self.letters

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None: ...

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                letters.put({name: values[0] for name, values in parse_qs(body).items()})
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def empty(self) -> None:
        while not self.letters.empty():
            self.letters.get()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
