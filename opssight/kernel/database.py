"""Bringing the embedded database up to date, one process at a time; on a server, saying that it is not."""

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.backends.signals import connection_created
from django.db.migrations.executor import MigrationExecutor

from opssight.settings import env


@contextmanager
def _alone() -> Iterator[None]:
    with (env.ensure_home() / "run" / "migrate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def migrate_embedded() -> None:
    """Apply what is missing. The server profile migrates by hand, with the owner's role: there it is only told."""
    if settings.EMBEDDED:
        with _alone():
            if missing_migrations():
                call_command("migrate", interactive=False, verbosity=0)
    elif missing := missing_migrations():
        raise CommandError(f"the database lacks {missing} migrations; run: manage.py setup_database", returncode=3)


def missing_migrations() -> int:
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _take_its_limit(sender: Any, connection: Any, **kwargs: Any) -> None:
    """Let bulk statements be as large as this SQLite takes them: Django 5.2 keeps to the 999 values of before 2020."""
    if connection.vendor == "sqlite":
        connection.features.max_query_params = connection.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)


connection_created.connect(_take_its_limit, dispatch_uid="opssight.sqlite_limit")
