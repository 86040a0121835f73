"""The triggers that count findings as they are written, whichever way: idempotent SQL, run after every migration.

On PostgreSQL once a statement, over the rows that it changed, in a lane of the transaction; on SQLite, where there is
one writer at a time, row by row. What is counted is said once, as moves: how a finding was (NULL: it is new), how it
is (NULL: it is gone), and when.
"""

from typing import Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

FINDINGS = "scanning_finding"
TRIGGERS = {operation: f"counts_{operation.lower()}" for operation in ("INSERT", "UPDATE", "DELETE")}

# {moves} are rows (asset_was, severity_was, status_was, asset_is, severity_is, status_is, seen, fixed, at).
STATES = """
INSERT INTO counts_statecount (asset_id, severity, status, lane, n)
SELECT asset_id, severity, status, {lane}, SUM(n) FROM (
  SELECT asset_was AS asset_id, severity_was AS severity, status_was AS status, -1 AS n FROM ({moves}) m
  WHERE asset_was IS NOT NULL
  UNION ALL SELECT asset_is, severity_is, status_is, 1 FROM ({moves}) m WHERE asset_is IS NOT NULL
) parts WHERE TRUE GROUP BY 1, 2, 3 HAVING SUM(n) <> 0
ON CONFLICT (asset_id, severity, status, lane) DO UPDATE SET n = counts_statecount.n + excluded.n
"""
# What comes in closed, as older data does, was open before.
WEEKS = """
INSERT INTO counts_weekcount (asset_id, week, severity, lane, opened, fixed, other)
SELECT asset_id, week, severity, {lane}, SUM(opened), SUM(fixed), SUM(other) FROM (
  SELECT asset_is AS asset_id, {week_of_opening} AS week, severity_is AS severity, 1 AS opened, 0 AS fixed, 0 AS other
  FROM ({moves}) m
  WHERE asset_is IS NOT NULL AND (asset_was IS NULL OR (status_was NOT IN {open} AND status_is IN {open}))
  UNION ALL SELECT asset_is, {week_of_fix}, COALESCE(severity_was, severity_is), 0, 1, 0 FROM ({moves}) m
  WHERE status_is = 'fixed' AND (asset_was IS NULL OR status_was IN {open})
  UNION ALL SELECT COALESCE(asset_was, asset_is), {week}, COALESCE(severity_was, severity_is), 0, 0, -1
  FROM ({moves}) m
  WHERE (asset_was IS NULL AND status_is NOT IN ('fixed', 'open', 'triaged', 'in_progress'))
    OR (status_was IN {open} AND (asset_is IS NULL OR status_is <> 'fixed'))
  UNION ALL SELECT asset_is, {week}, severity_is, 0, 0, 1 FROM ({moves}) m
  WHERE status_was IN {open} AND status_is IN {open}
) parts WHERE TRUE GROUP BY 1, 2, 3 HAVING SUM(opened) <> 0 OR SUM(fixed) <> 0 OR SUM(other) <> 0
ON CONFLICT (asset_id, week, severity, lane) DO UPDATE SET opened = counts_weekcount.opened + excluded.opened,
  fixed = counts_weekcount.fixed + excluded.fixed, other = counts_weekcount.other + excluded.other
"""
OPEN = "('open', 'triaged', 'in_progress')"


def _side(row: str, when: str) -> str:
    return f"{row}asset_id AS asset_{when}, {row}severity AS severity_{when}, {row}status AS status_{when}"


def _absent(when: str) -> str:
    return (
        f"CAST(NULL AS bigint) AS asset_{when}, CAST(NULL AS smallint) AS severity_{when},"
        f" CAST(NULL AS varchar) AS status_{when}"
    )


