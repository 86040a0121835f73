import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from accounts.tokens.services import issue_token
from rbac.services import permissions_of
from scanning import findings
from scanning.inventory import asset_at
from scanning.models import Asset, Finding, Scan, Severity
from scanning.reports.base import RawFinding
from scanning.services import request_scan


class Api:
    """A caller of the API with one token."""

    def __init__(self, text: str) -> None:
        self.client = Client(headers={"authorization": f"Bearer {text}"})

    def __call__(self, method: str, path: str, data: Any = None, raw: bytes | None = None, **headers: str) -> Any:
        body = raw if raw is not None else (json.dumps(data).encode() if data is not None else b"")
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        kind = names.pop("content-type", "application/json")
        return self.client.generic(method, f"/api/v1{path}", body, content_type=kind, headers=names)


@pytest.fixture
def api(db: None) -> Callable[..., Api]:
    def make(user: User, *scopes: str) -> Api:
        _, text = issue_token(user, name="test", scopes=list(scopes) or permissions_of(user))
        return Api(text)

    return make


@pytest.fixture
def asset(db: None, tmp_path) -> Asset:
    return asset_at(tmp_path)


@pytest.fixture
def scan(asset: Asset) -> Scan:
    """A finished scan with five findings."""
    scan = Scan.claim(request_scan(asset, dispatch=False).pk)
    raws = [
        RawFinding(f"B{n}", f"title {n}", "text", severity, "shop.py", n, flagged=f"call({n})")
        for n, severity in enumerate([Severity.LOW, Severity.HIGH, Severity.LOW, Severity.CRITICAL, Severity.INFO])
    ]
    findings.record(scan, raws)
    scan.finish("completed")
    return scan


@pytest.fixture
def finding(scan: Scan) -> Finding:
    return Finding.objects.get(rule="B1")
