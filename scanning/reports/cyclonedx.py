"""The vulnerabilities of a CycloneDX bill of materials, as JSON. XML is refused: no parser of ours is safe against
hostile XML, and tools that write CycloneDX can write JSON."""

import re
from dataclasses import replace
from typing import BinaryIO, NamedTuple

from scanning.reports.base import RawFinding, Run, UnreadableReport
from scanning.reports.fields import Node
from scanning.reports.stream import elements, unpack, within
from scanning.reports.words import advisories, cwe, dependency, link, name, prose, severity, title

NOT_AFFECTED = {"not_affected", "false_positive", "resolved", "resolved_with_pedigree"}


class _Component(NamedTuple):
    name: str
    version: str
    purl: str


def read(stream: BinaryIO, root: str = "") -> list[Run]:
    file, components, known = unpack(stream), dict[str, _Component](), False
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
        about = _about(found)
        references = [target.text("ref") for target in found.nodes("affects")]
        findings += [_at(about, reference, components.get(reference)) for reference in references or [""]]
        within(findings)
    return [Run("cyclonedx", "", findings)]


def _add(components: dict[str, _Component], component: Node) -> None:
    called = "/".join(filter(None, (component.text("group", ""), component.text("name", ""))))
    found = _Component(called, component.text("version", ""), component.text("purl", ""))
    for reference in (component.text("bom-ref", ""), found.purl):
        if reference:
            components.setdefault(reference, found)
    for inner in component.nodes("components"):
        _add(components, inner)


def _about(found: Node) -> RawFinding:
    """What is the same for each component that it affects."""
    known_as = advisories(found.named("id"), *(other.text("id", "") for other in found.nodes("references")))
    about = found.text("description", "") or found.text("detail", "")
    ratings = sorted(found.nodes("ratings"), key=lambda rating: -(rating.score("score") or 0))
    best = next(iter(ratings), Node({}, found.at("ratings[0]")))
    analysis = found.node("analysis")
    state = analysis.text("state", "")
    reason = analysis.text("detail", "") or analysis.text("justification", "")
    return RawFinding(
        rule=known_as[0],
        title=title(about) or known_as[0],
        description=prose("\n\n".join(filter(None, (about, found.text("recommendation", ""))))),
        severity=severity(best.text("severity", ""), best.score("score")),
        path="",
        line=0,
        cwe=cwe(found.items("cwes")),
        help_url=link(found.node("source").text("url", "")),
        aliases=known_as,
        cvss=best.score("score"),
        cvss_vector=name(best.text("vector", "")),
        suppressed=prose(f"{state}: {reason}" if reason else state) if state in NOT_AFFECTED else "",
    )


def _at(about: RawFinding, reference: str, component: _Component | None) -> RawFinding:
    called, version, purl = component or ("", "", "")
    parts = re.match(r"pkg:([^/]+)/([^@?#]+)(?:@([^?#]+))?", purl or reference)
    called = name(called or (parts[2] if parts else reference))
    version = name(version or (parts[3] or "" if parts else ""))
    return replace(
        about,
        title=f"{called} {version}: {about.title}"[:300],
        package=called,
        package_version=version,
        identity=dependency(parts[1] if parts else "", called, about.aliases, ""),
    )
