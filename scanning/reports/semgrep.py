"""Semgrep's JSON. A rule's id comes with the folder of its file in front, which says where somebody keeps the rules;
`lines` and `fingerprint` say "requires login" in the free edition."""

from typing import BinaryIO

from scanning.reports.base import RawFinding, Run, UnreadableReport
from scanning.reports.fields import Node
from scanning.reports.paths import Paths
from scanning.reports.stream import elements, unpack
from scanning.reports.words import (
    SECRET_CWES,
    cwe,
    link,
    masked,
    name,
    numbered,
    prose,
    secret,
    severity,
    title,
    without_numbers,
)

WANTED = ("version", "results[]", "errors[]", "paths.scanned[]")
HIDDEN = "requires login"


def read(stream: BinaryIO, root: str = "") -> list[Run]:
    paths, version, scanned, fatal = Paths(root), "", list[str](), False
    findings, errors = list[RawFinding](), dict[str, str]()
    told = False
    for kind, place, value in elements(unpack(stream), *WANTED, need=("results", "errors")):
        if kind == "version":
            version = name(str(value))
        elif kind == "paths.scanned[]":
            told = True
            scanned.append(paths.take(str(value), place))
        elif kind == "results[]":
            findings.append(_finding(Node(value, place), paths))
        else:
            file, reason, level = _error(Node(value, place), Paths(root))
            errors[file] = reason
            fatal = fatal or (level == "error" and file == "semgrep")
    # Older ones list no files; one that has neither files nor findings has read nothing.
    files = set(scanned) | {raw.path for raw in findings} if told or not findings else None
    return [Run("semgrep", version, findings, files - errors.keys() if files is not None else None, errors, not fatal)]


def _error(error: Node, paths: Paths) -> tuple[str, str, str]:
    """What it is about, what went wrong, and how bad."""
    reason = name(error.text("message", "") or error.text("long_msg", "") or str(error.raw("type"))) or "an error"
    file = error.text("path", "")
    try:
        file = paths.take(file, error.at("path")) or "semgrep"
    except UnreadableReport:  # a file of rules, which lies elsewhere
        file = "semgrep"
    return file, reason, error.text("level", "error")


def _finding(result: Node, paths: Paths) -> RawFinding:
    extra, start, end = result.node("extra"), result.node("start"), result.node("end")
    about = extra.node("metadata")
    rule = name(result.named("check_id")).rsplit(".", 1)[-1]
    message, line = extra.text("message", ""), start.number("line")
    path = paths.take(result.named("path"), result.at("path"))
    code = extra.text("lines", "")
    code = "" if code.strip() == HIDDEN else code
    weakness = cwe(about.texts("cwe") if isinstance(about.raw("cwe"), list | str) else [])
    hidden = weakness in SECRET_CWES or about.raw("category") == "secrets"
    links = [about.raw("source"), *(about.raw("references") or [] if isinstance(about.raw("references"), list) else [])]
    return RawFinding(
        rule=rule,
        title=title(masked(message) if hidden else message) or rule,
        description=prose(masked(message) if hidden else message),
        severity=severity(extra.text("severity", "")),
        path=path,
        line=line,
        code=numbered(line, masked(code) if hidden else code),
        flagged=code or without_numbers(message),
        confidence=name(str(about.raw("confidence") or "")).lower(),
        cwe=weakness,
        help_url=next((link(str(url)) for url in links if url and link(str(url))), ""),
        end_line=end.number("line", 0),
        column=start.number("col", 0),
        end_column=end.number("col", 0),
        identity=secret(rule, path, " ".join(code.split())) if hidden and code else "",
        suppressed="nosemgrep" if extra.yes("is_ignored") else "",
    )
