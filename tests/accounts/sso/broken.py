"""A provider on loopback that says whatever a test wants: `says` holds what it would rather say than the truth."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from django.test import Client
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

KEYS = {kid: RSAKey.generate_key(2048, {"kid": kid}) for kid in ("first", "second", "unlisted")}
PLAIN_KEY = RSAKey.generate_key(2048)
EC = ECKey.generate_key("P-256", {"kid": "curve"})
GONE = object()  # a claim that is left out


def half_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()


def encoded(part: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


class Broken:
    """`begin` and `answer` are the browser's part; what the provider was asked stands in `asked`."""

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {}  # of the ID token
        self.about: dict[str, Any] = {"email": "eve@example.org", "email_verified": True, "name": "Eve"}
        self.userinfo: dict[str, Any] = {}
        self.discovery: dict[str, Any] = {}
        self.answers: dict[str, Callable[[Any], None]] = {}  # by path: something else than it should be
        self.listed = ["first"]
        self.sign: Callable[[dict[str, Any]], str] = lambda claims: signed(claims)
        self.token: dict[str, Any] = {}
        self.nonce, self.subject = "", "person-1"
        self.emails: Any = []
        self.asked: list[tuple[str, str, dict[str, str], str]] = []
        broken = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None: ...

            def do_GET(self) -> None:
                broken.hear(self, "")

            def do_POST(self) -> None:
                broken.hear(self, self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    # --- the provider -------------------------------------------------------------------------------------------

    def hear(self, handler: Any, body: str) -> None:
        path = urlsplit(handler.path).path
        self.asked.append((handler.command, path, dict(handler.headers), body))
        answer = self.answers.get(path)
        if answer:
            answer(handler)
        else:
            send(handler, {
                "/.well-known/openid-configuration": self.says_of_itself,
                "/jwks": self.key_set,
                "/token": self.tokens,
                "/me": self.person,
                "/emails": lambda: self.emails,
            }[path]())  # fmt: skip

    def paths(self) -> list[str]:
        return [path for _, path, _, _ in self.asked]

    def says_of_itself(self) -> dict[str, Any]:
        return without_gone({
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "userinfo_endpoint": f"{self.issuer}/me",
            "end_session_endpoint": f"{self.issuer}/end",
            **self.discovery,
        })  # fmt: skip

    def key_set(self) -> dict[str, Any]:
        every = {**KEYS, "plain": PLAIN_KEY, "curve": EC}
        return {"keys": [every[kid].as_dict(private=False) for kid in self.listed]}

    def tokens(self) -> dict[str, Any]:
        return without_gone({
            "access_token": "an-access-token", "token_type": "Bearer",
            "id_token": self.sign(self.id_claims()), **self.token,
        })  # fmt: skip

    def id_claims(self) -> dict[str, Any]:
        now = int(time.time())
        return without_gone({
            "iss": self.issuer, "aud": "opssight", "sub": self.subject, "nonce": self.nonce, "iat": now,
            "exp": now + 300, "at_hash": half_hash("an-access-token"), **self.claims,
        })  # fmt: skip

    def person(self) -> dict[str, Any]:
        return without_gone({"sub": self.subject, **self.about, **self.userinfo})

    def logout_token(self, sign: Callable[[dict[str, Any]], str] | None = None, **claims: Any) -> str:
        now = int(time.time())
        return (sign or signed)(without_gone({
            "iss": self.issuer, "aud": "opssight", "iat": now, "exp": now + 120, "jti": f"j{time.time_ns()}",
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}}, "sub": self.subject, **claims,
        }))  # fmt: skip

    # --- the browser --------------------------------------------------------------------------------------------

    def begin(self, client: Client, address: str = "/sign-in/with/acme") -> dict[str, str]:
        """Goes to the provider; what it was asked with."""
        went = client.get(address)
        assert went.status_code == 302, went.content
        assert went["Location"].startswith(f"{self.issuer}/authorize?"), went["Location"]
        asked = {name: values[0] for name, values in parse_qs(urlsplit(went["Location"]).query).items()}
        self.nonce = asked.get("nonce", "")
        return asked

    def answer(self, client: Client, asked: dict[str, str], slug: str = "acme", **more: Any) -> Any:
        params = without_gone({"code": "a-code", "state": asked["state"], "iss": self.issuer, **more})
        return client.get(f"/sign-in/with/{slug}/back?{urlencode(params)}")

    def walk(self, client: Client | None = None, **more: Any) -> Any:
        client = client or Client()
        return self.answer(client, self.begin(client), **more)


def without_gone(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not GONE}


def send(handler: Any, what: Any, status: int = 200, content: bytes | None = None) -> None:
    body = json.dumps(what).encode() if content is None else content
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


# --- ways to sign -------------------------------------------------------------------------------------------------


def signed(claims: dict[str, Any], key: Any = None, **header: Any) -> str:
    key = key or KEYS["first"]
    alg = "ES256" if isinstance(key, ECKey) else "RS256"
    return jwt.encode(without_gone({"alg": alg, "kid": key.kid or GONE, **header}), claims, key, algorithms=[alg])


def unsigned(claims: dict[str, Any]) -> str:
    return f"{encoded({'alg': 'none', 'kid': 'first'})}.{encoded(claims)}."


def with_public_key(claims: dict[str, Any]) -> str:
    """HS256 under the text of the provider's public key, which everybody has."""
    return _hs256(claims, KEYS["first"].as_pem(private=False))


def with_client_secret(claims: dict[str, Any]) -> str:
    return _hs256(claims, b"a-secret-of-the-tests")


def _hs256(claims: dict[str, Any], key: bytes) -> str:
    """By hand, as libraries refuse to."""
    text = f"{encoded({'alg': 'HS256', 'kid': 'first'})}.{encoded(claims)}"
    mac = hmac.digest(key, text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def tampered(claims: dict[str, Any]) -> str:
    head, _, signature = signed(claims).split(".")
    return f"{head}.{encoded({**claims, 'sub': 'somebody-else'})}.{signature}"


def with_own_key(claims: dict[str, Any]) -> str:
    """Signed by a key that the header brings along."""
    key = KEYS["unlisted"]
    return jwt.encode(
        {"alg": "RS256", "kid": "first", "jwk": key.as_dict(private=False)}, claims, key, algorithms=["RS256"]
    )
