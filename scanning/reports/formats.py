"""Which formats there are, and which one a report is in."""

from collections.abc import Iterator
from typing import BinaryIO, cast

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
from scanning.reports.stream import Unpacked, elements, unpack

FORMATS = {
    module.__name__.rpartition(".")[2]: module.read
    for module in (
        bandit, checkov, cyclonedx, detect_secrets, generic, gitleaks, osv_scanner, pip_audit, safety, sarif, semgrep,
        trivy,
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
    "scan_results": "safety",
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
    "results[].check_id": "semgrep",
    "results[].test_id": "bandit",
    "results[].packages": "osv_scanner",
}


def read(stream: BinaryIO, format: str = "", root: str = "") -> list[Run]:
    """The runs in a report, plain or gzipped. Without `format`, its content says what it is.

    `root` is the folder that absolute paths in it start from, where the caller knows. UnreadableReport says why not.
    """
    if format and format not in FORMATS:
        raise UnreadableReport(f"{format} is no format of ours. There are: {', '.join(FORMATS)}.")
    file = unpack(stream)
    file.seek(0)
    if format == "osv_scanner" and not file.read(1):
        return osv_scanner.read(cast(BinaryIO, file))
    found = _detected(file)
    if not found and not format:
        raise UnreadableReport(f"It is not clear which format this is. Name it: {', '.join(FORMATS)}.")
    if format and found not in ("", format):
        raise UnreadableReport(f"This is a report of the format {found}, not {format}.")
    return FORMATS[format or found](file, root)


def _detected(file: Unpacked) -> str:
    """By the first key that only one format has, or "": a guess would take a stranger's report for a clean one."""
    file.seek(0)
    start = "".join(file.read(4096).decode("utf-8", "replace").split())[:2]
    if start == "[[":
        return "safety"
    met = set[str]()
    if start in ("[]", "nu"):
        return ""
    for key in _keys(file, "[].*" if start[:1] == "[" else "*", met):
        if key in TELLING:
            return TELLING[key]
    if "results" in met:
        for key in _keys(file, "results[].*", met):
            if key in TELLING:
                return TELLING[key]
    if {"passed", "failed"} <= met:
        return "checkov"
    if {"results", "errors"} <= met:
        return "semgrep"
    return ""


def _keys(file: Unpacked, where: str, met: set[str]) -> Iterator[str]:
    for _, _, key in elements(file, where):
        told = where.removesuffix("*") + key
        if told not in met:
            met.add(told)
            yield told
