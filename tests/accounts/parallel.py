"""The same call eight times at once. SQLite in memory is one connection, so PostgreSQL runs these."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection


def eight_times(call: Callable[[], Any]) -> list[Any]:
    """What each of eight parallel calls returned."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite in memory is one connection; PostgreSQL runs this")
    start, answers = threading.Barrier(8), []

    def one() -> None:
        start.wait()
        try:
            answers.append(call())
        finally:
            connection.close()

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers
