"""Calls out of this machine: the one client, which reaches nothing inside the house unless an operator lists it.

A name is resolved once, every address it has is judged, and the connection goes to the address that was judged: an
answer of DNS that changes in between (rebinding) changes nothing. TLS still checks the certificate against the name.
"""

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import httpcore2
import httpx2
from django.conf import settings

from opssight.settings.env import Outside

TIMEOUT = timedelta(seconds=10)  # for the whole of a call: name, connection, TLS, request and answer
MAX_BYTES = 1_048_576
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: its last four bytes are an IPv4 address

Address = IPv4Address | IPv6Address
Resolver = Callable[[str, int], list[str]]
Response = httpx2.Response


class OutgoingError(Exception):
    """Why a call came to nothing, in words for a person. They name the host, and never a path or query: those may hold
    a secret."""


class Refused(OutgoingError):
    """The address is not one that may be called."""


class Unreachable(OutgoingError):
    """No such name, no connection, no trust in its certificate, or no proper answer."""


class TooSlow(OutgoingError):
    pass


class TooLarge(OutgoingError):
    pass


def send(
    method: str,
    url: str,
    *,
    content: bytes = b"",
    headers: dict[str, str] | None = None,
    timeout: timedelta = TIMEOUT,
    max_bytes: int = MAX_BYTES,
) -> Response:
    """One call, and its whole answer, whatever its status; a redirect is an answer too. OutgoingError otherwise."""
    with client(timeout=timeout, max_bytes=max_bytes) as http:
        try:
            return http.request(method, url, content=content or None, headers=headers)
        except httpx2.InvalidURL:
            raise Refused("the address is none: it can't be read") from None


def client(*, timeout: timedelta = TIMEOUT, max_bytes: int = MAX_BYTES, **options: Any) -> httpx2.Client:
    """An httpx2 client for a library that wants one. It follows no redirect unless asked to, and each hop is judged."""
    return httpx2.Client(
        transport=Transport(timeout=timeout, max_bytes=max_bytes),
        timeout=timeout.total_seconds(),
        headers={"User-Agent": "OpsSight", "Accept-Encoding": "identity"},
        trust_env=False,  # no proxy and no .netrc of whoever started the process
        **options,
    )


# --- what may be called ---------------------------------------------------------------------------------------------


def judge(host: str, address: str, allowed: Outside) -> None:
    """Refused, unless `address` is public or an operator has listed it, or the name that led to it.

    A listed name stands for loopback and private addresses; link-local ones, where clouds keep the machine's own
    credentials, must be listed as a network.
    """
    ip = _inner(ipaddress.ip_address(address))
    if any(ip in network for network in allowed.networks) or (ip.is_global and not (ip.is_multicast or ip.is_reserved)):
        return
    named = host.lower().rstrip(".") in allowed.hosts
    if named and not (ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved):
        return
    leads = "is" if host == address else f"leads to {ip},"
    raise Refused(f"{host} {leads} no public address; an operator can list it in OPSSIGHT_OUTGOING_ALLOW")


def _inner(ip: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, where it is such a one."""
    if isinstance(ip, IPv6Address):
        if ip in NAT64:
            return IPv4Address(int(ip) & 0xFFFFFFFF)
        return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else ip)
    return ip


def resolve(host: str, port: int) -> list[str]:
    """Every address of a name, as the system finds them, in its order. OSError where there is none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[4][0]) for address in found))


# --- the connection -------------------------------------------------------------------------------------------------


class Transport(httpx2.BaseTransport):
    """One connection per call, under one deadline, to a judged address; at most `max_bytes` of an answer."""

    def __init__(self, *, timeout: timedelta, max_bytes: int, resolver: Resolver | None = None) -> None:
        self.max_bytes = max_bytes
        self._pool = httpcore2.ConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_keepalive_connections=0,
            network_backend=_Network(timeout.total_seconds(), resolver or resolve),
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        if url.scheme not in ("http", "https") or not url.host:
            raise Refused(f"{url.scheme or 'an address without scheme'}: only http and https can be called")
        with _in_words(url.host):
            answer = self._pool.handle_request(
                httpcore2.Request(
                    method=request.method,
                    url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx2.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer, url.host, self.max_bytes),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        self._pool.close()


class _Body(httpx2.SyncByteStream):
    def __init__(self, answer: httpcore2.Response, host: str, max_bytes: int) -> None:
        self.answer, self.host, self.max_bytes = answer, host, max_bytes

    def __iter__(self) -> Iterator[bytes]:
        if any(name.lower() == b"content-encoding" and value != b"identity" for name, value in self.answer.headers):
            raise Unreachable(f"{self.host} answers compressed, which it was asked not to")
        size = 0
        with _in_words(self.host):
            for part in self.answer.iter_stream():
                size += len(part)
                if size > self.max_bytes:
                    raise TooLarge(f"{self.host} answers with more than {self.max_bytes} bytes")
                yield part

    def close(self) -> None:
        self.answer.close()


class _Network(httpcore2.NetworkBackend):
    def __init__(self, timeout: float, resolver: Resolver) -> None:
        self.timeout, self.resolver = timeout, resolver

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        deadline = _Deadline(self.timeout)
        try:
            addresses = self.resolver(host, port)
        except (OSError, UnicodeError):
            raise Unreachable(f"{host} has no address") from None
        for address in addresses:
            judge(host, address, settings.OUTGOING_ALLOW)
        problem: Exception = Unreachable(f"{host} has no address")
        for address in addresses:
            try:
                stream = httpcore2.SyncBackend().connect_tcp(address, port, timeout=deadline.left())
                return _Stream(stream, deadline)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                problem = error
        raise problem


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self.at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, more than none."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise httpcore2.TimeoutException
        return left


class _Stream(httpcore2.NetworkStream):
    """A connection whose every step counts against the one deadline: a byte now and then keeps nobody waiting."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: _Deadline) -> None:
        self.stream, self.deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, self.deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, self.deadline.left())

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _Stream(self.stream.start_tls(ssl_context, server_hostname, self.deadline.left()), self.deadline)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)

    def close(self) -> None:
        self.stream.close()


@contextmanager
def _in_words(host: str) -> Iterator[None]:
    try:
        yield
    except httpcore2.TimeoutException:
        raise TooSlow(f"{host} does not answer in time") from None
    except httpcore2.ProtocolError:
        raise Unreachable(f"{host} does not speak HTTP") from None
    except httpcore2.NetworkError as error:
        raise Unreachable(f"{host} can't be reached: {str(error) or 'the connection broke off'}") from None
