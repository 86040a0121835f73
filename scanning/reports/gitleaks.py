"""Gitleaks' JSON: version 8, version 7, and null where it found nothing. It holds the secrets in clear."""

from typing import BinaryIO

from scanning.models import Severity
from scanning.reports.base import RawFinding, Run
from scanning.reports.fields import Node
from scanning.reports.paths import Paths
from scanning.reports.stream import elements, unpack
from scanning.reports.words import name, secret, title


def read(stream: BinaryIO, root: str = "") -> list[Run]:
    # A path in a commit starts at the repository, with or without a slash.
    loose, history = Paths(root), Paths("/")
    found = [
        _finding(Node(value, place), loose, history) for _, place, value in elements(unpack(stream), "[]", null=True)
    ]
    return [Run("gitleaks", findings=found)]


def _finding(leak: Node, loose: Paths, history: Paths) -> RawFinding:
    old = "offender" in leak
    keys = (
        ("rule", "file", "offender", "line", "lineNumber", "commit")
        if old
        else ("RuleID", "File", "Secret", "Match", "StartLine", "Commit")
    )
    rule_key, file_key, secret_key, match_key, line_key, commit_key = keys
    about, commit = leak.text("rule" if old else "Description", ""), name(leak.text(commit_key, ""))
    rule = name(leak.text(rule_key, "") or about)
    path = (history if commit else loose).take(leak.named(file_key), leak.at(file_key))
    hidden = leak.text(secret_key, "") or leak.text(match_key, "")
    kind = title(about) or rule
    return RawFinding(
        rule=rule,
        title=kind,
        description=f"A secret stands in this file{f', in commit {commit[:40]}' if commit else ''}: {kind}.",
        severity=Severity.HIGH,
        path=path,
        line=max(leak.number(line_key, 0), 0),
        cwe=798,
        end_line=leak.number("EndLine", 0),
        column=leak.number("StartColumn", 0),
        end_column=leak.number("EndColumn", 0),
        identity=secret(rule, path, hidden),
    )
