"""CPU of our API beside a bare DRF view with JWT on the same row, in the same process, in turn.

The floor has no middleware but Django's two common ones, no rights, no trail, no throttle. Prints milliseconds of CPU
per request and the ratio; run by `make bench`.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ["DJANGO_SETTINGS_MODULE"] = "opssight.settings.test"
os.environ.setdefault("OPSSIGHT_API_REQUESTS_PER_MINUTE", "1000000")
os.environ.setdefault("OPSSIGHT_LOG_LEVEL", "WARNING")

import django

django.setup()

from django.conf import settings
from django.core.handlers.base import BaseHandler
from django.core.management import call_command
from django.db import connection
from django.test import RequestFactory, override_settings
from django.urls import path
from history import keep
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.permissions import IsAuthenticated
from rest_framework.serializers import ModelSerializer
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.tokens import AccessToken

from accounts.models import User
from accounts.tokens.services import issue_token
from rbac.services import assign_role
from scanning import findings
from scanning.inventory import asset_at
from scanning.models import Finding, Scan, Severity
from scanning.reports.base import RawFinding
from scanning.services import request_scan

ROUNDS, REQUESTS = 7, 60


class BareSerializer(ModelSerializer):
    class Meta:
        model = Finding
        exclude = ["id", "asset", "first_scan", "last_scan"]


class Bare:
    authentication_classes = [JWTAuthentication]
    permission_classes = [IsAuthenticated]
    throttle_classes: list[Any] = []
    pagination_class = None
    schema = None
    queryset = Finding.objects.all()
    serializer_class = BareSerializer
    lookup_field = "uid"


class BareOne(Bare, RetrieveAPIView):
    pass


class BareList(Bare, ListAPIView):
    def get_queryset(self):
        return Finding.objects.order_by("-id")[:50]


urlpatterns = [path("one/<uuid:uid>", BareOne.as_view()), path("list", BareList.as_view())]


def rows() -> None:
    call_command("migrate", verbosity=0)
    scan = Scan.claim(request_scan(asset_at(tempfile.gettempdir()), dispatch=False).pk)
    findings.record(scan, [RawFinding("B1", "t", "d", Severity.HIGH, "a.py", n, flagged=f"x{n}") for n in range(200)])


def caller(middleware: list[str] | None, urlconf: str | None, address: str, token: str) -> Callable[[], None]:
    """A function that sends one request through a handler of its own."""
    changed = {k: v for k, v in {"MIDDLEWARE": middleware, "ROOT_URLCONF": urlconf}.items() if v is not None}
    handler, factory = BaseHandler(), RequestFactory()
    with override_settings(**changed):
        handler.load_middleware()

    def ask() -> None:
        request = factory.get(address, headers={"authorization": f"Bearer {token}", "host": "localhost"})
        if urlconf:
            request.urlconf = urlconf
        response = handler.get_response(request)
        assert response.status_code == 200, (address, response.status_code, response.content)

    return ask


def cpu(ask: Callable[[], None]) -> float:
    began = time.process_time()
    for _ in range(REQUESTS):
        ask()
    return (time.process_time() - began) / REQUESTS * 1000


def main() -> None:
    rows()
    user = User.objects.create(email="bench@example.org")
    assign_role(user, "officer", reason="bench")
    _, ours = issue_token(user, name="bench", scopes=["findings:read"])
    bare, uid = str(AccessToken.for_user(user)), Finding.objects.latest("id").uid
    floor = ["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"]
    cases = [
        ("one finding", f"/api/v1/findings/{uid}", f"/one/{uid}", 2.0),
        ("list of 50", "/api/v1/findings?limit=50", "/list", 1.5),
    ]
    print(f"{settings.DATABASES['default']['ENGINE'].rpartition('.')[2]}, CPU ms per request, median of {ROUNDS} pairs")
    for name, address, bare_address, target in cases:
        ask_ours, ask_bare = caller(None, None, address, ours), caller(floor, __name__, bare_address, bare)
        ask_ours(), ask_bare()
        pairs = [(cpu(ask_ours), cpu(ask_bare)) for _ in range(ROUNDS)]
        mine, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        keep("api", case=name, database=connection.vendor, ours_ms=mine, bare_ms=theirs, ratio=ratio)
        print(f"  {name:<12} {mine:6.2f} ours {theirs:6.2f} bare   ratio {ratio:.2f}   (wanted: {target} at most)")


if __name__ == "__main__":
    main()
