"""Whether the process answers, and whether the whole is ready for work."""

import logging
from collections.abc import Callable
from datetime import timedelta

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone

from audit import guard, watch
from audit.sealing import sealer
from opssight.kernel.guards import public
from opssight.models import Heartbeat
from scanning.counts import triggers

log = logging.getLogger("opssight.health")
WORKERS = ("scans", "default", "beat")
ALIVE = timedelta(seconds=90)  # heartbeats come every 15 s; beat's every 30 s


@public("whether the process answers; says nothing else")
def healthz(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok\n", content_type="text/plain")


@public("which part is not ready, by name; no data and no versions")
def readyz(request: HttpRequest) -> HttpResponse:
    """200 when every check passes, else 503; the body names each check and what to do."""
    checks = [{"check": name, **_answer(check)} for name, check in CHECKS.items()]
    failed = [check["check"] for check in checks if check["state"] != "ok"]
    _note(failed)
    response = JsonResponse({"ready": not failed, "checks": checks}, status=503 if failed else 200)
    response._has_been_logged = True  # type: ignore[attr-defined]  # or Django logs an error at each probe
    return response


_failed: list[str] = []  # as the last probe found it


def _note(failed: list[str]) -> None:
    """One line when the state changes, however often it is asked for."""
    if failed != _failed:
        log.warning("not ready: %s", ", ".join(failed)) if failed else log.warning("ready again")
        _failed[:] = failed


def _answer(check: Callable[[], str]) -> dict[str, str]:
    try:
        problem = check()
    except DatabaseError:
        problem = "the database does not answer"
    return {"state": "failed" if problem else "ok", "detail": problem}


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return ""


_migrated: list[bool] = []  # filled once all are applied: tables don't go back while the process runs


def _migrations() -> str:
    executor = None if _migrated else MigrationExecutor(connection)
    if executor and executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return "migrations are missing; run: manage.py migrate"
    _migrated.append(True)
    return ""


def _trail() -> str:
    whole = all(part.is_installed(connection) for part in (guard, watch, triggers))
    return "" if whole else "the trail's triggers are missing; run: manage.py migrate"


def _sealing() -> str:
    return sealer.problem(at=timezone.now())


def _workers() -> str:
    since = timezone.now() - ALIVE
    seen = set(Heartbeat.objects.filter(at__gte=since).values_list("name", flat=True))
    silent = [name for name in WORKERS if name not in seen]
    return f"no sign of life from: {', '.join(silent)}" if silent else ""


CHECKS = {"database": _database, "migrations": _migrations, "trail": _trail, "sealing": _sealing, "workers": _workers}
