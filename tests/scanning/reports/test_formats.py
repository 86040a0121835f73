"""Each format, by samples of our own and from the field."""

import gzip
import io
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from scanning import findings, reports
from scanning.models import Severity
from tests.scanning.reports.shapes import SECRET, SHAPES, written

FIELD = {
    "bandit/many_vulns.json": 214,
    "bandit/one_vuln.json": 1,
    "bandit/no_vuln.json": 0,
    "semgrep/many_findings.json": 3,
    "semgrep/empty.json": 0,
    "semgrep/high-medium-low-severities.json": 3,
    "trivy/scheme_2_many_vulns.json": 5,
    "trivy/scheme_2_no_vuln.json": 0,
    "trivy/misconfigurations_and_secrets.json": 5,
    "pip_audit/many_vulns_new.json": 7,
    "sarif/bash-report.sarif": 27,
    "sarif/appendix_k2.sarif": 1,
    "gitleaks/gitleaks8_many.json": 4,
    "checkov/checkov-report-many-vuln.json": 3,
    "detect_secrets/many_findings.json": 4,
    "cyclonedx/valid-vulnerability-1.4.json": 1,
}


def read(content: object, format: str = "", root: str = "") -> list[reports.Run]:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return reports.read(io.BytesIO(text), format, root)


def only(format: str) -> reports.RawFinding:
    (found,) = read(written(format))[0].findings
    return found


@pytest.mark.parametrize("name", FIELD)
@pytest.mark.parametrize("named", [True, False], ids=["named", "by content"])
def test_reports_from_the_field(shared, name, named):
    path: Path = shared / "scans" / name
    with path.open("rb") as file:
        runs = reports.read(file, path.parent.name if named else "")
    assert [len(run.findings) for run in runs] == [FIELD[name]]
    marks = [mark for mark, _ in findings.fingerprints(runs[0].tool, runs[0].findings)]
    assert len(set(marks)) == FIELD[name]


@pytest.mark.parametrize("format", SHAPES)
def test_each_format_is_known_by_its_content_gzipped_or_not(format):
    assert read(written(format)) == read(gzip.compress(written(format))) == read(written(format), format)
    assert len(read(written(format))[0].findings) == 1


@pytest.mark.parametrize("format", SHAPES)
def test_no_secret_leaves_a_report(format):
    kept = [asdict(found) | {"flagged": ""} for run in read(written(format)) for found in run.findings]
    told = json.dumps(kept)  # what was flagged goes into the fingerprint, and is kept nowhere
    assert SECRET not in told


@pytest.mark.parametrize("other", SHAPES)
@pytest.mark.parametrize("format", SHAPES)
def test_a_report_of_another_format_is_refused(format, other):
    if other != format:
        with pytest.raises(reports.UnreadableReport):
            read(written(other), format)


def test_semgrep_is_known_without_folders_and_logins():
    run = read(written("semgrep"))[0]
    (found,) = run.findings
    assert (found.rule, found.cwe, found.severity, found.line) == ("raw-sql", 89, Severity.HIGH, 4)
    assert "requires login" not in found.flagged + found.code + found.identity
    assert run.files == {"shop.py", "clean.py"}
    moved = json.loads(written("semgrep"))
    moved["results"][0]["check_id"] = "somewhere.else.raw-sql"
    moved["results"][0]["start"]["line"] = 44
    marks = [next(findings.fingerprints("semgrep", read(body)[0].findings))[0] for body in (moved, SHAPES["semgrep"])]
    assert marks[0] == marks[1]


def test_a_fatal_error_of_semgrep_is_no_complete_run():
    body = {"results": [], "errors": [{"level": "error", "message": "no rules", "type": "ConfigError"}], "paths": {}}
    assert not read(body)[0].complete
    body["errors"][0]["path"] = "/etc/rules.yml"
    assert not read(body)[0].complete
    body["errors"][0]["path"] = "shop.py"
    assert read(body)[0].errors == {"shop.py": "no rules"}


def test_both_shapes_of_pip_audit():
    old = SHAPES["pip_audit"]["dependencies"]
    assert read(old)[0].findings == read(SHAPES["pip_audit"])[0].findings
    assert read([], "pip_audit")[0].findings == []
    found = only("pip_audit")
    assert (found.aliases, found.fix_version) == (("PYSEC-2019-217", "CVE-2019-10906"), "2.10.1")


def test_a_dependency_is_the_same_in_another_version_and_under_its_other_name():
    body = json.loads(written("pip_audit"))
    body["dependencies"][0]["version"] = "2.5"
    body["dependencies"][0]["name"] = "jinja2"
    body["dependencies"][0]["vulns"][0] |= {"id": "GHSA-462w-v97r-4m45", "aliases": ["CVE-2019-10906"]}
    assert read(body)[0].findings[0].identity == only("pip_audit").identity


