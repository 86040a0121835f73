"""pip-audit's JSON: an object since 2.5, a list before. It rates nothing, and names no file."""

from collections.abc import Iterator
from typing import BinaryIO

from scanning.reports.base import RawFinding, Run, UnreadableReport
from scanning.reports.fields import Node
from scanning.reports.stream import elements, unpack, within
from scanning.reports.words import advisories, dependency, name, prose, severity, title


def read(stream: BinaryIO, root: str = "") -> list[Run]:
    file, run = unpack(stream), Run("pip_audit")
    file.seek(0)
    old = file.read(4096).lstrip()[:1] == b"["
    where, need = ("[]", ()) if old else ("dependencies[]", ("dependencies",))
    for _, place, value in elements(file, where, need=need):
        package = Node(value, place)
        if "skip_reason" in package:
            run.errors[name(package.text("name"))] = name(package.text("skip_reason"))
        else:
            run.findings.extend(_findings(package))
            within(run.findings)
    return [run]


def _findings(package: Node) -> Iterator[RawFinding]:
    called, version = name(package.named("name")), name(package.text("version"))
    if "vulns" not in package:
        raise UnreadableReport(f"{package.at('vulns')} is missing.")
    for found in package.nodes("vulns"):
        known_as = advisories(found.named("id"), *found.texts("aliases"))
        about = found.text("description", "")
        yield RawFinding(
            rule=known_as[0],
            title=f"{called} {version}: {title(about) or known_as[0]}"[:300],
            description=prose(about),
            severity=severity(""),
            path="",
            line=0,
            aliases=known_as,
            package=called,
            package_version=version,
            fix_version=name(", ".join(found.texts("fix_versions"))),
            identity=dependency("pypi", called, known_as, ""),
        )
