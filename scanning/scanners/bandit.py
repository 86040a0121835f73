"""Bandit: Python source. Exit 1 means findings; 0 also comes where nothing was read (PyCQA/bandit #575), so the report
decides, not the code: each file that was asked for must stand in `metrics` or in `errors`. 2 is a usage error."""

from io import BytesIO
from pathlib import Path

from scanning import reports
from scanning.scanners import toolbox
from scanning.scanners.base import BadReport, Report, register

# Bandit's exclusions are substrings of paths; this one stands in none, and replaces its defaults (".git", "CVS", …).
NO_EXCLUSION = "//"


@register
class Bandit:
    name = "bandit"
    suffixes: tuple[str, ...] = (".py",)
    ok_codes = frozenset({0, 1})

    def command(self, files: list[str], report: Path) -> list[str]:
        program = str(toolbox.program(self.name))
        return [program, "-q", "-f", "json", "-o", str(report), "-x", NO_EXCLUSION, *(f"./{name}" for name in files)]

    def read(self, report: bytes) -> Report:
        try:
            (run,) = reports.bandit.read(BytesIO(report))
        except reports.UnreadableReport as error:
            raise BadReport(f"bandit's report can't be read: {error}") from error
        return Report(run.findings, run.files or set(), run.errors)