def test_safety_in_both_shapes():
    found = only("safety")
    assert (found.severity, found.cvss, found.aliases[-1]) == (Severity.HIGH, 8.6, "CVE-2019-10906")
    old = [["jinja2", "<2.10.1", "2.4.1", "Sandbox escape.", "38100"]]
    assert read(old)[0].findings[0].package_version == "2.4.1"
    ignored = json.loads(written("safety"))
    ignored["ignored_vulnerabilities"] = ignored.pop("vulnerabilities")
    ignored["vulnerabilities"] = []
    assert read(ignored)[0].findings[0].suppressed


def test_safety_3_tells_numbers_and_versions():
    known = [{"id": "38100", "vulnerable_spec": "<2.10.1"}]
    waived = {
        "id": "39525",
        "vulnerable_spec": "<2.11.3",
        "ignored": {"code": "x", "reason": "no sandbox", "expires": None},
    }
    remediation = {"vulnerabilities_found": 1, "recommended": "2.11.3"}
    pinned = {"raw": "jinja2==2.4.1", "vulnerabilities": {"known_vulnerabilities": known, "remediation": remediation}}
    loose = {"raw": "jinja2>=2", "vulnerabilities": {"known_vulnerabilities": [waived], "remediation": None}}
    dependency = {"name": "jinja2", "specifications": [pinned, loose]}
    file = {
        "location": "/srv/app/requirements.txt",
        "type": "requirements.txt",
        "results": {"dependencies": [dependency]},
    }
    body = {
        "meta": {"scan_type": "scan", "telemetry": {"safety_version": "3.8.1"}, "schema_version": "3.0"},
        "scan_results": {"projects": [{"id": "app", "location": "/srv/app", "files": [file]}]},
    }
    (run,) = reports.read(io.BytesIO(json.dumps(body).encode()), root="/srv/app")
    first, second = run.findings
    assert (run.tool, run.version, run.files) == ("safety", "3.8.1", None)
    assert (first.rule, first.path, first.package_version, first.fix_version) == (
        "SAFETY-38100", "requirements.txt", "2.4.1", "2.11.3",
    )  # fmt: skip
    assert (first.suppressed, second.suppressed, second.package_version) == ("", "no sandbox", "")
    body["scan_results"] = []
    with pytest.raises(reports.UnreadableReport, match="scan_results"):
        read(body)


def test_trivy_before_schema_2():
    assert read(b"null", "trivy")[0].findings == []
    vulnerability = {"VulnerabilityID": "CVE-2020-1", "PkgName": "a", "InstalledVersion": "1", "Severity": "UNKNOWN"}
    body = [{"Target": "a.lock", "Vulnerabilities": [vulnerability]}, {"Target": "b.lock", "Vulnerabilities": None}]
    (found,) = read(body)[0].findings
    assert (found.path, found.severity) == ("a.lock", Severity.MEDIUM)


def test_the_tag_of_an_image_is_not_part_of_what_its_packages_are_known_by():
    def image(tag: str) -> str:
        vulnerability = {"VulnerabilityID": "CVE-2020-1", "PkgName": "a", "InstalledVersion": tag, "Severity": "LOW"}
        result = {
            "Target": f"shop:{tag} (debian 12)",
            "Class": "os-pkgs",
            "Type": "debian",
            "Vulnerabilities": [vulnerability],
        }
        return (
            read({"SchemaVersion": 2, "ArtifactType": "container_image", "Results": [result]})[0].findings[0].identity
        )

    assert image("1") == image("2")


def test_gitleaks_7_and_null():
    assert read(b"null", "gitleaks")[0].findings == []
    old = [{"rule": "AWS", "offender": SECRET, "line": f"key={SECRET}", "lineNumber": 3, "file": "a.py", "commit": ""}]
    (found,) = read(old)[0].findings
    assert (found.rule, found.line, found.code) == ("AWS", 3, "")
    assert SECRET not in str(found)


def test_checkov_in_its_three_shapes():
    several = [SHAPES["checkov"], {**SHAPES["checkov"], "check_type": "terraform"}]
    assert len(read(several)[0].findings) == 2
    assert read({"passed": 0, "failed": 0, "skipped": 0, "parsing_errors": 0})[0].findings == []
    assert only("checkov").path == "Dockerfile"


def test_osv_scanner_may_write_nothing_where_it_is_named():
    assert read(b"", "osv_scanner")[0].findings == []
    found = only("osv_scanner")
    assert (found.severity, found.fix_version, found.cwe) == (Severity.HIGH, "2.10.1", 693)


def test_sarif_runs_rules_suppressions_and_fingerprints():
    runs = read(written("sarif"))
    assert [run.tool for run in runs] == ["one", "two"]
    (found,) = runs[0].findings
    assert (found.path, found.severity, found.cwe, found.suppressed) == (
        "my shop.py", Severity.CRITICAL, 95, "tested",
    )  # fmt: skip
    assert "39fa:1" in found.identity
    assert "changes" not in found.identity


def test_cyclonedx_components_inside_components():
    found = only("cyclonedx")
    assert (found.package, found.package_version, found.suppressed) == (
        "jinja2", "2.4.1", "not_affected: no sandbox here",
    )  # fmt: skip
    with pytest.raises(reports.UnreadableReport, match="XML"):
        read(b'<?xml version="1.0"?><bom/>', "cyclonedx")
