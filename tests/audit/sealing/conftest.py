import json
from pathlib import Path

import pytest
from django.db import connection

from audit import guard
from audit.models import AuditEntry
from audit.sealing.models import Checkpoint
from audit.sealing.sealer import seal
from opssight.kernel.events import registry


class Log:
    """A sealed log of a few batches, with what was kept of it elsewhere at the time."""

    def __init__(self, folder: Path) -> None:
        self.anchor, self.receipts = folder / "anchor.jsonl", folder / "receipts.jsonl"
        seal()
        for number in (7, 5, 4):
            self.write(number)

    def write(self, number: int) -> None:
        for n in range(number):
            registry["findings:raised"].emit(number=n, title="<script>é\u2028")
        seal()
        self.keep()

    def keep(self) -> None:
        """What anchor and log have by now."""
        self.anchor.write_text("".join(json.dumps({"note": c.note}) + "\n" for c in Checkpoint.objects.order_by("pk")))
        self.keep_receipts()

    def keep_receipts(self) -> None:
        lines = [
            json.dumps(
                {"logger": "opssight.receipt", "time": f"{e.timestamp.isoformat()}", "uid": str(e.uid), "mac": e.mac}
            )
            for e in AuditEntry.objects.order_by("pk")
        ]
        self.receipts.write_text("\n".join(["not a receipt", '{"message": "nor this"}', *lines]) + "\n")


@pytest.fixture
def log(db, tmp_path) -> Log:
    return Log(tmp_path)


@pytest.fixture
def unguarded(db):
    """As whoever owns the database: nothing is refused. What is inserted still goes into the outbox."""
    for trigger, table, _ in guard._refusals(connection.vendor):
        sql(f"DROP TRIGGER {trigger}" + (f" ON {table}" if connection.vendor == "postgresql" else ""))
    yield
    guard.install(connection)


def sql(statement: str, *values: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
