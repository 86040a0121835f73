"""Trivy's JSON: schema 2, and the bare list (or null: nothing found) of before. Excerpts of secrets are left out, as
trivy shows the neighbours of what it masks; misconfigurations show resources with all they are set to."""

import re
from typing import BinaryIO

from scanning.reports.base import RawFinding, Run, UnreadableReport
from scanning.reports.fields import Node, score
from scanning.reports.paths import Paths
from scanning.reports.stream import elements, unpack
from scanning.reports.words import (
    advisories,
    cwe,
    dependency,
    link,
    name,
    numbered,
    prose,
    secret,
    severity,
    title,
    without_numbers,
    without_values,
)

ABOUT = ("Target", "Class", "Type")
DIGESTS = ("Metadata.ImageID", "Metadata.RepoDigests[]")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})$")
LISTS = ("Vulnerabilities", "Misconfigurations", "Secrets")


def read(stream: BinaryIO, root: str = "") -> list[Run]:
    file = unpack(stream)
    file.seek(0)
    old = file.read(4096).lstrip()[:1] in (b"[", b"n")
    results = "[]" if old else "Results[]"
    about, artifact, schema = dict[str, dict[str, str]](), "", None
    wanted = [
        *(f"{results}.{key}" for key in ABOUT),
        *(() if old else ("ArtifactType", "SchemaVersion", "Trivy.Version", *DIGESTS)),
    ]
    version = revision = ""
    for kind, place, value in elements(file, *wanted, null=old):
        if kind == "ArtifactType":
            artifact = str(value)
        elif kind == "SchemaVersion":
            schema = value
        elif kind == "Trivy.Version":
            version = name(str(value))
        elif kind in DIGESTS:  # what its registry calls it comes after what it is by itself
            revision = digest[1] if (digest := _DIGEST.search(str(value))) else revision
        else:
            where, _, key = place.rpartition(".")
            about.setdefault(where, {})[key] = str(value or "")
    if not old and schema != 2:
        raise UnreadableReport("SchemaVersion is not 2. Is it a report of trivy 0.20 or newer, with --format json?")
    # An image's own "/" is the root of what is scanned.
    paths = Paths("/" if artifact in ("container_image", "vm") else root)
    findings = list[RawFinding]()
    for _, place, value in elements(file, *(f"{results}.{key}[]" for key in LISTS), null=old):
        where, _, item = place.rpartition(".")
        findings.append(_FINDING[item.partition("[")[0]](Node(value, place), about.get(where, {}), where, paths))
    return [Run("trivy", version, findings, revision=revision)]


def _vulnerability(found: Node, about: dict[str, str], where: str, paths: Paths) -> RawFinding:
    target, ecosystem = about.get("Target", ""), about.get("Type", "")
    system = about.get("Class") == "os-pkgs"
    path = paths.take(found.text("PkgPath", "") or target, f"{where}.Target")
    called, version = name(found.named("PkgName")), name(found.text("InstalledVersion", ""))
    known_as = advisories(found.named("VulnerabilityID"), *found.texts("VendorIDs"))
    cvss, vector = _cvss(found)
    words = found.text("Title", "") or found.text("Description", "")
    return RawFinding(
        rule=known_as[0],
        title=f"{called} {version}: {title(words) or known_as[0]}"[:300],
        description=prose(found.text("Description", "")),
        severity=severity(found.text("Severity", ""), cvss),
        path=path,
        line=0,
        cwe=cwe(found.texts("CweIDs")),
        help_url=link(found.text("PrimaryURL", "")),
        aliases=known_as,
        cvss=cvss,
        cvss_vector=vector,
        package=called,
        package_version=version,
        fix_version=name(found.text("FixedVersion", "")),
        # An image's target has its tag in it, which is another one after each build.
        identity=dependency(ecosystem, called, known_as, f"os:{ecosystem}" if system else path),
    )


def _cvss(found: Node) -> tuple[float | None, str]:
    """The score of the source that trivy took the severity from, else the first."""
    rated = found.node("CVSS")
    chosen = found.text("SeveritySource", "")
    for source in [chosen, "nvd", *rated.keys()]:
        if source in rated:
            rating = rated.node(source)
            for kind in ("V40", "V3", "V2"):
                value = score(rating.raw(f"{kind}Score"), rating.at(f"{kind}Score"))
                if value is not None:
                    return value, name(rating.text(f"{kind}Vector", ""))
    return None, ""


def _misconfiguration(found: Node, about: dict[str, str], where: str, paths: Paths) -> RawFinding:
    cause, message = found.node("CauseMetadata"), found.text("Message", "")
    line = cause.number("StartLine", 0)
    rows = [row.text("Content", "") for row in cause.node("Code").nodes("Lines") if row.yes("IsCause")]
    status = found.text("Status", "FAIL")
    return RawFinding(
        rule=name(found.text("ID", "") or found.named("AVDID")),
        title=title(found.text("Title", "") or message),
        description=prose(
            "\n\n".join(filter(None, (found.text("Description", ""), message, found.text("Resolution", ""))))
        ),
        severity=severity(found.text("Severity", "")),
        path=paths.take(about.get("Target", ""), f"{where}.Target"),
        line=line,
        code=numbered(line, without_values("\n".join(rows))),
        flagged="\n".join(rows) or without_numbers(message),
        help_url=link(found.text("PrimaryURL", "")),
        end_line=cause.number("EndLine", 0),
        suppressed="" if status == "FAIL" else "passed" if status == "PASS" else "excepted by trivy's policy",
    )


def _secret(found: Node, about: dict[str, str], where: str, paths: Paths) -> RawFinding:
    rule, path = name(found.named("RuleID")), paths.take(about.get("Target", ""), f"{where}.Target")
    kind = title(found.text("Title", "")) or rule
    return RawFinding(
        rule=rule,
        title=kind,
        description=f"A secret stands in this file: {kind}.",
        severity=severity(found.text("Severity", "")),
        path=path,
        line=found.number("StartLine", 0),
        cwe=798,
        end_line=found.number("EndLine", 0),
        identity=secret(rule, path, found.text("Match", "")),
    )


_FINDING = {"Vulnerabilities": _vulnerability, "Misconfigurations": _misconfiguration, "Secrets": _secret}
