"""Queries that come in every request, planned once.

PostgreSQL took three times as long to read and plan the question for what a person holds as to answer it. A prepared
statement is planned once a connection, or anew where it finds that plans for the very values are better. SQLite keeps
its compiled statements by itself.
"""

from types import SimpleNamespace
from typing import Any

import psycopg
from django.db import connection


class _Prepared(psycopg.Cursor[Any]):
    def execute(self, query: Any, params: Any = None, **kwargs: Any) -> Any:
        super().execute(query, params, prepare=True)
        self._query: Any = SimpleNamespace(query=query.encode())  # where Django's log of queries looks for the text
        return self


def ask(sql: str, values: dict[str, Any]) -> list[Any]:
    """All rows of `sql`, whose text must be the same each time."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            connection.connection.prepare_threshold = 0
            cursor.cursor = _Prepared(
                connection.connection
            )  # inside Django's wrapper, which counts and translates errors
        cursor.execute(sql, values)
        return cursor.fetchall()
