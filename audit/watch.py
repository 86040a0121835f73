"""PostgreSQL's second look: a changed row of a followed table without an entry in the same transaction is flagged.

Whoever writes at the database itself, or finds a way round the ORM, leaves no entry. A deferred trigger asks at COMMIT,
for each changed row, whether an entry about it was written by the same transaction; where there is none it puts the
change on a list. `tell` makes entries of the list. Where all is well nothing is written: one look-up in an index a row.

Fields that the trail ignores are not watched. Who owns the tables can lift the triggers; `/readyz` tells of that.
"""

import hashlib
from itertools import groupby
from typing import Any

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from audit.followed import Followed, followed
from audit.guard import ENTRIES
from opssight.kernel.events import register

UNATTRIBUTED = register("trail:unattributed_change", severity="critical", security=True)

NOTE = "audit_note(text, text, text)"  # what the triggers call
LIST = "audit_unattributed"
TOLD_AT_ONCE, NAMED = 1000, 100
OPERATIONS = {"INSERT": "CREATE", "UPDATE": "UPDATE", "DELETE": "DELETE"}


def _entries() -> list[Followed]:
    """Without proxies: their table is watched once, and entries name the model behind them."""
    models = (model for model in apps.get_models() if not model._meta.proxy)
    return [entry for model in models if (entry := followed(model)) and entry.model is model]


def _tables() -> list[str]:
    """Every watched table: those of followed models, and those behind their many-to-many fields."""
    return [entry.model._meta.db_table for entry in _entries()] + [
        through._meta.db_table for entry in _entries() for through in _throughs(entry)
    ]


def _throughs(entry: Followed) -> list[type[models.Model]]:
    return [entry.model._meta.get_field(name).remote_field.through for name in entry.m2m]  # type: ignore[union-attr]


def _statements() -> list[str]:
    made = [
        # Which transaction wrote an entry. PostgreSQL fills it in; the ORM does not know the column.
        f"ALTER TABLE {ENTRIES} ADD COLUMN IF NOT EXISTS txid xid8 DEFAULT pg_current_xact_id()",
        f"CREATE TABLE IF NOT EXISTS {LIST} (id bigserial PRIMARY KEY, txid xid8 NOT NULL DEFAULT pg_current_xact_id(),"
        " at timestamptz NOT NULL DEFAULT clock_timestamp(), resource_type text NOT NULL, resource_id text,"
        " operation text NOT NULL, account text NOT NULL DEFAULT session_user,"
        " application text NOT NULL DEFAULT current_setting('application_name'))",
        "CREATE OR REPLACE FUNCTION audit_note(kind text, key text, operation text) RETURNS void LANGUAGE plpgsql"
        # In the order of the index, where the own ones are among the first.
        f" AS $$ BEGIN PERFORM 1 FROM {ENTRIES} WHERE resource_type = kind AND resource_id = key"
        " AND txid = pg_current_xact_id() ORDER BY timestamp DESC, id DESC LIMIT 1;"
        f" IF NOT FOUND THEN INSERT INTO {LIST} (resource_type, resource_id, operation) VALUES (kind, key, operation);"
        " END IF; END $$",
    ]
    for entry in _entries():
        made += _watch(entry)
        for name in entry.m2m:
            made += _watch_links(entry, name)
    return made


def _watch(entry: Followed) -> list[str]:
    meta = entry.model._meta
    key = "uid" if any(field.name == "uid" for field in meta.concrete_fields) else meta.pk.column  # as services.key_of
    columns = [f'"{field.column}"' for field in entry.fields.values()]
    changed = " OR ".join(f"OLD.{column} IS DISTINCT FROM NEW.{column}" for column in columns)
    body = (
        f"IF TG_OP = 'DELETE' THEN PERFORM audit_note('{entry.label}', OLD.\"{key}\"::text, TG_OP);"
        f" ELSE PERFORM audit_note('{entry.label}', NEW.\"{key}\"::text, TG_OP); END IF;"
    )
    return _triggers(meta.db_table, body, {"INSERT": "", "DELETE": "", "UPDATE": changed})


