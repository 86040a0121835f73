"""Safety 2.x with a database of the operator's. Exit 64 means vulnerabilities; it skips what is not pinned without a
word. Version 3 does not even show its help without the network, so it is not used."""

import json
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings

from scanning.scanners.base import ONE_BY_ONE, NotReady, Scanner, register
from scanning.scanners.names import is_requirements


@register
class Safety(Scanner):
    name = "safety"
    reads = "requirements*.txt"
    pace = ONE_BY_ONE
    ok_codes = frozenset({0, 64})
    prints = True

    def check(self) -> None:
        super().check()
        if not settings.SAFETY_DB:
            raise NotReady("safety has no database: set OPSSIGHT_SAFETY_DB to the folder with insecure_full.json.")
        if not Path(settings.SAFETY_DB, "insecure_full.json").is_file():
            raise NotReady(f"OPSSIGHT_SAFETY_DB names {settings.SAFETY_DB}, which holds no insecure_full.json.")

    def data_at(self) -> datetime | None:
        try:
            meta = json.loads(Path(settings.SAFETY_DB, "insecure_full.json").read_bytes())["$meta"]
            return datetime.fromtimestamp(meta["timestamp"], UTC)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def fits(self, name: str) -> bool:
        return is_requirements(name)

    def command(self, files: list[str], report: Path) -> list[str]:
        given = [f"--file=./{name}" for name in files]
        return [self.program, "check", "--output=json", f"--db={settings.SAFETY_DB}", *given]
