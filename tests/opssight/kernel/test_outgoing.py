"""The client for outgoing calls, against servers of our own on loopback that behave badly."""

import gzip
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from opssight.kernel.outgoing import Refused, TooLarge, TooSlow, Transport, Unreachable, judge, send
from opssight.settings.env import Misconfigured, Outside, outside

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SHORT = timedelta(seconds=0.5)
SOON = timedelta(seconds=20)  # never reached: what a call that must not time out may take


class Server:
    """Answers each connection with `answer(connection)`, after it has read the head of the request."""

    def __init__(self, answer: Callable[[socket.socket], None], context: ssl.SSLContext | None = None) -> None:
        self.answer, self.context, self.heads = answer, context, []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def url(self, host: str = "127.0.0.1", path: str = "/", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        try:
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            head = b""
            while b"\r\n\r\n" not in head and (more := connection.recv(4096)):
                head += more
            self.heads.append(head)
            self.answer(connection)
        except OSError:
            pass
        finally:
            connection.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(answer: bytes | Callable[[socket.socket], None] = OK, **options) -> Server:
        reply = (lambda connection: connection.sendall(answer)) if isinstance(answer, bytes) else answer
        servers.append(Server(reply, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.socket.close()


@pytest.fixture
def allowed(settings) -> Callable[[str], None]:
    @contextmanager
    def environment(value: str) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OPSSIGHT_OUTGOING_ALLOW", value)
            yield

    def allow(value: str) -> None:
        with environment(value):
            settings.OUTGOING_ALLOW = outside("OPSSIGHT_OUTGOING_ALLOW")

    return allow


def resolving(*answers: list[str], timeout: timedelta = SOON, follow: bool = False) -> httpx2.Client:
    """A client whose names lead to the next of `answers` each time."""
    queue = list(answers)
    transport = Transport(timeout=timeout, max_bytes=1000, resolver=lambda host, port: queue.pop(0))
    return httpx2.Client(transport=transport, trust_env=False, follow_redirects=follow)


# --- which addresses ---


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.9.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0",
        "fc00::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1",
        "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:80ff:fffe",
    ],
)  # fmt: skip
def test_what_is_inside_is_refused(address):
    with pytest.raises(Refused, match="OPSSIGHT_OUTGOING_ALLOW"):
        judge("hook.example", address, Outside(frozenset(), ()))


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07::1", "::ffff:93.184.215.14"])
def test_what_is_public_is_not(address):
    judge("hook.example", address, Outside(frozenset(), ()))


@pytest.mark.parametrize(
    ("listed", "host", "address", "may"),
    [
        ("siem.corp.example", "siem.corp.example", "10.0.0.7", True),
        ("siem.corp.example", "SIEM.Corp.Example.", "10.0.0.7", True),
        ("siem.corp.example", "other.corp.example", "10.0.0.7", False),
        ("corp.example", "siem.corp.example", "10.0.0.7", False),
        ("siem.corp.example", "siem.corp.example", "169.254.169.254", False),  # a listed name is no way to the cloud's
        ("siem.corp.example", "siem.corp.example", "0.0.0.0", False),
        ("169.254.169.254", "metadata", "169.254.169.254", True),
        ("10.0.0.0/8, 192.168.7.1", "anything", "10.200.0.1", True),
        ("10.0.0.0/8, 192.168.7.1", "anything", "192.168.7.2", False),
        ("10.0.0.0/8", "anything", "::ffff:10.0.0.1", True),
        ("fd00::/8", "anything", "fd12::1", True),
    ],
)
def test_what_an_operator_lists(allowed, settings, listed, host, address, may):
    allowed(listed)
    if may:
        judge(host, address, settings.OUTGOING_ALLOW)
    else:
        with pytest.raises(Refused):
            judge(host, address, settings.OUTGOING_ALLOW)


@pytest.mark.parametrize("value", ["10.0.0.0/33", "10.1.2.3/8", "http://siem", "siem:443", "*", "10.0.0.256", "a b"])
def test_a_list_that_can_not_be_stops_the_start(allowed, value, capfd):
    with pytest.raises(Misconfigured):
        allowed(value)
    assert "OPSSIGHT_OUTGOING_ALLOW" in capfd.readouterr().err


# --- through the client ---


def test_a_server_inside_is_reached_only_when_it_is_listed(serve, allowed):
    server = serve()
    for host in ("127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "0"):
        with pytest.raises(Refused):
            send("GET", server.url(host))
    assert server.heads == []
    allowed("127.0.0.0/8")
    answer = send("POST", server.url(path="/in?token=x"), content=b"body", headers={"X-Mark": "1"})
    assert (answer.status_code, answer.content) == (200, b"ok")
    assert server.heads[0].startswith(b"POST /in?token=x HTTP/1.1\r\n")
    assert b"X-Mark: 1" in server.heads[0]


def test_a_name_that_leads_inside_later_is_judged_each_time_and_never_looked_up_twice(serve, allowed):
    server = serve()
    allowed("127.0.0.1")
    with resolving(["127.0.0.1"], ["127.0.0.2"]) as client:
        assert client.get(server.url("hook.example")).status_code == 200  # one look-up: the second answer is not taken
        with pytest.raises(Refused):
            client.get(server.url("hook.example"))  # no connection was kept that would skip the judgement
    assert len(server.heads) == 1


def test_one_address_inside_refuses_the_name(serve):
    with resolving(["93.184.215.14", "127.0.0.1"]) as client, pytest.raises(Refused):
        client.get("http://hook.example/")


def test_a_second_address_is_tried_where_the_first_does_not_answer(serve, allowed):
    server = serve()
    allowed("127.0.0.0/8")
    with resolving(["127.9.9.9", "127.0.0.1"]) as client:  # nothing listens at the first
        assert client.get(server.url("hook.example")).text == "ok"


def test_a_redirect_is_an_answer_and_where_it_is_followed_each_hop_is_judged(serve, allowed):
    inside = serve()
    server = serve(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.2:%d/\r\nContent-Length: 0\r\n\r\n" % inside.port)
    allowed("127.0.0.1")
    assert send("GET", server.url()).status_code == 302
    with resolving(["127.0.0.1"], ["127.0.0.2"], follow=True) as client, pytest.raises(Refused):
        client.get(server.url("hook.example"))
    assert inside.heads == []


@pytest.mark.parametrize(
    "url", ["ftp://example.org/", "file:///etc/passwd", "gopher://x/", "/path", "", "http://", "http://[::1"]
)
def test_what_is_no_http_address(url):
    with pytest.raises(Refused):
        send("GET", url)


def test_no_proxy_of_the_environment(serve, allowed, monkeypatch):
    proxy, server = serve(), serve()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, proxy.url())
    allowed("127.0.0.1")
    assert send("GET", server.url()).text == "ok"
    assert proxy.heads == []


def dripping(head: bytes) -> Callable[[socket.socket], None]:
    """After `head`, a byte every 50 ms for as long as somebody listens."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(2000):
            connection.sendall(b"x")
            time.sleep(0.05)

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        dripping(b"HTTP/1.1 200 OK\r\nX-Slow: "),
        dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"),
        lambda connection: connection.recv(1),  # says nothing
    ],
    ids=["head", "body", "silence"],
)
def test_one_deadline_for_the_whole_call(serve, allowed, answer):
    server = serve(answer)
    allowed("127.0.0.1")
    began = time.monotonic()
    with pytest.raises(TooSlow, match=r"127\.0\.0\.1"):
        send("GET", server.url(), timeout=SHORT)
    assert time.monotonic() - began < 5  # and not the 100 s that it would talk


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")


def test_an_answer_is_cut_off_at_its_cap(serve, allowed):
    server = serve(endless)
    allowed("127.0.0.1")
    with pytest.raises(TooLarge, match="5000 bytes"):
        send("GET", server.url(), max_bytes=5000)


def test_a_compressed_answer_is_not_unpacked(serve, allowed):
    bomb = gzip.compress(b"\0" * 5_000_000)
    server = serve(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb)
    allowed("127.0.0.1")
    with pytest.raises(Unreachable, match="compressed"):
        send("GET", server.url())


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"])
def test_an_answer_that_is_none(serve, allowed, answer):
    server = serve(answer)
    allowed("127.0.0.1")
    with pytest.raises(Unreachable):
        send("GET", server.url(path="/secret-token"))


def test_nobody_there(allowed):
    allowed("127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(Unreachable, match="can't be reached") as said:
        send("GET", f"http://127.0.0.1:{port}/secret-token")
    assert "secret-token" not in str(said.value)
    with resolving() as client, pytest.raises(Unreachable, match="no address"):
        client._transport._pool._network_backend.resolver = lambda host, port: []
        client.get("http://nowhere.example/")


# --- TLS ---


def certificate(folder, name: str) -> tuple[ssl.SSLContext, str]:
    """A server's context and the file of the authority that vouches for `name`: itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    public, private = folder / f"{name}.pem", folder / f"{name}.key"
    public.write_bytes(made.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return context, str(public)


def test_tls_checks_the_name_and_not_the_address(serve, allowed, tmp_path, monkeypatch):
    context, authority = certificate(tmp_path, "hook.example")
    server = serve(context=context)
    allowed("127.0.0.1")
    with resolving(["127.0.0.1"]) as client, pytest.raises(Unreachable, match="certificate"):
        client.get(server.url("hook.example", scheme="https"))  # an authority nobody knows
    monkeypatch.setenv("SSL_CERT_FILE", authority)
    with resolving(["127.0.0.1"], ["127.0.0.1"]) as client:
        assert client.get(server.url("hook.example", scheme="https")).text == "ok"
        with pytest.raises(Unreachable, match="certificate"):
            client.get(server.url("other.example", scheme="https"))


def test_networks_of_the_setting_are_exact(allowed, settings):
    allowed("10.0.0.0/8, siem1, fd00::1")
    assert settings.OUTGOING_ALLOW.hosts == {"siem1"}
    assert settings.OUTGOING_ALLOW.networks == (
        ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_network("fd00::1/128"),
    )
