"""detect-secrets' JSON: by file, with a hash of each secret."""

from typing import BinaryIO

from scanning.models import Severity
from scanning.reports.base import RawFinding, Run, UnreadableReport
from scanning.reports.fields import Node
from scanning.reports.paths import Paths
from scanning.reports.stream import elements, unpack
from scanning.reports.words import name, secret


def read(stream: BinaryIO, root: str = "") -> list[Run]:
    paths, version, known, findings = Paths(root), "", False, list[RawFinding]()
    wanted = ("version", "plugins_used[]", "results.*[]")
    for kind, place, value in elements(unpack(stream), *wanted, need=("results",)):
        if kind == "version":
            version = name(str(value))
        elif kind == "plugins_used[]":
            known = True
        else:
            findings.append(_finding(Node(value, place), paths))
    if not known:
        raise UnreadableReport("plugins_used is missing: this is no report of detect-secrets.")
    return [Run("detect_secrets", version, findings)]


def _finding(found: Node, paths: Paths) -> RawFinding:
    kind, path = name(found.named("type")), paths.take(found.named("filename"), found.at("filename"))
    return RawFinding(
        rule=kind,
        title=kind,
        description=f"A secret stands in this file: {kind}.",
        severity=Severity.HIGH,
        path=path,
        line=found.number("line_number", 0),
        confidence="high" if found.yes("is_verified") else "",
        cwe=798,
        identity=secret(kind, path, found.text("hashed_secret")),
        suppressed="labelled as no secret" if found.raw("is_secret") is False else "",
    )
