"""Bandit: Python source. Exit 1 means findings; 0 also comes where nothing was read (PyCQA/bandit #575), so the report
decides, not the code: each file that was asked for must stand in `metrics` or in `errors`. 2 is a usage error."""

import json
from pathlib import Path
from typing import Any

from scanning.models import Severity
from scanning.reports.base import RawFinding
from scanning.scanners import toolbox
from scanning.scanners.base import BadReport, Report, register

_SEVERITY = {"HIGH": Severity.HIGH, "MEDIUM": Severity.MEDIUM, "LOW": Severity.LOW}
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
            body = json.loads(report)
            findings = [self._finding(result) for result in body["results"]]
            errors = {_plain(error["filename"]): str(error["reason"]) for error in body["errors"]}
            read = {_plain(name) for name in body["metrics"] if name != "_totals"}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadReport(f"bandit's report can't be read: {error!r}") from error
        return Report(findings, read - errors.keys(), errors)

    @staticmethod
    def _finding(result: dict[str, Any]) -> RawFinding:
        code, lines = result["code"], set(result["line_range"])
        numbered = [raw.partition(" ") for raw in code.splitlines()]
        return RawFinding(
            rule=result["test_id"],
            title=result["issue_text"].partition(". ")[0].rstrip("."),
            description=result["issue_text"],
            severity=_SEVERITY.get(result["issue_severity"], Severity.INFO),
            confidence=result["issue_confidence"].lower(),
            path=_plain(result["filename"]),
            line=int(result["line_number"]),
            code=code,
            flagged="\n".join(text for number, _, text in numbered if number.isdigit() and int(number) in lines),
            cwe=(result.get("issue_cwe") or {}).get("id"),
            help_url=result.get("more_info") or "",
        )


def _plain(name: str) -> str:
    while name.startswith("./"):
        name = name[2:]
    return name
