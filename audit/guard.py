"""What makes the trail append-only in the database itself: triggers, and on a server the rights of its roles.

Idempotent SQL, run after every migration, since a later AlterField rebuilds SQLite's table without its triggers. They
stop mistakes and application bugs. The role that a server's processes sign in with can't lift them; who owns the
database can, and that is what sealing is for.

One trigger writes: whatever puts an entry into the trail, its id goes into the outbox of the sealer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper


@dataclass(frozen=True)
class Table:
    """`refused` to everybody by triggers; `app` and `sealer` are what these roles of a server may do."""

    name: str
    refused: tuple[str, ...] = ()
    app: tuple[str, ...] = ()
    sealer: tuple[str, ...] = ()


ENTRIES, PERSONAL, PENDING, LEAVES = "audit_auditentry", "audit_auditpersonal", "sealing_pending", "sealing_leaf"
CHANGE, READ, ADD = ("UPDATE", "DELETE"), ("SELECT",), ("SELECT", "INSERT")
TABLES = (
    Table(ENTRIES, refused=CHANGE, app=ADD, sealer=READ),
    # Erasing a person deletes the side row, and is not for a process that strangers talk to: only the owner does it.
    Table(PERSONAL, refused=("UPDATE",), app=ADD),
    Table(PENDING, app=READ, sealer=("SELECT", "DELETE")),
    Table(LEAVES, refused=CHANGE, app=READ, sealer=ADD),
    Table("sealing_node", refused=CHANGE, app=READ, sealer=ADD),
    Table("sealing_checkpoint", refused=CHANGE, app=READ, sealer=ADD),
    Table("rollups_daycount", app=READ, sealer=("SELECT", "INSERT", "UPDATE")),
    Table("rollups_dayuser", app=READ, sealer=ADD),
)
NAMES = tuple(table.name for table in TABLES)
REFUSE, ENQUEUE = "audit_refuse()", "audit_enqueue()"
OUTBOX = f"{ENTRIES}_to_outbox"


def _refusals(vendor: str) -> Iterator[tuple[str, str, str]]:
    """(trigger, table, operation) of those that refuse."""
    for table in TABLES:
        if table.refused:
            # SQLite has no TRUNCATE.
            for operation in (*table.refused, *(("TRUNCATE",) if vendor == "postgresql" else ())):
                yield f"{table.name}_refuse_{operation.lower()}", table.name, operation


def _sqlite() -> Iterator[str]:
    for trigger, table, operation in _refusals("sqlite"):
        yield (
            f"CREATE TRIGGER IF NOT EXISTS {trigger} BEFORE {operation} ON {table} "
            "BEGIN SELECT RAISE(ABORT, 'the trail is append-only'); END"
        )
    yield (
        f"CREATE TRIGGER IF NOT EXISTS {OUTBOX} AFTER INSERT ON {ENTRIES} "
        f"BEGIN INSERT OR IGNORE INTO {PENDING} (entry_id) VALUES (NEW.id); END"
    )


def _postgresql(schema: str) -> Iterator[str]:
    yield (
        f"CREATE OR REPLACE FUNCTION {REFUSE} RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the trail is append-only'; END $$"
    )
    for trigger, table, operation in _refusals("postgresql"):
        each = "STATEMENT" if operation == "TRUNCATE" else "ROW"
        yield (
            f"CREATE OR REPLACE TRIGGER {trigger} BEFORE {operation} ON {table} "
            f"FOR EACH {each} EXECUTE FUNCTION {REFUSE}"
        )
    # With its owner's rights, since who writes entries may not write to the outbox.
    yield (
        f"CREATE OR REPLACE FUNCTION {ENQUEUE} RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
        f"SET search_path = pg_catalog, pg_temp AS $$ BEGIN INSERT INTO {schema}.{PENDING} (entry_id) "
        "SELECT id FROM added ON CONFLICT DO NOTHING; RETURN NULL; END $$"
    )
    yield f"REVOKE ALL ON FUNCTION {ENQUEUE} FROM PUBLIC"
    yield (
        f"CREATE OR REPLACE TRIGGER {OUTBOX} AFTER INSERT ON {ENTRIES} REFERENCING NEW TABLE AS added "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {ENQUEUE}"
    )


def install(connection: BaseDatabaseWrapper) -> None:
    enqueued = OUTBOX in _present(connection)
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            statements = _sqlite()
        else:
            cursor.execute("SELECT quote_ident(current_schema())")
            statements = _postgresql(cursor.fetchone()[0])
        for statement in statements:
            cursor.execute(statement)
        if not enqueued:  # entries may have come while there was no trigger
            cursor.execute(
                f"INSERT INTO {PENDING} (entry_id) SELECT id FROM {ENTRIES} AS entry WHERE NOT EXISTS"
                f" (SELECT 1 FROM {LEAVES} WHERE entry_id = entry.id) ON CONFLICT DO NOTHING"
            )
        if connection.vendor == "postgresql":
            for table, privilege, role in _excess(cursor):
                cursor.execute(f"REVOKE {privilege} ON {table} FROM {role} CASCADE")


def rights(*, app: str, sealer: str) -> list[str]:
    """What two roles of PostgreSQL may do here: the app reads and adds, the sealer seals what was added."""
    return [
        f"REVOKE ALL ON {', '.join(NAMES)} FROM PUBLIC, {app}, {sealer}",
        *(
            f"GRANT {', '.join(privileges)} ON {table.name} TO {role}"
            for table in TABLES
            for role, privileges in ((app, table.app), (sealer, table.sealer))
            if privileges
        ),
    ]


def _excess(cursor: CursorWrapper) -> list[tuple[str, str, str]]:
    """(table, privilege, role) beyond what app and sealer need, held by another than the owner.

    A server's default privileges give the app the usual rights on each new table, so also on a new one of the trail.
    Who may add entries is the app, whatever it is called.
    """
    cursor.execute(
        "SELECT c.relname, a.privilege_type,"
        " CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END"
        " FROM pg_class c, aclexplode(c.relacl) a"
        " WHERE c.relname = ANY(%s) AND c.relnamespace = current_schema()::regnamespace AND a.grantee <> c.relowner",
        [list(NAMES)],
    )
    held = cursor.fetchall()
    writers = {role for table, privilege, role in held if (table, privilege) == (ENTRIES, "INSERT")}
    known = {table.name: table for table in TABLES}

    def needed(table: Table, role: str) -> tuple[str, ...]:
        return table.app if role in writers else table.app + table.sealer

    return [(table, privilege, role) for table, privilege, role in held if privilege not in needed(known[table], role)]


def remove(connection: BaseDatabaseWrapper) -> None:
    """For the end of a test that has to empty the tables; nothing in production calls it."""
    with connection.cursor() as cursor:
        for trigger, table, _ in [*_refusals(connection.vendor), (OUTBOX, ENTRIES, "")]:
            on = f" ON {table}" if connection.vendor == "postgresql" else ""
            cursor.execute(f"DROP TRIGGER IF EXISTS {trigger}{on}")


def is_installed(connection: BaseDatabaseWrapper) -> bool:
    wanted = {OUTBOX, *(trigger for trigger, _, _ in _refusals(connection.vendor))}
    return wanted <= _present(connection)


def _present(connection: BaseDatabaseWrapper) -> set[str]:
    """The triggers that are there and switched on."""
    catalogue = (
        "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        if connection.vendor == "sqlite"
        else "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')"
        " AND tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = current_schema()::regnamespace)"
    )
    with connection.cursor() as cursor:
        cursor.execute(catalogue)
        return {row[0] for row in cursor.fetchall()}


def install_after_migration(using: str, **kwargs: Any) -> None:
    connection = connections[using]
    if set(NAMES) <= set(connection.introspection.table_names()):
        install(connection)
