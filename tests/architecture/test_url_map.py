"""Every address states its permission, or stands on the list of public ones."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from opssight.kernel import access

# Address patterns that anybody may ask for. The view says why; a new one has to be added here by hand.
PUBLIC = {
    "healthz",
    "readyz",
    "verify.py",
    "client/opssight-ci.py",
    "client/opssight-ci.py.sha256",
    "^api(?:/.*)?$",
    "api/v1/openapi.json",
    "api/v1/devices/reports",
    "api/v1/tokens/jwt",
    "api/v1/tokens/jwt/refresh",
    "api/v1/tokens/jwt/revoke",
    "api/v1/tokens/oauth",
    ".well-known/jwks.json",
    "sign-in",
    "sign-in/second-step",
    "sign-in/enrol",
    "sign-in/enrol/passkey",
    "sign-in/enrol/message/<str:channel>",
    "sign-in/passkey",
    "sign-in/passkey/options/<str:use>",
    "sign-in/message/<str:channel>",
    "sign-in/forgotten",
    "sign-in/with/<slug:slug>",
    "sign-in/with/<slug:slug>/back",
    "sign-in/with/<slug:slug>/logout",
    "sign-out",
    "signed-out",
    "set-up/<str:token>",
    "not-me/<str:token>",
    "theme",
    "admin/login/",
    "admin/logout/",
}


def walk(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in resolver.url_patterns:
        here = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from walk(pattern, here)
        else:
            yield here, pattern


def stated(pattern: URLPattern) -> list[str] | None:
    """The permissions a view asks for, None where it states none. Admin pages are asked for by the admin site."""
    view: Any = pattern.callback
    if hasattr(view, "actions"):  # an API view set: one permission per action
        return [view.cls.permission_for(action) for action in view.actions.values()]
    if permission := getattr(view, "permission", None):
        return [permission]
    return None


ADDRESSES = dict(walk(get_resolver()))


@pytest.mark.parametrize("address", [a for a in ADDRESSES if not a.startswith("admin/")])
def test_each_address_states_a_registered_permission(address):
    permissions = stated(ADDRESSES[address])
    if permissions is None:
        assert address in PUBLIC, f"{address} states no permission"
        assert getattr(ADDRESSES[address].callback, "public", "redirects"), f"{address} does not say why it is public"
    else:
        assert address not in PUBLIC
        assert [p for p in permissions if not access.is_registered(p)] == []


def test_nothing_on_the_public_list_is_gone():
    assert ADDRESSES.keys() >= PUBLIC


@pytest.mark.parametrize("page", admin.site._registry.values(), ids=lambda page: page.model._meta.label_lower)
def test_each_admin_page_is_refused_without_and_opened_with_its_permission(page, olga, dev, client_for):
    address = reverse(f"admin:{page.model._meta.app_label}_{page.model._meta.model_name}_changelist")
    assert Client().get(address).status_code == 302  # to the sign-in page
    assert client_for(dev).get(address).status_code == 403
    assert client_for(olga).get(address)["Location"].startswith("/step-up?next=")
    assert client_for(olga, step_up=True).get(address).status_code == 200


def filled(address: str) -> str:
    uid = "01a20bd9-1d59-7949-b8ec-209801f0f979"
    for what in ("<uuid:uid>", "<uuid:token>", "<str:uid>", "<str:token>", "<slug:slug>"):
        address = address.replace(what, uid)
    address = address.replace("<int:size>", "4711")
    return "/" + address


@pytest.mark.parametrize("address", [a for a in ADDRESSES if not a.startswith(("admin/",)) and a not in PUBLIC])
def test_nobody_and_half_signed_in_people_get_nothing(address, olga, db):
    """Neither a visitor nor a session with the password alone sees any page or row."""
    halfway = Client()
    halfway.post("/sign-in", {"username": olga.email, "password": "a long enough passphrase"})
    half_session = Client()
    half_session.force_login(olga)  # signed in for Django, but without the second factor
    for client in (Client(), halfway, half_session):
        response = client.get(filled(address))
        if address.startswith("api/"):
            assert response.status_code == 401
        else:
            assert response.status_code == 302
            assert response["Location"].startswith("/sign-in")


@pytest.mark.parametrize("address", [a for a in ADDRESSES if not a.startswith(("admin/",)) and a not in PUBLIC])
def test_an_employee_gets_only_the_own_pages(address, eve, client_for):
    response = client_for(eve).get(filled(address))
    own = all(
        permission.startswith(("me:", "sessions:", "tokens:", "devices:"))
        for permission in stated(ADDRESSES[address]) or []
    )
    assert response.status_code in ((200, 302, 400, 404, 405) if own else (403, 405)), address
