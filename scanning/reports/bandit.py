"""Bandit's JSON. `metrics` names each file that it read."""

from typing import BinaryIO

from scanning.models import Severity
from scanning.reports.base import RawFinding, Run
from scanning.reports.fields import Node
from scanning.reports.paths import Paths
from scanning.reports.stream import elements, unpack
from scanning.reports.words import link, masked, name

SEVERITIES = {"HIGH": Severity.HIGH, "MEDIUM": Severity.MEDIUM, "LOW": Severity.LOW}
PASSWORDS = {"B105", "B106", "B107"}  # they quote the password


def read(stream: BinaryIO, root: str = "") -> list[Run]:
    paths, findings, errors, files = Paths(root), list[RawFinding](), dict[str, str](), set[str]()
    wanted = ("results[]", "errors[]", "metrics.*")
    for kind, place, value in elements(unpack(stream), *wanted, need=("results", "errors", "metrics")):
        if kind == "metrics.*":
            if value != "_totals":
                files.add(paths.take(value, place))
        elif kind == "errors[]":
            error = Node(value, place)
            errors[paths.take(error.text("filename"), error.at("filename"))] = error.text("reason")
        else:
            findings.append(_finding(Node(value, place), paths))
    return [Run("bandit", "", findings, files - errors.keys(), errors)]


def _finding(result: Node, paths: Paths) -> RawFinding:
    code, text = result.text("code"), result.text("issue_text")
    rule, lines = result.named("test_id"), result.items("line_range")
    rows = [raw.partition(" ") for raw in code.splitlines()]
    flagged = "\n".join(
        row for number, _, row in rows if number.isdecimal() and len(number) < 10 and int(number) in lines
    )
    if rule in PASSWORDS:
        text, code = masked(text), masked(code)
    return RawFinding(
        rule=name(rule),
        title=text.partition(". ")[0].rstrip("."),
        description=text,
        severity=SEVERITIES.get(result.text("issue_severity"), Severity.INFO),
        confidence=result.text("issue_confidence").lower(),
        path=paths.take(result.named("filename"), result.at("filename")),
        line=result.number("line_number"),
        code=code,
        flagged=flagged,
        cwe=result.node("issue_cwe").number("id", 0) or None,
        help_url=link(result.text("more_info", "")),
        end_line=max((n for n in lines if isinstance(n, int)), default=0),
        column=result.number("col_offset", -1) + 1 if "col_offset" in result else 0,
        end_column=result.number("end_col_offset", 0),
    )
