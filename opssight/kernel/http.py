"""The edge: request ids, the client's address, and headers that no page goes without."""

import ipaddress
import re
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from opssight.kernel.ids import new_uid

_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{8,64}$")


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.strip().partition("%")[0])  # a scope means nothing beyond its own machine
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def client_address(request: HttpRequest) -> str | None:
    """The address of the client: the peer, or behind OPSSIGHT_TRUSTED_PROXIES the first untrusted hop from the right.

    What stands further left in X-Forwarded-For is the client's own claim and is never believed.
    """
    return _client(request)[0]


def proved_address(request: HttpRequest) -> str | None:
    """The client's address, or None where a trusted proxy does not say for whom it asks.

    Its own address would stand for everybody then: a client can have some proxies drop the header, by naming it in
    Connection.
    """
    address, is_named = _client(request)
    return address if is_named else None


def _client(request: HttpRequest) -> tuple[str | None, bool]:
    """The nearest address that is known, and whether it is the client's and not that of a silent proxy."""
    address, named = _parsed(request.META.get("REMOTE_ADDR", "")), not is_trusted_proxy(request)
    hops = [hop for hop in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if hop.strip()]
    while address and hops and any(address in network for network in settings.TRUSTED_PROXIES):
        nearer = _parsed(hops.pop())
        named = nearer is not None
        if nearer is None:
            break
        address = nearer
    return (str(address) if address else None), named


def is_trusted_proxy(request: HttpRequest) -> bool:
    peer = _parsed(request.META.get("REMOTE_ADDR", ""))
    return bool(peer) and any(peer in network for network in settings.TRUSTED_PROXIES)


class RequestMiddleware:
    """Gives each request an id (a trusted proxy's X-Request-ID is kept) and each answer its fixed headers."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        asked = request.headers.get("X-Request-ID", "") if is_trusted_proxy(request) else ""
        request.request_id = asked if _REQUEST_ID.match(asked) else new_uid().hex  # type: ignore[attr-defined]
        if is_trusted_proxy(request) and request.headers.get("X-Forwarded-Proto") == "https":
            request.META["wsgi.url_scheme"] = "https"
        response = self.get_response(request)
        response["X-Request-ID"] = request.request_id  # type: ignore[attr-defined]
        response.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
        if not request.path.startswith(settings.STATIC_URL):
            response.setdefault("Cache-Control", "no-store")
        return response
