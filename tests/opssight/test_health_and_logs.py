"""Health pages, and a log that says who did what without a secret."""

import json
import logging
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.services import issue_setup_link
from accounts.tokens.services import issue_token
from audit import guard
from audit.models import AuditEntry
from audit.sealing.sealer import seal
from opssight import health
from opssight.kernel.logs import HumanFormatter, JsonFormatter
from opssight.models import Heartbeat
from tests.conftest import PASSWORD


def ready() -> tuple[int, dict[str, str]]:
    response = Client().get("/readyz")
    return response.status_code, {check["check"]: check["state"] for check in response.json()["checks"]}


@pytest.fixture
def alive(db) -> None:
    health._failed.clear()
    for name in health.WORKERS:
        Heartbeat.beat(name)
    seal()


def test_the_process_answers(db):
    assert Client().get("/healthz").content == b"ok\n"


def test_ready_means_every_part(alive):
    assert ready() == (200, {"database": "ok", "migrations": "ok", "trail": "ok", "sealing": "ok", "workers": "ok"})


def test_a_silent_worker_is_named(alive):
    Heartbeat.objects.filter(name="scans").update(at=timezone.now() - timedelta(minutes=5))
    response = Client().get("/readyz")
    assert response.status_code == 503
    assert response.json()["checks"][-1]["detail"] == "no sign of life from: scans"


def test_missing_triggers_are_not_ready(alive):
    guard.remove(connection)
    assert ready()[1]["trail"] == "failed"
    guard.install(connection)


def test_entries_that_nobody_seals_are_not_ready(alive):
    entry = AuditEntry(event="findings:raised", timestamp=timezone.now() - timedelta(minutes=5))
    entry.save()
    assert ready()[1]["sealing"] == "failed"


def test_missing_migrations_are_not_ready(alive, monkeypatch):
    health._migrated.clear()
    monkeypatch.setattr(health.MigrationExecutor, "migration_plan", lambda self, targets: ["one"])
    assert ready() == (503, {"database": "ok", "migrations": "failed", "trail": "ok", "sealing": "ok", "workers": "ok"})


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.lines: list[dict] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))


@pytest.fixture
def lines():
    handler, logger = Lines(), logging.getLogger("opssight")
    logger.addHandler(handler)
    yield handler.lines
    logger.removeHandler(handler)


def test_a_request_is_one_line(olga, client_for, lines):
    response = client_for(olga).get("/findings?q=private+words")
    [line] = [line for line in lines if line["logger"] == "opssight.request"]
    assert line["route"] == "/findings"
    assert (line["method"], line["status"], line["actor"]) == ("GET", 200, olga.pk)
    assert line["request_id"] == response["X-Request-ID"]
    assert line["queries"] > 0
    assert line["ms"] > 0
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["time"])


def test_health_pages_are_not_in_the_log(alive, lines):
    Client().get("/healthz")
    Client().get("/readyz")
    assert lines == []


def test_what_is_not_ready_is_logged_once_and_not_at_each_probe(alive, lines, caplog):
    Heartbeat.objects.all().delete()
    for _ in range(3):
        assert Client().get("/readyz").status_code == 503
    for name in health.WORKERS:
        Heartbeat.beat(name)
    Client().get("/readyz")
    assert [line["message"] for line in lines] == ["not ready: workers", "ready again"]
    assert "django.request" not in {record.name for record in caplog.records}


def test_no_secret_reaches_the_log(olga, lines, caplog):
    caplog.set_level(logging.DEBUG)
    link = issue_setup_link(olga)
    _, token = issue_token(olga, name="t", scopes=["me:read"])
    client = Client()
    client.get(link.removeprefix("http://localhost:8000"))
    client.post("/sign-in", {"username": olga.email, "password": PASSWORD})
    client.post("/sign-in", {"username": olga.email, "password": PASSWORD + "x"})
    client.post("/sign-in/second-step", {"code": "123123"})
    client.get("/api/v1/me", headers={"authorization": f"Bearer {token}"})
    client.get(f"/findings?q={token}")
    written = json.dumps(lines)
    for secret in (link.rpartition("/")[2], token, PASSWORD, "123123"):
        assert secret not in written
    assert PASSWORD not in caplog.text


def test_people_at_a_terminal_get_a_short_line():
    record = logging.LogRecord("opssight", logging.WARNING, "", 0, "scan %s", (7,), None)
    record.said = {"ms": 3}
    assert HumanFormatter().format(record)[9:] == "warning scan 7  ms=3"
