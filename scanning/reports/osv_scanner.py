"""osv-scanner's JSON. Where it finds nothing it may write nothing: an empty file counts where the format is named."""

from collections.abc import Iterator
from typing import BinaryIO

from scanning.reports.base import RawFinding, Run
from scanning.reports.fields import Node, score
from scanning.reports.paths import Paths
from scanning.reports.stream import elements, unpack, within
from scanning.reports.words import advisories, cwe, dependency, name, prose, severity, title


def read(stream: BinaryIO, root: str = "") -> list[Run]:
    file, paths = unpack(stream), Paths(root)
    file.seek(0)
    if not file.read(1):
        return [Run("osv_scanner")]
    sources = {place: Node(value, place) for _, place, value in elements(file, "results[].source", need=("results",))}
    findings = list[RawFinding]()
    for _, place, value in elements(file, "results[].packages[]"):
        where = f"{place.rpartition('.packages')[0]}.source"
        source = sources.get(where) or Node({}, where)
        manifest = paths.take(source.text("path", ""), source.at("path"))
        findings.extend(_findings(Node(value, place), manifest))
        within(findings)
    return [Run("osv_scanner", findings=findings)]


def _findings(entry: Node, manifest: str) -> Iterator[RawFinding]:
    package = entry.node("package")
    called, version = name(package.named("name")), name(package.text("version", ""))
    ecosystem = name(package.text("ecosystem", ""))
    scores = {
        known: score(group.raw("max_severity"), group.at("max_severity"))
        for group in entry.nodes("groups")
        for known in group.texts("ids")
    }
    for found in entry.nodes("vulnerabilities"):
        number = found.named("id")
        known_as, about = advisories(number, *found.texts("aliases")), found.text("details", "")
        special = found.node("database_specific")
        word = special.raw("severity")
        cvss = scores.get(number)
        vector = next((item.text("score", "") for item in found.nodes("severity")), "")
        yield RawFinding(
            rule=known_as[0],
            title=f"{called} {version}: {title(found.text('summary', '') or about) or number}"[:300],
            description=prose(about),
            severity=severity(word if isinstance(word, str) else "", cvss),
            path=manifest,
            line=0,
            cwe=cwe(special.items("cwe_ids") if isinstance(special.raw("cwe_ids"), list) else []),
            help_url=f"https://osv.dev/vulnerability/{number}" if number.replace("-", "").isalnum() else "",
            aliases=known_as,
            cvss=cvss,
            cvss_vector=name(vector),
            package=called,
            package_version=version,
            fix_version=_fixed(found, called),
            identity=dependency(ecosystem, called, known_as, manifest),
        )


def _fixed(found: Node, package: str) -> str:
    versions = [
        event.text("fixed")
        for affected in found.nodes("affected")
        if affected.node("package").text("name", package) == package
        for reach in affected.nodes("ranges")
        if reach.text("type", "") != "GIT"
        for event in reach.nodes("events")
        if "fixed" in event
    ]
    return name(", ".join(dict.fromkeys(versions)))
