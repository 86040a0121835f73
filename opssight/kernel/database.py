"""Bringing the embedded database up to date, one process at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from opssight.settings import env


@contextmanager
def _alone() -> Iterator[None]:
    with (env.ensure_home() / "run" / "migrate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def migrate_embedded() -> None:
    """Apply what is missing. The server profile migrates by hand, with the owner's role, so it is left alone there."""
    if not settings.EMBEDDED:
        return
    with _alone():
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            call_command("migrate", interactive=False, verbosity=0)
