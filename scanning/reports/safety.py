"""Safety's JSON: `check` of 2.x and 3.x, and the bare list of lists of 1.x."""

from typing import BinaryIO

from scanning.reports.base import RawFinding, Run
from scanning.reports.fields import Node, wrong
from scanning.reports.stream import elements, unpack
from scanning.reports.words import advisories, dependency, link, name, prose, severity, title

WANTED = ("report_meta.safety_version", "vulnerabilities[]", "ignored_vulnerabilities[]")


def read(stream: BinaryIO, root: str = "") -> list[Run]:
    file = unpack(stream)
    file.seek(0)
    if file.read(4096).lstrip()[:1] == b"[":
        return [Run("safety", "1", [_old(value, place) for _, place, value in elements(file, "[]")])]
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
    vector: str = "", fixed: str = "", url: str = "", suppressed: str = "",
) -> RawFinding:  # fmt: skip
    return RawFinding(
        rule=known_as[0],
        title=f"{called} {version}: {title(about) or known_as[0]}"[:300],
        description=prose(about),
        severity=level,
        path="",
        line=0,
        help_url=url,
        aliases=known_as,
        cvss=cvss,
        cvss_vector=vector,
        package=called,
        package_version=version,
        fix_version=fixed,
        identity=dependency("pypi", called, known_as, ""),
        suppressed=suppressed,
    )
