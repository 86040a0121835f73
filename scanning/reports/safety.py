"""Safety's JSON: `scan` of 3.x (schema 3.0), `check` of 2.x and 3.x, and the bare list of lists of 1.x."""

from typing import BinaryIO

from scanning.reports.base import RawFinding, Run
from scanning.reports.fields import Node, wrong
from scanning.reports.paths import Paths
from scanning.reports.stream import Unpacked, elements, unpack, within
from scanning.reports.words import advisories, dependency, link, name, prose, severity, title

DEPENDENCIES = "scan_results.projects[].files[].results.dependencies[]"
WANTED = ("report_meta.safety_version", "vulnerabilities[]", "ignored_vulnerabilities[]")


def read(stream: BinaryIO, root: str = "") -> list[Run]:
    file = unpack(stream)
    file.seek(0)
    if file.read(4096).lstrip()[:1] == b"[":
        return [Run("safety", "1", [_old(value, place) for _, place, value in elements(file, "[]")])]
    if any(key == "scan_results" for _, _, key in elements(file, "*")):
        return [_scan(file, Paths(root))]
    version, findings = "", list[RawFinding]()
    for kind, place, value in elements(file, *WANTED, need=("vulnerabilities", "report_meta")):
        if kind.startswith("report_meta"):
            version = name(str(value))
        else:
            findings.append(_finding(Node(value, place), ignored=kind.startswith("ignored")))
    return [Run("safety", version, findings)]


def _finding(found: Node, *, ignored: bool) -> RawFinding:
    called, about = name(found.named("package_name")), found.text("advisory", "")
    rated = found.raw("severity")
    rating = Node(rated, found.at("severity")) if isinstance(rated, dict) else None
    v3 = rating.node("cvssv3") if rating and isinstance(rating.raw("cvssv3"), dict) else None
    cvss = v3.score("base_score") if v3 else None
    reason = found.text("ignored_reason", "") or "ignored by safety's policy"
    return _package(
        called,
        name(found.text("analyzed_version", "")),
        advisories(f"SAFETY-{found.named('vulnerability_id')}", found.text("CVE", "")),
        about,
        level=severity(rated if isinstance(rated, str) else "", cvss),
        cvss=cvss,
        vector=name(v3.text("vector_string", "")) if v3 else "",
        fixed=name(", ".join(found.texts("fixed_versions"))),
        url=link(found.text("more_info_url", "")),
        suppressed=name(reason) if ignored or found.yes("ignored") else "",
    )


def _scan(file: Unpacked, paths: Paths) -> Run:
    """It tells of a vulnerability nothing but its number and the versions that have it."""
    version, files = "", dict[str, str]()
    told = ("meta.telemetry.safety_version", "scan_results.projects[].files[].location")
    for kind, place, value in elements(file, *told, need=("meta", "scan_results")):
        if kind == told[0]:
            version = name(str(value))
        else:
            files[place.removesuffix(".location")] = paths.take(str(value), place)
    findings = list[RawFinding]()
    for _, place, value in elements(file, DEPENDENCIES):
        manifest = files.get(place.partition(".results.")[0], "")
        package = Node(value, place)
        called = name(package.named("name"))
        for item in package.nodes("specifications"):
            known = item.node("vulnerabilities")
            fixed = known.node("remediation").text("recommended", "") if "remediation" in known else ""
            exact = item.text("raw", "").partition("==")[2].partition(";")[0].strip()
            for found in known.nodes("known_vulnerabilities"):
                ignored = found.node("ignored").text("reason", "") or "ignored by safety's policy"
                about = f"Versions {found.text('vulnerable_spec', '')} have a known vulnerability."
                findings.append(
                    _package(
                        called,
                        name(exact),
                        advisories(f"SAFETY-{found.named('id')}"),
                        about,
                        level=severity(""),
                        fixed=name(fixed),
                        path=manifest,
                        suppressed=name(ignored) if "ignored" in found else "",
                    )
                )
        within(findings)
    return Run("safety", version, findings)


def _old(row: object, place: str) -> RawFinding:
    """[package, vulnerable versions, installed version, advisory, id, …]"""
    if not isinstance(row, list):
        raise wrong(place, row, "a list")
    texts = [item for item in row[:5] if isinstance(item, str)]
    if len(texts) < 5:
        raise wrong(f"{place}[{len(texts)}]", row[len(texts)] if len(row) > len(texts) else None, "a text")
    package, _, version, about, number = texts
    return _package(name(package), name(version), advisories(f"SAFETY-{number}"), about, level=severity(""))


def _package(
    called: str, version: str, known_as: tuple[str, ...], about: str, *, level: int, cvss: float | None = None,
    vector: str = "", fixed: str = "", url: str = "", suppressed: str = "", path: str = "",
) -> RawFinding:  # fmt: skip
    return RawFinding(
        rule=known_as[0],
        title=f"{called} {version}: {title(about) or known_as[0]}"[:300],
        description=prose(about),
        severity=level,
        path=path,
        line=0,
        help_url=url,
        aliases=known_as,
        cvss=cvss,
        cvss_vector=vector,
        package=called,
        package_version=version,
        fix_version=fixed,
        identity=dependency("pypi", called, known_as, path),
        suppressed=suppressed,
    )
