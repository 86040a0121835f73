"""The three roles of a server's database: the SQL that makes them and gives each what it needs.

owner   owns the tables: migrates, prunes, erases
app     what web and workers sign in with: the usual rights, on the trail only reading and adding
sealer  what the sealer signs in with: reads the trail's entries, empties the outbox, adds to the sealed log
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from audit import guard, watch

CHANGES = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")
APP = {table.name: table.app for table in guard.TABLES}
SEALER = {table.name: table.sealer for table in guard.TABLES}


@dataclass(frozen=True)
class Roles:
    owner: str
    app: str
    sealer: str


class Setup:
    """What one database lacks of its roles, found by asking it. Nothing is changed but through `execute`."""

    def __init__(self, connection: BaseDatabaseWrapper, roles: Roles) -> None:
        self.connection, self.roles = connection, roles
        self.owner, self.app, self.sealer = (_quoted(name) for name in astuple(roles))
        self.missing = set(astuple(roles)) - set(
            self._column("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", list(astuple(roles)))
        )
        mine = "(SELECT {} FROM pg_roles WHERE rolname = current_user)".format
        self.is_superuser, self.may_create = self._is(mine("rolsuper")), self._is(mine("rolsuper OR rolcreaterole"))
        self.is_owner = not self.missing and self._is("pg_has_role(%s::name, 'MEMBER')", roles.owner)
        self.owns_database = self._is(
            "(SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database())"
        )
        self.owns_schema = self._is(
            "(SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = current_schema())"
        )
        [self.database] = self._column("SELECT current_database()")
        [self.schema] = self._column("SELECT current_schema()")

    def before_migration(self, passwords: dict[str, str]) -> list[str]:
        """Roles, the right to connect, the tables' owner and what later tables come with. `passwords` are hashed."""
        database, schema = _quoted(self.database), _quoted(self.schema)
        done = []
        for name in astuple(self.roles):
            secret = f" PASSWORD {_literal(passwords[name])}" if name in passwords else ""
            if name in self.missing:
                done.append(f"CREATE ROLE {_quoted(name)} LOGIN{secret}")
            elif secret:
                done.append(f"ALTER ROLE {_quoted(name)}{secret}")
        if not self.is_superuser and not self.is_owner:
            done.append(f"GRANT {self.owner} TO CURRENT_USER")
        if self.owns_database:
            done.append(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
            done.append(f"GRANT CONNECT ON DATABASE {database} TO {self.owner}, {self.app}, {self.sealer}")
        if self.owns_schema:
            done.append(f"REVOKE ALL ON SCHEMA {schema} FROM PUBLIC")
            done.append(f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {self.owner}")
            done.append(f"GRANT USAGE ON SCHEMA {schema} TO {self.app}, {self.sealer}")
        done += [f"ALTER TABLE {_quoted(name)} OWNER TO {self.owner}" for name in self._tables(but_of=self.roles.owner)]
        done += [f"ALTER FUNCTION {name} OWNER TO {self.owner}" for name in self._functions_of_others()]
        later = f"ALTER DEFAULT PRIVILEGES FOR ROLE {self.owner} IN SCHEMA {schema} GRANT"
        done.append(f"{later} SELECT, INSERT, UPDATE, DELETE ON TABLES TO {self.app}")
        done.append(f"{later} USAGE, SELECT ON SEQUENCES TO {self.app}")
        return done

    def after_migration(self) -> list[str]:
        """The rights on the tables there are; run as the owner."""
        tables = self._tables()
        ordinary = [name for name in tables if name not in guard.NAMES]
        done = []
        if ordinary:
            done.append(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(map(_quoted, ordinary))} TO {self.app}")
        if sequences := self._sequences(ordinary):
            done.append(f"GRANT USAGE, SELECT ON SEQUENCE {', '.join(sequences)} TO {self.app}")
        if set(guard.NAMES) <= set(tables):
            done += guard.rights(app=self.app, sealer=self.sealer)
        return done

    def execute(self, statements: list[str]) -> None:
        with self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    @contextmanager
    def as_owner(self) -> Iterator[None]:
        self.execute([f"SET ROLE {self.owner}"])
        try:
            yield
        finally:
            self.execute(["RESET ROLE"])

    def unfit(self) -> list[str]:
        """Why app and sealer could take the owner's rights, in words."""
        found = []
        for name in (self.roles.app, self.roles.sealer):
            if self._is("(SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = %s)", name):
                found.append(f"{name} is a superuser or may create roles")
            elif self._is("pg_has_role(%s::name, %s::name, 'MEMBER')", name, self.roles.owner):
                found.append(f"{name} is a member of {self.roles.owner}")
        return found

    def excess(self) -> list[str]:
        """What app and sealer may do with the trail beyond what they were given: through roles they are members of."""
        found = []
        for name, may in ((self.roles.app, APP), (self.roles.sealer, SEALER)):
            held = [
                table
                for table in guard.NAMES
                if (refused := [privilege for privilege in CHANGES if privilege not in may[table]])
                and self._is("has_table_privilege(%s::name, %s::regclass, %s)", name, table, ", ".join(refused))
            ]
            if held:
                found.append(f"{name} may change {', '.join(held)} through another role")
        return found

    def hashed(self, role: str, password: str) -> str:
        """What PostgreSQL stores, made here, so that no password stands in a log of the server."""
        self.connection.ensure_connection()
        pgconn = self.connection.connection.pgconn
        return str(pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode())

    # --- asking ---

    def _tables(self, *, but_of: str = "") -> list[str]:
        """OpsSight's own tables, without those that belong to `but_of`."""
        ours = [*self.connection.introspection.django_table_names(only_existing=True), "django_migrations"]
        return self._column(
            "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename = ANY(%s) AND tableowner <> %s"
            " ORDER BY tablename",
            self.schema, ours, but_of,
        )  # fmt: skip

    def _functions_of_others(self) -> list[str]:
        """The functions of the triggers on OpsSight's own tables, and what they call."""
        ours = [*self.connection.introspection.django_table_names(only_existing=True)]
        return self._column(
            "SELECT p.oid::regprocedure::text FROM pg_proc p WHERE pg_get_userbyid(p.proowner) <> %s"
            " AND p.pronamespace = current_schema()::regnamespace AND (p.oid = to_regprocedure(%s) OR p.oid IN"
            " (SELECT t.tgfoid FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relname = ANY(%s)))"
            " ORDER BY 1",
            self.roles.owner, watch.NOTE, ours,
        )  # fmt: skip

    def _sequences(self, tables: list[str]) -> list[str]:
        return self._column(
            "SELECT s.oid::regclass::text FROM pg_class s"
            " JOIN pg_depend d ON d.objid = s.oid AND d.deptype IN ('a', 'i') JOIN pg_class t ON t.oid = d.refobjid"
            " WHERE s.relkind = 'S' AND t.relnamespace = current_schema()::regnamespace AND t.relname = ANY(%s)"
            " ORDER BY 1",
            tables,
        )  # fmt: skip

    def _is(self, expression: str, *values: str) -> bool:
        return bool(self._column(f"SELECT {expression}", *values)[0])

    def _column(self, query: str, *values: Any) -> list[str]:
        with self.connection.cursor() as cursor:
            cursor.execute(query, values or None)
            return [row[0] for row in cursor.fetchall()]


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string(None)


def _literal(value: str) -> str:
    return sql.Literal(value).as_string(None)
