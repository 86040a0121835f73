"""What makes the trail append-only in the database itself: triggers, and on a server the rights of its roles.

Idempotent SQL, run after every migration, since a later AlterField rebuilds SQLite's table without its triggers. They
stop mistakes and application bugs. The role that a server's processes sign in with can't lift them; who owns the
database can, and that is what sealing is for.
"""

from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

TABLES = ENTRIES, PERSONAL = "audit_auditentry", "audit_auditpersonal"
REFUSE = "audit_refuse()"
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
        f"CREATE OR REPLACE FUNCTION {REFUSE} RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the trail is append-only'; END $$"
    )
    rows = [
        f"CREATE OR REPLACE TRIGGER {_name(table, operation)} BEFORE {operation} ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION {REFUSE}"
        for table, operation in GUARDED
    ]
    truncate = (
        f"CREATE OR REPLACE TRIGGER {_name(ENTRIES, 'TRUNCATE')} BEFORE TRUNCATE ON {ENTRIES} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {REFUSE}"
    )
    return [refuse, *rows, truncate]


def install(connection: BaseDatabaseWrapper) -> None:
    with connection.cursor() as cursor:
        for statement in _statements(connection.vendor):
            cursor.execute(statement)
        if connection.vendor == "postgresql":
            for table, privilege, role in _excess(cursor):
                cursor.execute(f"REVOKE {privilege} ON {table} FROM {role} CASCADE")


def rights(*, app: str, sealer: str) -> list[str]:
    """What two roles of PostgreSQL may do here: the app reads and adds, the sealer reads what it seals.

    Nobody but the owner deletes a side row: erasing a person is not for a process that strangers talk to.
    """
    return [
        f"REVOKE ALL ON {ENTRIES}, {PERSONAL} FROM PUBLIC, {app}, {sealer}",
        f"GRANT SELECT, INSERT ON {ENTRIES}, {PERSONAL} TO {app}",
        f"GRANT SELECT ON {ENTRIES} TO {sealer}",
    ]


def _excess(cursor: CursorWrapper) -> list[tuple[str, str, str]]:
    """(table, privilege, role) beyond reading and adding, held by another than the owner.

    A server's default privileges give the app the usual rights on each new table, so also on a new one of the trail.
    """
    cursor.execute(
        "SELECT c.oid::regclass::text, a.privilege_type,"
        " CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END"
        " FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid IN (to_regclass(%s), to_regclass(%s))"
        " AND a.grantee <> c.relowner AND a.privilege_type NOT IN ('SELECT', 'INSERT')",
        [ENTRIES, PERSONAL],
    )
    return cursor.fetchall()


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
