import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.mfa.models import TOTPDevice
from accounts.models import User
from tests.accounts.test_sign_in import code_for
from tests.conftest import PASSWORD, enrolled


class Caller:
    """A program: no cookies, its requests at `/api/v1`, perhaps with a token."""

    def __init__(self, token: str = "", address: str = "192.0.2.10") -> None:
        self.token, self.address = token, address

    def __call__(self, method: str, path: str, data: Any = None, **headers: str) -> Any:
        bearer = {"authorization": f"Bearer {self.token}"} if self.token else {}
        client = Client(headers={"user-agent": "ci/1.0", **bearer, **headers}, REMOTE_ADDR=self.address)
        body = b"" if data is None else json.dumps(data).encode()
        return client.generic(method, f"/api/v1{path}", body, content_type="application/json")


@pytest.fixture
def sign_in(db: None) -> Callable[..., dict[str, Any]]:
    """`sign_in(olga)`: the pair for e-mail, password and code; more of the body by name."""

    def ask(user: User, **more: Any) -> dict[str, Any]:
        code = code_for(enrolled(user))
        TOTPDevice.objects.filter(user=user).update(last_step=-1)
        answer = Caller()("POST", "/tokens/jwt", {"email": user.email, "password": PASSWORD, "code": code, **more})
        assert answer.status_code == 201, answer.content
        given: dict[str, Any] = answer.json()
        return given

    return ask


@pytest.fixture
def pair(sign_in: Callable[..., dict[str, Any]], olga: User) -> dict[str, Any]:
    return sign_in(olga)


def refresh(pair: dict[str, Any]) -> Any:
    return Caller()("POST", "/tokens/jwt/refresh", {"refresh_token": pair["refresh_token"]})
