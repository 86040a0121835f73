"""Bringing the embedded database up to date, one process at a time; on a server, saying that it is not."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
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
