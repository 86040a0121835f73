"""Bandit: Python source. Exit 1 means findings; 0 also comes where nothing was read (PyCQA/bandit #575), so the report
decides, not the code: each file that was asked for must stand in `metrics` or in `errors`. 2 is a usage error."""

from pathlib import Path

from scanning.scanners.base import Scanner, register

# Bandit's exclusions are substrings of paths; this one stands in none, and replaces its defaults (".git", "CVS", …).
NO_EXCLUSION = "//"


@register
class Bandit(Scanner):
    name = "bandit"
    reads = "*.py"
    ok_codes = frozenset({0, 1})

    def fits(self, name: str) -> bool:
        return name.endswith(".py")

    def command(self, files: list[str], report: Path) -> list[str]:
        given = [f"./{name}" for name in files]
        return [self.program, "-q", "-f", "json", "-o", str(report), "-x", NO_EXCLUSION, *given]
