"""Which formats there are, and which one a report is in."""

from typing import BinaryIO

from scanning.reports import (
    bandit,
    checkov,
    cyclonedx,
    detect_secrets,
    generic,
    gitleaks,
    osv_scanner,
    pip_audit,
    safety,
    sarif,
    semgrep,
    trivy,
)
from scanning.reports.base import Run, UnreadableReport
from scanning.reports.stream import elements, unpack

FORMATS = {
    module.__name__.rpartition(".")[2]: module.read
    for module in (
        bandit, checkov, cyclonedx, detect_secrets, generic, gitleaks, osv_scanner, pip_audit, safety, sarif, semgrep, trivy,
    )
}  # fmt: skip

# A key that only one of them has, in the report or in the first of a list's objects; the first that is met decides.
TELLING = {
    "runs": "sarif",
    "bomFormat": "cyclonedx",
    "SchemaVersion": "trivy",
    "plugins_used": "detect_secrets",
    "check_type": "checkov",
    "checkov_version": "checkov",
    "dependencies": "pip_audit",
    "report_meta": "safety",
    "findings": "generic",
    "metrics": "bandit",
    "paths": "semgrep",
    "skipped_rules": "semgrep",
    "experimental_config": "osv_scanner",
    "[].RuleID": "gitleaks",
    "[].offender": "gitleaks",
    "[].Target": "trivy",
    "[].check_type": "checkov",
    "[].vulns": "pip_audit",
    "[].skip_reason": "pip_audit",
    "[][]": "safety",
    "results[].check_id": "semgrep",
    "results[].test_id": "bandit",
    "results[].packages": "osv_scanner",
}
_KEYS = ("*", "[].*", "results[].*", "[][]")


def read(stream: BinaryIO, format: str = "", root: str = "") -> list[Run]:
    """The runs in a report, plain or gzipped. Without `format`, its content says what it is.

    `root` is the folder that absolute paths in it start from, where the caller knows. UnreadableReport says why not.
    """
    if format and format not in FORMATS:
        raise UnreadableReport(f"{format} is no format of ours. There are: {', '.join(FORMATS)}.")
    file = unpack(stream)
    return FORMATS[format or detect(file)](file, root)


def detect(file: BinaryIO) -> str:
    """By the first key that only one format has; a guess would take a stranger's report for a clean one."""
    met = set[str]()
    for kind, _, value in elements(file, "[].*", "[][]", *(("results[].*",))) if _is_list(file) else _keys(file):
        key = "[][]" if kind == "[][]" else kind.removesuffix("*") + str(value)
        if key in TELLING:
            return TELLING[key]
        met.add(key)
    if {"passed", "failed"} <= met:
        return "checkov"
    if {"results", "errors"} <= met:
        return "semgrep"
    raise UnreadableReport(
        f"No format of ours looks like this. Name the format of the report: {', '.join(FORMATS)}."
    )
