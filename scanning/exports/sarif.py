"""SARIF 2.1.0, a run for each scanner, written as it is read: rules stand behind their results, as they become known.

What SARIF has no place for stands in `properties.opssight`; `scanning.reports.sarif` reads it back.
"""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from scanning.exports.chosen import Chosen
from scanning.models import Finding, Severity, Status

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
MARK = "opssight/v1"
LEVELS = {
    Severity.CRITICAL: "error", Severity.HIGH: "error", Severity.MEDIUM: "warning", Severity.LOW: "note",
    Severity.INFO: "note",
}  # fmt: skip
SUPPRESSED = {Status.ACCEPTED, Status.FALSE_POSITIVE, Status.DUPLICATE}
KEPT = (
    "title", "description", "status", "confidence", "cwe", "package", "package_version", "fix_version", "aliases",
    "cvss_vector", "occurrences",
)  # fmt: skip


def write(chosen: Chosen) -> Iterator[str]:
    yield f'{{"$schema":{_text(SCHEMA)},"version":"2.1.0","runs":['
    for number, scanner in enumerate(chosen.keys):
        yield "," if number else ""
        yield from _run(chosen, scanner)
    yield "]}\n"


def _run(chosen: Chosen, scanner: str) -> Iterator[str]:
    rules: dict[str, tuple[int, dict[str, Any]]] = {}
    yield '{"columnKind":"unicodeCodePoints","results":['
    for number, (finding, reason) in enumerate(chosen.read(scanner)):
        index, _ = rules.setdefault(finding.rule, (len(rules), _rule(finding)))
        yield ("," if number else "") + _text(_result(finding, reason, index))
    yield f'],"tool":{{"driver":{{"name":{_text(scanner)},"rules":['
    for index, rule in rules.values():
        yield ("," if index else "") + _text(rule)
    yield "]}}}"


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _rule(finding: Finding) -> dict[str, Any]:
    rule: dict[str, Any] = {"id": finding.rule}
    if finding.help_url:
        rule["helpUri"] = finding.help_url
    if finding.cwe:
        rule["properties"] = {"tags": [f"external/cwe/cwe-{finding.cwe:03}"]}
    return rule


def _result(finding: Finding, reason: str, rule: int) -> dict[str, Any]:
    fixed = finding.status == Status.FIXED
    properties: dict[str, Any] = {"opssight": _own(finding)}
    if finding.cvss is not None:
        properties["security-severity"] = str(finding.cvss)
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": rule,
        "kind": "pass" if fixed else "fail",
        "level": "none" if fixed else LEVELS[Severity(finding.severity)],
        "message": {"text": finding.title},
        "locations": [{"physicalLocation": _place(finding)}] if finding.path else [],
        "partialFingerprints": {MARK: finding.fingerprint},
        "properties": properties,
    }
    if finding.status in SUPPRESSED:
        why = reason or finding.get_status_display()
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": why}]
    return result


def _own(finding: Finding) -> dict[str, Any]:
    kept = {name: value for name in KEPT if (value := getattr(finding, name))}
    return {"uid": str(finding.uid), "severity": finding.severity_word, **kept}


def _place(finding: Finding) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": quote(finding.path)}}
    if not finding.line:
        return place
    region: dict[str, Any] = {"startLine": finding.line, "endLine": max(finding.line, finding.end_line)}
    place["region"] = region
    lines = finding.code_lines()
    if flagged := [text for _, text, hit in lines if hit]:
        region["snippet"] = {"text": flagged[0]}
    if lines:
        snippet = {"text": "\n".join(text for _, text, _ in lines)}
        place["contextRegion"] = {"startLine": lines[0][0], "endLine": lines[-1][0], "snippet": snippet}
    return place
