"""An audited save beside a plain one and beside django-auditlog as it comes: its receivers, its diff, its entry model.

The same eight columns three times, in rounds that take turns, each round in one transaction. A ratio is the median of
the rounds' ratios. Measures: create and update together at most 4 times plain on SQLite and 0.9 times django-auditlog;
on PostgreSQL (tests/postgres.py) no slower than it.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ["DJANGO_SETTINGS_MODULE"] = "opssight.settings.test"
os.environ.setdefault("OPSSIGHT_LOG_LEVEL", "WARNING")

import django

django.setup()

import auditlog.diff
import auditlog.receivers
import auditlog.registry
from auditlog.context import set_actor
from auditlog.models import AbstractLogEntry
from django.db import connection, models, transaction
from django.test.utils import setup_databases, teardown_databases
from django.utils import timezone
from history import keep

from accounts.models import User
from audit import watch
from audit.followed import followed
from audit.registry import audited
from opssight.kernel.actor import Actor, acting
from opssight.kernel.ids import new_uid

ROUNDS, SAVES = 40, 50
KINDS = ("create", "update")


class Thing(models.Model):
    uid = models.UUIDField(default=new_uid, unique=True)
    name = models.CharField(max_length=120)
    note = models.CharField(max_length=300, blank=True)
    state = models.CharField(max_length=8, default="open")
    level = models.IntegerField(default=1)
    active = models.BooleanField(default=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name


class Plain(Thing):
    class Meta:
        app_label = "bench"


class Stock(Thing):
    class Meta:
        app_label = "bench"


class Ours(Thing):
    class Meta:
        app_label = "bench"


class StockEntry(AbstractLogEntry):
    class Meta(AbstractLogEntry.Meta):
        abstract = False
        app_label = "bench"


def connect() -> None:
    """`Ours` to the trail, `Stock` to a registry of django-auditlog's own with its own entry model."""
    audited(Ours, plain=("name", "note", "state"))
    entry = followed(Ours)
    if connection.vendor == "postgresql" and entry:
        with connection.cursor() as cursor:
            for statement in watch._watch(entry):
                cursor.execute(statement)
    registry = auditlog.registry.AuditlogModelRegistry()
    registry.register(Stock)
    auditlog.registry.auditlog = registry  # looked up at each call by its diff
    for module in (auditlog.receivers, auditlog.diff, auditlog.models, auditlog.context):
        module.get_logentry_model = lambda: StockEntry


def saves(model: type[Thing], kind: str) -> float:
    """Seconds for a round."""
    rows = [model(name=f"thing {n}") for n in range(SAVES)]
    with transaction.atomic():
        if kind == "update":
            for row in rows:
                row.save()
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
                    cursor.execute("SET CONSTRAINTS ALL DEFERRED")
            for n, row in enumerate(rows):
                row.name, row.level = f"changed {n}", n + 7
        began = time.perf_counter()
        for row in rows:
            row.save()
        if connection.vendor == "postgresql":  # what waits for COMMIT: the watch for changes without an entry
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        return time.perf_counter() - began


def measure(act: Callable[[type[Thing], str], float]) -> dict[str, dict[str, float]]:
    taken: dict[str, list[tuple[float, ...]]] = {kind: [] for kind in KINDS}
    for _ in range(ROUNDS):
        for kind in KINDS:
            taken[kind].append(tuple(act(model, kind) for model in (Plain, Stock, Ours)))
    figures: dict[str, dict[str, float]] = {}
    for kind, rounds in taken.items():
        each: list[Any] = [statistics.median(times) / SAVES * 1e6 for times in zip(*rounds, strict=True)]
        figures[kind] = {
            **{f"{name}_us": round(value) for name, value in zip(("plain", "auditlog", "ours"), each, strict=True)},
            "of_plain": round(statistics.median(ours / plain for plain, _, ours in rounds), 2),
            "of_auditlog": round(statistics.median(ours / stock for _, stock, ours in rounds), 2),
        }
    return figures


def main() -> None:
    databases = setup_databases(verbosity=0, interactive=False)
    try:
        with connection.schema_editor() as editor:
            for model in (Plain, Stock, Ours, StockEntry):
                editor.create_model(model)
        connect()
        user = User.objects.create(email="bench@example.org")
        actor = Actor(
            kind="user", user=user, label=user.email, address="203.0.113.9", user_agent="curl/8", request_id="r" * 32
        )
        with acting(actor), set_actor(user, remote_addr="203.0.113.9"):
            _ = [saves(model, kind) for model in (Plain, Stock, Ours) for kind in KINDS]  # caches filled
            assert _ and StockEntry.objects.exists()
            figures = measure(saves)
    finally:
        teardown_databases(databases, verbosity=0)
    for kind, line in figures.items():
        print(f"{connection.vendor:10} {kind}  " + "  ".join(f"{name} {value}" for name, value in line.items()))
    keep(
        "trail_save",
        database=connection.vendor,
        **{f"{k}_{n}": v for k, line in figures.items() for n, v in line.items()},
    )


if __name__ == "__main__":
    main()