def _moves(vendor: str, operation: str) -> str:
    now = "now()" if vendor == "postgresql" else "strftime('%Y-%m-%d %H:%M:%f', 'now')"
    old, new = ("gone.", "came.") if vendor == "postgresql" else ("OLD.", "NEW.")
    came = _absent("is") if operation == "DELETE" else _side(new, "is")
    was = _absent("was") if operation == "INSERT" else _side(old, "was")
    # A finding that opens again does so now, one that is new when it was first seen.
    seen = f"{new}first_seen_at" if operation == "INSERT" else now
    fixed = now if operation == "DELETE" else f"COALESCE({new}fixed_at, {now})"
    moves = f"SELECT {was}, {came}, {seen} AS seen, {fixed} AS fixed, {now} AS at"
    if vendor == "sqlite":
        return moves
    source = {"INSERT": "came", "UPDATE": "gone JOIN came USING (id)", "DELETE": "gone"}[operation]
    changed = "(gone.asset_id, gone.severity, gone.status) IS DISTINCT FROM (came.asset_id, came.severity, came.status)"
    return f"{moves} FROM {source}{f' WHERE {changed}' if operation == 'UPDATE' else ''}"


def counting(vendor: str, moves: str, lane: str) -> list[str]:
    """The statements that add what `moves` come to."""

    def week(moment: str) -> str:
        if vendor == "postgresql":
            return f"date_trunc('week', {moment} AT TIME ZONE 'UTC')::date"
        return f"date({moment}, 'weekday 0', '-6 days')"

    weeks = {"week": week("at"), "week_of_opening": week("seen"), "week_of_fix": week("fixed")}
    return [text.format(moves=moves, lane=lane, open=OPEN, **weeks).strip() for text in (STATES, WEEKS)]


def _statements(vendor: str) -> list[str]:
    made = []
    for operation, name in TRIGGERS.items():
        moves = _moves(vendor, operation)
        if vendor == "sqlite":
            body = "; ".join(counting(vendor, moves, "0"))
            of = " OF asset_id, severity, status" if operation == "UPDATE" else ""
            made.append(f"CREATE TRIGGER IF NOT EXISTS {name} AFTER {operation}{of} ON {FINDINGS} BEGIN {body}; END")
            continue
        body = "; ".join(counting(vendor, moves, "pg_current_xact_id()::text::bigint"))
        made.append(
            f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NULL;"
            " END $$"
        )
        tables = {"INSERT": "NEW TABLE AS came", "DELETE": "OLD TABLE AS gone"}
        seen = tables.get(operation, "NEW TABLE AS came OLD TABLE AS gone")
        made.append(
            f"CREATE OR REPLACE TRIGGER {name} AFTER {operation} ON {FINDINGS} REFERENCING {seen}"
            f" FOR EACH STATEMENT EXECUTE FUNCTION {name}()"
        )
    return made


def install(connection: BaseDatabaseWrapper) -> None:
    """Where findings were written without them, as before the first time, all are counted anew."""
    from scanning.counts import services

    with transaction.atomic(using=connection.alias):
        with connection.cursor() as cursor:
            for statement in _statements(connection.vendor):
                cursor.execute(statement)
        if not services.agrees(using=connection.alias):
            services.rebuild(using=connection.alias)


def remove(connection: BaseDatabaseWrapper) -> None:
    """For the end of a test that has to empty the tables; nothing in production calls it."""
    on = f" ON {FINDINGS}" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        for name in TRIGGERS.values():
            cursor.execute(f"DROP TRIGGER IF EXISTS {name}{on}")


def is_installed(connection: BaseDatabaseWrapper) -> bool:
    catalogue = (
        "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        if connection.vendor == "sqlite"
        else "SELECT tgname FROM pg_trigger WHERE tgenabled IN ('O', 'A') AND tgrelid = %s::regclass"
    )
    with connection.cursor() as cursor:
        cursor.execute(catalogue, [FINDINGS] if connection.vendor == "postgresql" else [])
        return set(TRIGGERS.values()) <= {row[0] for row in cursor.fetchall()}


def install_after_migration(using: str, **kwargs: Any) -> None:
    connection = connections[using]
    needed = {FINDINGS, "counts_statecount", "counts_weekcount", "triage_decision"}
    if needed <= set(connection.introspection.table_names()):
        install(connection)
