"""Bandit: Python source. Exit 1 means findings; 0 also comes where nothing was read (PyCQA/bandit #575), so the report
decides, not the code: each file that was asked for must stand in `metrics` or in `errors`. 2 is a usage error."""

import json
from pathlib import Path
from typing import Any, BinaryIO

from scanning.models import Severity
from scanning.reports.base import RawFinding
from scanning.scanners.base import BadReport, Report, Scanner, plain, register

_SEVERITY = {"HIGH": Severity.HIGH, "MEDIUM": Severity.MEDIUM, "LOW": Severity.LOW}
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
        return [
            self.program,
            "-q",
            "-f",
            "json",
            "-o",
            str(report),
            "-x",
            NO_EXCLUSION,
            *(f"./{name}" for name in files),
        ]

    def read(self, stream: BinaryIO, files: list[str]) -> Report:
        try:
            body = json.load(stream)
            findings = [self._finding(result) for result in body["results"]]
            errors = {plain(error["filename"]): str(error["reason"]) for error in body["errors"]}
            read = {plain(name) for name in body["metrics"] if name != "_totals"}
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
            path=plain(result["filename"]),
            line=int(result["line_number"]),
            code=code,
            flagged="\n".join(text for number, _, text in numbered if number.isdigit() and int(number) in lines),
            cwe=(result.get("issue_cwe") or {}).get("id"),
            help_url=result.get("more_info") or "",
        )
