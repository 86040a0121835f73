"""Checkov's JSON: an object for one framework, a list for several, a flat object where it found nothing to check."""

from typing import BinaryIO

from scanning.reports.base import RawFinding, Run, UnreadableReport
from scanning.reports.fields import Node
from scanning.reports.paths import Paths
from scanning.reports.stream import elements, unpack
from scanning.reports.words import link, masked, name, numbered, prose, severity

CHECKS = ("results.failed_checks[]", "results.skipped_checks[]", "results.parsing_errors[]", "summary.checkov_version")


def read(stream: BinaryIO, root: str = "") -> list[Run]:
    file, paths, run = unpack(stream), Paths(root, "/"), Run("checkov")
    file.seek(0)
    several = file.read(4096).lstrip()[:1] == b"["
    before, version, known = "[]." if several else "", "", several
    for kind, place, value in elements(
        file, *(before + check for check in CHECKS), f"{before}check_type", f"{before}passed"
    ):
        last = kind.removeprefix(before)
        known = known or last in ("check_type", "passed")
        if last == "summary.checkov_version":
            version = name(str(value))
        elif last == "results.parsing_errors[]":
            run.errors[paths.take(str(value), place)] = "checkov could not read it"
        elif last.startswith("results."):
            run.findings.append(_finding(Node(value, place), paths, skipped="skipped" in last))
    if not known:
        raise UnreadableReport("check_type is missing: this is no report of checkov.")
    return [Run(run.tool, version, run.findings, None, run.errors)]


def _finding(check: Node, paths: Paths, *, skipped: bool) -> RawFinding:
    lines = check.items("file_line_range")
    first, last = (int(n) if isinstance(n, int) and 0 <= n < 2**31 else 0 for n in (*lines, 0, 0)[:2])
    resource = name(check.text("resource", ""))
    rows = [str(row[1]) for row in check.items("code_block") if isinstance(row, list) and len(row) == 2]
    rule, words = name(check.named("check_id")), check.text("check_name", "")
    hidden = rule.startswith("CKV_SECRET")
    reason = check.node("check_result").text("suppress_comment", "")
    return RawFinding(
        rule=rule,
        title=name(words)[:300] or rule,
        description=prose(f"{words}\n\n{resource}".strip()),
        severity=severity(check.text("severity", "")),
        path=paths.take(check.text("file_path"), check.at("file_path")),
        line=first,
        code="" if hidden else numbered(first, masked("".join(rows))),
        flagged=resource,  # what it is about; the lines of a whole resource change too often
        help_url=link(check.text("guideline", "")),
        end_line=last,
        suppressed=(prose(reason) or "skipped by a comment") if skipped else "",
    )
