"""A tiny registry on loopback, as the OCI distribution specification describes one, and images to put into it."""

import base64
import hashlib
import io
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def tarred(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def configured(layer: bytes) -> bytes:
    """An image's configuration that names its one layer."""
    return json.dumps({
        "architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"]}, "history": [{"created_by": "ADD"}],
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer)]},
    }).encode()  # fmt: skip


class Registry:
    """`127.0.0.1:PORT`, for dev with this password where there is one.

    `answers` replaces what is said to a path: status, headers, body. `asked` are the paths. Without `answering` whoever
    asks is kept waiting.
    """

    def __init__(self, password: str = "") -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.asked: list[str] = []
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.answering = threading.Event()
        self.answering.set()
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None: ...

            def do_GET(self) -> None:
                registry.asked.append(self.path)
                registry.answering.wait()
                status, headers, body = self.answer()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def answer(self) -> tuple[int, dict[str, str], bytes]:
                given = base64.b64encode(f"dev:{registry.password}".encode()).decode()
                if registry.password and self.headers.get("Authorization") != f"Basic {given}":
                    said = f"you sent {self.headers.get('Authorization')}"  # as a careless one does
                    return 401, {"WWW-Authenticate": 'Basic realm="registry"'}, problem("UNAUTHORIZED", said)
                if self.path in registry.answers:
                    return registry.answers[self.path]
                if self.path == "/v2/":
                    return 200, {}, b"{}"
                kind, _, name = self.path.rpartition("/")
                if kind.endswith("/manifests") and (name in registry.manifests):
                    media, content = registry.manifests[name]
                    return 200, {"Content-Type": media, "Docker-Content-Digest": digest_of(content)}, content
                if kind.endswith("/blobs") and name in registry.blobs:
                    return 200, {"Content-Type": "application/octet-stream"}, registry.blobs[name]
                return 404, {}, problem("MANIFEST_UNKNOWN", "manifest unknown")

        self.password = password
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def push(self, tag: str, files: dict[str, bytes], *, index: bool = False) -> str:
        """Put an image of one layer there: the digest that its tag names."""
        layer = tarred(files)
        config = configured(layer)
        self.blobs |= {digest_of(layer): layer, digest_of(config): config}
        content = json.dumps({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": described("application/vnd.oci.image.config.v1+json", config),
            "layers": [described("application/vnd.oci.image.layer.v1.tar", layer)],
        }).encode()  # fmt: skip
        told = (MANIFEST, content)
        self.manifests[digest_of(content)] = told
        if index:
            platform = {**described(MANIFEST, content), "platform": {"architecture": "amd64", "os": "linux"}}
            told = (INDEX, json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [platform]}).encode())
            self.manifests[digest_of(told[1])] = told
        self.manifests[tag] = told
        return digest_of(told[1])

    def stop(self) -> None:
        self.answering.set()
        self.http.shutdown()
        self.http.server_close()


def described(media: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media, "digest": digest_of(content), "size": len(content)}


def problem(code: str, said: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": said}]}).encode()