def _watch_links(entry: Followed, name: str) -> list[str]:
    """A link belongs to the object that has the field. It goes without a word when either end goes, which is told."""
    field: Any = entry.model._meta.get_field(name)
    other = field.related_model._meta
    mine, theirs = entry.model._meta, field.remote_field.through._meta
    key = "uid" if any(f.name == "uid" for f in mine.concrete_fields) else mine.pk.column

    def look(row: str) -> str:
        return (
            f'SELECT o."{key}"::text INTO owner FROM {mine.db_table} o, {other.db_table} t'
            f' WHERE o.id = {row}."{field.m2m_column_name()}" AND t.id = {row}."{field.m2m_reverse_name()}"'
        )

    body = (
        f"IF TG_OP = 'DELETE' THEN {look('OLD')}; ELSE {look('NEW')}; END IF;"
        f" IF owner IS NOT NULL THEN PERFORM audit_note('{entry.label}', owner, TG_OP); END IF;"
    )
    return _triggers(theirs.db_table, body, dict.fromkeys(OPERATIONS, ""))


def _triggers(table: str, body: str, operations: dict[str, str]) -> list[str]:
    made = [
        f"CREATE OR REPLACE FUNCTION {_name(table)}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
        f" SET search_path FROM CURRENT AS $$ DECLARE owner text; BEGIN {body} RETURN NULL; END $$"
    ]
    for operation, condition in operations.items():
        name = f"{_name(table)}_{operation.lower()}"
        when = f" WHEN ({condition})" if condition else ""
        made += [
            f"DROP TRIGGER IF EXISTS {name} ON {table}",
            f"CREATE CONSTRAINT TRIGGER {name} AFTER {operation} ON {table} DEFERRABLE INITIALLY DEFERRED"
            f" FOR EACH ROW{when} EXECUTE FUNCTION {_name(table)}()",
        ]
    return made


def _name(table: str) -> str:
    return f"audit_watch_{table}"


# --- installing, checking -----------------------------------------------------------------------------------------


def install(connection: BaseDatabaseWrapper) -> None:
    present = set(connection.introspection.table_names())
    if connection.vendor != "postgresql" or not {ENTRIES, *_tables()} <= present:
        return  # SQLite has one writer, which is us; and a migration may have stopped half-way
    statements = _statements()
    digest = hashlib.sha256("\n".join(statements).encode()).hexdigest()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT obj_description(to_regprocedure('{NOTE}'), 'pg_proc')")
        if cursor.fetchone()[0] == digest and is_installed(connection):
            return
        for statement in [*statements, f"COMMENT ON FUNCTION {NOTE} IS '{digest}'"]:
            cursor.execute(statement)


def install_after_migration(using: str, **kwargs: Any) -> None:
    install(connections[using])


def is_installed(connection: BaseDatabaseWrapper) -> bool:
    if connection.vendor != "postgresql":
        return True
    wanted = {f"{_name(table)}_{operation.lower()}" for table in _tables() for operation in OPERATIONS}
    with connection.cursor() as cursor:
        cursor.execute("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')")
        return wanted <= {row[0] for row in cursor.fetchall()}


# --- telling ------------------------------------------------------------------------------------------------------


def tell(using: str = DEFAULT_DB_ALIAS) -> int:
    """Make entries of what is on the list, one for each transaction, kind and operation. Returns how many rows."""
    connection = connections[using]
    if connection.vendor != "postgresql":
        return 0
    with transaction.atomic(using=using), connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {LIST} WHERE id IN (SELECT id FROM {LIST} ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)"
            " RETURNING txid::text, resource_type, operation, account, application, at, resource_id",
            [TOLD_AT_ONCE],
        )
        rows = sorted(cursor.fetchall())
        for (txid, kind, operation, account, application), group in groupby(rows, key=lambda row: row[:5]):
            changed = list(group)
            keys = [row[6] for row in changed]
            model = apps.get_model(kind)
            field = "uid" if any(f.name == "uid" for f in model._meta.concrete_fields) else "pk"
            target = model._default_manager.filter(**{field: keys[0]}).first() if len(keys) == 1 else None
            UNATTRIBUTED.emit(
                target=target,
                about=model,
                action=OPERATIONS[operation],
                transaction=txid,
                operation=operation,
                rows=len(keys),
                objects=keys[:NAMED],
                at=changed[0][5],
                account=account,
                application=application,
            )
    return len(rows)
