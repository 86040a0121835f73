"""OpsSight's own format, for tools that have none of the others: see docs/imports.md."""

from typing import BinaryIO

from scanning.reports.base import RawFinding, Run, UnreadableReport
from scanning.reports.fields import Node
from scanning.reports.paths import Paths
from scanning.reports.stream import elements, unpack
from scanning.reports.words import (
    SECRET_CWES,
    SEVERITIES,
    advisories,
    dependency,
    link,
    masked,
    name,
    numbered,
    prose,
    secret,
    severity,
    title,
)

FIELDS = {
    "rule", "title", "description", "severity", "path", "line", "end_line", "column", "code", "confidence", "cwe",
    "url", "advisory", "aliases", "cvss", "cvss_vector", "ecosystem", "package", "package_version", "fix_version", "id",
    "secret", "suppressed",
}  # fmt: skip


def read(stream: BinaryIO, root: str = "") -> list[Run]:
    paths, tool, version = Paths(root), "", ""
    findings, files, errors = list[RawFinding](), list[str](), dict[str, str]()
    wanted = ("tool", "version", "findings[]", "files[]", "errors[]")
    for kind, place, value in elements(unpack(stream), *wanted, need=("findings",)):
        if kind in ("tool", "version", "files[]"):
            if not isinstance(value, str):
                raise UnreadableReport(f"{place} is not a text.")
            tool, version = (
                (name(value), version) if kind == "tool" else (tool, name(value) if kind == "version" else version)
            )
            if kind == "files[]":
                files.append(paths.take(value, place))
        elif kind == "errors[]":
            error = Node(value, place)
            errors[paths.take(error.text("path"), error.at("path"))] = prose(error.text("reason"))
        else:
            findings.append(_finding(Node(value, place), paths))
    if not tool:
        raise UnreadableReport("tool is missing: the name of what wrote the report.")
    told = set(files) - errors.keys() if files else None
    return [Run(tool[:32], version, findings, told, errors)]


def _finding(found: Node, paths: Paths) -> RawFinding:
    if unknown := sorted(set(found.keys()) - FIELDS):
        raise UnreadableReport(
            f"{found.place} has an unknown field {name(unknown[0])[:60]}. docs/imports.md lists the fields."
        )
    rule, word = name(found.named("rule")), found.text("severity")
    if word.lower() not in SEVERITIES:
        raise UnreadableReport(f"{found.at('severity')} is none of critical, high, medium, low, info.")
    path = paths.take(found.text("path", ""), found.at("path"))
    line, code, package = found.number("line", 0), found.text("code", ""), name(found.text("package", ""))
    weakness = found.number("cwe", 0) or None
    hidden = found.yes("secret") or weakness in SECRET_CWES
    known_as = advisories(found.text("advisory", ""), *found.texts("aliases"))
    identity = ""
    if own := found.text("id", ""):
        identity = "\0".join(("mark", rule, path, own))
    elif package:
        identity = dependency(found.text("ecosystem", ""), package, known_as or (rule,), path)
    elif hidden and code:
        identity = secret(rule, path, " ".join(code.split()))
    about = found.text("description", "")
    return RawFinding(
        rule=rule,
        title=title(masked(found.text("title")) if hidden else found.text("title")),
        description=prose(masked(about) if hidden else about),
        severity=severity(word),
        path=path,
        line=line,
        code="" if hidden else numbered(line, code),
        flagged="" if hidden else code,
        confidence=name(found.text("confidence", "")).lower(),
        cwe=weakness,
        help_url=link(found.text("url", "")),
        end_line=found.number("end_line", 0),
        column=found.number("column", 0),
        aliases=known_as,
        cvss=found.score("cvss"),
        cvss_vector=name(found.text("cvss_vector", "")),
        package=package,
        package_version=name(found.text("package_version", "")),
        fix_version=name(found.text("fix_version", "")),
        identity=identity,
        suppressed=prose(found.text("suppressed", "")),
    )
