"""Triggers that make the trail append-only in the database itself.

Idempotent SQL, installed after every migration, since a later AlterField rebuilds SQLite's table without them. They
stop mistakes and application bugs; who owns the database can drop them, and that is what sealing is for.
"""

from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

ENTRIES, PERSONAL = "audit_auditentry", "audit_auditpersonal"
GUARDED = ((ENTRIES, "UPDATE"), (ENTRIES, "DELETE"), (PERSONAL, "UPDATE"))


def _name(table: str, operation: str) -> str:
    return f"{table}_refuse_{operation.lower()}"


def _statements(vendor: str) -> list[str]:
    if vendor == "sqlite":
        return [
            f"CREATE TRIGGER IF NOT EXISTS {_name(table, operation)} BEFORE {operation} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, 'the trail is append-only'); END"
            for table, operation in GUARDED
        ]
    refuse = (
        "CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the trail is append-only'; END $$"
    )
    rows = [
        f"CREATE OR REPLACE TRIGGER {_name(table, operation)} BEFORE {operation} ON {table} "
        "FOR EACH ROW EXECUTE FUNCTION audit_refuse()"
        for table, operation in GUARDED
    ]
    truncate = (
        f"CREATE OR REPLACE TRIGGER {_name(ENTRIES, 'TRUNCATE')} BEFORE TRUNCATE ON {ENTRIES} "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()"
    )
    return [refuse, *rows, truncate]


def install(connection: BaseDatabaseWrapper) -> None:
    with connection.cursor() as cursor:
        for statement in _statements(connection.vendor):
            cursor.execute(statement)


def remove(connection: BaseDatabaseWrapper) -> None:
    """For the end of a test that has to empty the tables; nothing in production calls it."""
    names = [*GUARDED, *([(ENTRIES, "TRUNCATE")] if connection.vendor == "postgresql" else [])]
    with connection.cursor() as cursor:
        for table, operation in names:
            on = f" ON {table}" if connection.vendor == "postgresql" else ""
            cursor.execute(f"DROP TRIGGER IF EXISTS {_name(table, operation)}{on}")


def is_installed(connection: BaseDatabaseWrapper) -> bool:
    catalogue = (
        "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        if connection.vendor == "sqlite"
        else "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')"
    )
    with connection.cursor() as cursor:
        cursor.execute(catalogue)
        present = {row[0] for row in cursor.fetchall()}
    return all(_name(table, operation) in present for table, operation in GUARDED)


def install_after_migration(using: str, **kwargs: Any) -> None:
    connection = connections[using]
    if ENTRIES in connection.introspection.table_names():
        install(connection)
