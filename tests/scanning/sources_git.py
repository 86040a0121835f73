"""A real git server on loopback: git's own http-backend behind basic authentication."""

import base64
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

AUTHOR = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")


def git(folder: Path, *words: str) -> str:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(
        ["git", *AUTHOR, "-C", str(folder), *words], check=True, capture_output=True, text=True, env=environment
    ).stdout.strip()


def commit(tree: Path, **files: str) -> str:
    if not (tree / ".git").exists():
        tree.mkdir(parents=True, exist_ok=True)
        git(tree, "init", "-q")
    for name, content in files.items():
        place = tree / name.replace("__", "/").replace("_py", ".py")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
    git(tree, "add", "-A")
    git(tree, "commit", "-q", "--allow-empty", "-m", "c")
    return git(tree, "rev-parse", "HEAD")


def bare(tree: Path, place: Path) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    git(tree, "clone", "-q", "--bare", str(tree), str(place))
    return place


class Server:
    """`http://127.0.0.1:PORT/NAME.git` for the bare repositories of a folder, for dev with this password."""

    def __init__(self, root: Path, password: str, *, redirect: str = "") -> None:
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None: ...

            def do_GET(self) -> None:
                server.asked.append(self.path)
                given = base64.b64encode(f"dev:{password}".encode()).decode()
                if redirect:
                    self.send_response(302)
                    self.send_header("Location", redirect + self.path)
                    self.end_headers()
                    return
                if password and self.headers.get("Authorization") != f"Basic {given}":
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="git"')
                    self.end_headers()
                    return
                path, _, query = self.path.partition("?")
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answer = subprocess.run(
                    ["git", "http-backend"], input=body, capture_output=True, env={
                        "PATH": os.defpath, "GIT_PROJECT_ROOT": str(root), "GIT_HTTP_EXPORT_ALL": "1",
                        "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command,
                        "CONTENT_TYPE": self.headers.get("Content-Type", ""), "REMOTE_USER": "dev",
                        "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                        "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""), "GIT_CONFIG_COUNT": "1",
                        "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
                    },
                ).stdout  # fmt: skip
                head, _, content = answer.partition(b"\r\n\r\n")
                headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
                self.send_response(int(headers.pop("Status", "200").split()[0]))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()
