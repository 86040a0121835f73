"""The vulnerabilities of a CycloneDX bill of materials, as JSON. XML is refused: no parser of ours is safe against
hostile XML, and tools that write CycloneDX can write JSON."""

import re
from typing import BinaryIO

from scanning.reports.base import RawFinding, Run, UnreadableReport
from scanning.reports.fields import Node
from scanning.reports.stream import elements, unpack
from scanning.reports.words import advisories, cwe, dependency, link, name, prose, severity, title

NOT_AFFECTED = {"not_affected", "false_positive", "resolved", "resolved_with_pedigree"}


def read(stream: BinaryIO, root: str = "") -> list[Run]:
    file, components, known = unpack(stream), dict[str, Node](), False
    for kind, place, value in elements(file, "bomFormat", "metadata.component", "components[]"):
        if kind == "bomFormat":
            known = value == "CycloneDX"
        else:
            _add(components, Node(value, place))
    if not known:
        raise UnreadableReport('bomFormat is not "CycloneDX": this is another format, or an older one.')
    findings = list[RawFinding]()
    for _, place, value in elements(file, "vulnerabilities[]"):
        found = Node(value, place)
        targets = found.nodes("affects") or [Node({"ref": ""}, found.at("affects"))]
        findings += [_finding(found, target, components) for target in targets]
    return [Run("cyclonedx", "", findings)]


def _add(components: dict[str, Node], component: Node) -> None:
    for reference in (component.text("bom-ref", ""), component.text("purl", "")):
        if reference:
            components.setdefault(reference, component)
    for inner in component.nodes("components"):
        _add(components, inner)


def _finding(found: Node, target: Node, components: dict[str, Node]) -> RawFinding:
    reference = target.text("ref")
    component = components.get(reference) or Node({}, target.at("ref"))
    purl = component.text("purl", "") or (reference if reference.startswith("pkg:") else "")
    from_purl = re.match(r"pkg:([^/]+)/([^@?#]+)(?:@([^?#]+))?", purl)
    ecosystem, called, version = (from_purl[1], from_purl[2], from_purl[3] or "") if from_purl else ("", "", "")
    if component.text("name", ""):
        called = "/".join(filter(None, (component.text("group", ""), component.text("name"))))
        version = component.text("version", "") or version
    called, version = name(called or reference), name(version)
    number = found.text("id")
    known_as = advisories(number, *(other.text("id", "") for other in found.nodes("references")))
    about = found.text("description", "") or found.text("detail", "")
    ratings = sorted(found.nodes("ratings"), key=lambda rating: -(rating.score("score") or 0))
    best = next(iter(ratings), Node({}, found.at("ratings[0]")))
    analysis = found.node("analysis")
    state = analysis.text("state", "")
    reason = analysis.text("detail", "") or analysis.text("justification", "")
    return RawFinding(
        rule=known_as[0],
        title=f"{called} {version}: {title(about) or number}"[:300],
        description=prose("\n\n".join(filter(None, (about, found.text("recommendation", ""))))),
        severity=severity(best.text("severity", ""), best.score("score")),
        path="",
        line=0,
        cwe=cwe(found.items("cwes")),
        help_url=link(found.node("source").text("url", "")),
        aliases=known_as,
        cvss=best.score("score"),
        cvss_vector=name(best.text("vector", "")),
        package=called,
        package_version=version,
        identity=dependency(ecosystem, called, known_as, ""),
        suppressed=prose(f"{state}: {reason}" if reason else state) if state in NOT_AFFECTED else "",
    )
