"""Safety 2.x with a database of the operator's. Exit 64 means vulnerabilities; it skips what is not pinned with no
more than a warning, so that is looked for here. Version 3 does not even show its help without the network, so it is not
used."""

import json
import re
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings

from scanning.scanners.base import ONE_BY_ONE, NotReady, Report, Scanner, register
from scanning.scanners.names import is_requirements

PINNED = re.compile(r"[\w.-]+\s*(\[[^\]]*\])?\s*===?\s*[^\s*,;]+\s*(;.*)?$")
TOLD = 5  # lines that are not pinned, of a file


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
        if not _database().is_file():
            raise NotReady(f"OPSSIGHT_SAFETY_DB names {settings.SAFETY_DB}, which holds no insecure_full.json.")
        if "base_domain" not in self._meta():
            raise NotReady(f"{_database()} is of a form that safety 2 can't read: its $meta has no base_domain.")

    def data_at(self) -> datetime | None:
        try:
            return datetime.fromtimestamp(self._meta()["timestamp"], UTC)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @staticmethod
    def _meta() -> dict[str, Any]:
        return _meta(_database(), _database().stat().st_mtime_ns)

    def fits(self, name: str) -> bool:
        return is_requirements(name)

    def command(self, files: list[str], report: Path) -> list[str]:
        given = [f"--file=./{name}" for name in files]
        return [self.program, "check", "--output=json", f"--db={settings.SAFETY_DB}", *given]

    def read(self, stream: BinaryIO, files: list[str], root: Path) -> Report:
        report = super().read(stream, files, root)
        for name in files:
            if loose := not_pinned((root / name).read_text(errors="replace")):
                more = f" and {len(loose) - TOLD} more" if len(loose) > TOLD else ""
                report.errors[name] = f"not pinned with ==, so not looked at: {', '.join(loose[:TOLD])}{more}"
                report.files.discard(name)
        return report


def not_pinned(text: str) -> list[str]:
    """The requirements of a file that name no single version. Options are none; other files are read by themselves."""
    lines = (re.sub(r"(^|\s)#.*|\s--\w.*", "", line).strip() for line in text.replace("\\\n", " ").splitlines())
    return [line[:80] for line in lines if line and not line.startswith("-") and not PINNED.match(line)]


def _database() -> Path:
    return Path(settings.SAFETY_DB, "insecure_full.json")


@cache
def _meta(path: Path, changed: int) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())["$meta"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
