"""What a finding keeps of its reports beside what and where it is: filled, refreshed, searched, taken back."""

import io
import json
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.models import AuditEntry
from opssight.kernel.jobs import State
from scanning import findings
from scanning.detail import RATED, TOLD, advisory_name
from scanning.imports import services as imports
from scanning.imports.models import Change, Import
from scanning.inventory import asset_at
from scanning.models import Finding, FindingAlias, Scan, Severity
from scanning.reports.base import RawFinding
from scanning.services import request_scan

pytestmark = pytest.mark.django_db

LOG4J = RawFinding(
    "CVE-2021-44228", "log4j-core 2.14.1: remote code", "Bad.", Severity.CRITICAL, "pom.xml", 0,
    aliases=("CVE-2021-44228", "GHSA-jfh8-c2jp-5v3q"), cvss=9.8, cvss_vector="CVSS:3.1/AV:N/AC:L",
    package="log4j-core", package_version="2.14.1", identity="log4j",
)  # fmt: skip
FIXED = replace(LOG4J, fix_version="2.17.1", cvss=10.0, aliases=("CVE-2021-44228", "CVE-2021-45046"))


@pytest.fixture
def asset(tmp_path):
    return asset_at(tmp_path)


@pytest.fixture
def scanned(asset):
    def scan(*raws: RawFinding) -> Scan:
        made = Scan.claim(request_scan(asset, dispatch=False).pk)
        findings.record(made, raws)
        made.finish(State.COMPLETED)
        return made

    return scan


def kept() -> list[tuple]:
    return list(Finding.objects.order_by("pk").values_list("severity", "status", "due_at", *TOLD, *RATED))


def names() -> set[str]:
    return set(FindingAlias.objects.values_list("name", flat=True))


def test_what_the_report_says_is_kept_and_refreshed(scanned):
    scanned(LOG4J)
    finding = Finding.objects.get()
    assert (finding.package, finding.package_version, finding.fix_version) == ("log4j-core", "2.14.1", "")
    assert (finding.cvss, finding.cvss_vector) == (Decimal("9.8"), "CVSS:3.1/AV:N/AC:L")
    assert finding.aliases == ["CVE-2021-44228", "GHSA-jfh8-c2jp-5v3q"]
    entries = AuditEntry.objects.filter(resource_type="scanning.finding").count()
    scanned(FIXED)
    finding.refresh_from_db()
    assert (finding.fix_version, finding.cvss) == ("2.17.1", Decimal("10.0"))
    assert names() == {"CVE-2021-44228", "CVE-2021-45046"}
    assert AuditEntry.objects.filter(resource_type="scanning.finding").count() == entries


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("CVE-2021-44228", 1), ("cve-2021-44228 ", 1), ("GHSA-JFH8-c2jp-5v3q", 1), ("CVE-2021-4422", 0),
        ("CVE-2021-442280", 0), ("log4j", 1), ("pom.xml", 1), ("%", 0),
    ],
)  # fmt: skip
def test_it_is_found_by_each_of_its_names_and_by_no_part_of_one(scanned, asked, found):
    scanned(LOG4J)
    assert Finding.objects.matching(asked).count() == found


@pytest.mark.parametrize("text", ["CVE-2021-44228", "RHSA-2024:1234", "PYSEC-2019-217", "GHSA-aaaa-bbbb-cccc"])
def test_names_of_advisories(text):
    assert advisory_name(text)


@pytest.mark.parametrize("text", ["", "CVE-2021", "log4j CVE-2021-44228", "F-12", "CKV_AWS_20", "CVE-2021-44228%"])
def test_what_is_no_name_of_an_advisory(text):
    assert not advisory_name(text)


def test_what_a_report_says_twice_of_one_place_is_one_with_its_count(scanned):
    shell = RawFinding("B602", "shell", "", Severity.HIGH, "shop.py", 9, flagged="call(x)", column=4)
    scanned(shell, shell, replace(shell, line=20), shell)
    assert list(Finding.objects.order_by("line").values_list("line", "occurrences")) == [(9, 3), (20, 1)]
    scanned(shell, replace(shell, line=20))
    assert set(Finding.objects.values_list("occurrences", flat=True)) == {1}


text = st.text(max_size=30)
raws = st.lists(
    st.builds(
        RawFinding,
        rule=st.sampled_from(["A", "B"]), title=text, description=text, severity=st.sampled_from(list(Severity)),
        path=st.sampled_from(["a.py", "b.py"]), line=st.integers(0, 9), code=text, column=st.integers(0, 2),
        end_line=st.integers(0, 9), flagged=st.sampled_from(["x", "y"]), package=text, package_version=text,
        fix_version=text, cvss=st.none() | st.floats(0, 10), cvss_vector=text,
        aliases=st.lists(st.sampled_from(["CVE-2021-44228", "cve-2021-44228", "GHSA-aaaa-bbbb-cccc", "\0"]) | text,
                         max_size=3).map(tuple),
        identity=st.sampled_from(["", "one", "two"]),
    ),
    max_size=8,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raws, raws)
def test_a_report_again_changes_nothing_whatever_it_says(scanned, first, second):
    for report in (first, second):
        scanned(*report)
        before, told = kept(), AuditEntry.objects.filter(resource_type="scanning.finding").count()
        scanned(*report)
        assert kept() == before
        assert AuditEntry.objects.filter(resource_type="scanning.finding").count() == told
    aliased = {(finding.pk, name.upper()) for finding in Finding.objects.all() for name in finding.aliases}
    assert aliased == set(FindingAlias.objects.values_list("finding", "name"))


def test_the_same_again_is_cheap(scanned, asset, django_assert_max_num_queries):
    many = [replace(LOG4J, identity=str(n)) for n in range(400)]
    scanned(*many)
    scan = Scan.claim(request_scan(asset, dispatch=False).pk)
    with django_assert_max_num_queries(7):  # within a savepoint: the asset, its unit's hours, the known, who saw them
        findings.record(scan, many)


def own(cvss: float, fix: str, *aliases: str, severity: str = "high", **more: object) -> io.BytesIO:
    row = {
        "rule": "R", "title": "t", "severity": severity, "path": "a.txt", "id": "one", "package": "p",
        "package_version": "1", "fix_version": fix, "cvss": cvss, "aliases": aliases, **more,
    }  # fmt: skip
    return io.BytesIO(json.dumps({"tool": "own", "findings": [row]}).encode())


def test_an_import_taken_back_gives_back_what_was_said(asset):
    imports.import_report(asset, own(5.0, "", "CVE-2020-1111"))
    before = kept()
    second = imports.import_report(asset, own(9.9, "2", "CVE-2020-2222", severity="critical", package_version="1.1"))
    assert (names(), Finding.objects.get().cvss) == ({"CVE-2020-2222"}, Decimal("9.9"))
    done = imports.undo(second.row)
    assert (done.withdrawn, done.restored, done.kept) == (0, 1, 0)
    assert (kept(), names()) == (before, {"CVE-2020-1111"})


def test_detail_alone_is_given_back_without_an_entry_unless_a_later_run_has_told_anew(asset):
    imports.import_report(asset, own(5.0, ""))
    second = imports.import_report(asset, own(6.0, "2"))
    third = imports.import_report(asset, own(7.0, "3"))
    assert Change.objects.count() == 2
    assert imports.undo(second.row).kept == 1
    assert Finding.objects.get().fix_version == "3"
    assert imports.undo(third.row).restored == 1
    assert (Finding.objects.get().fix_version, Finding.objects.get().cvss) == ("2", Decimal("6.0"))
    assert not AuditEntry.objects.filter(event="findings:restored").exists()


def test_the_same_import_again_leaves_no_change(asset):
    imports.import_report(asset, own(5.0, "2", "CVE-2020-1111"))
    imports.import_report(asset, own(5.0, "2", "CVE-2020-1111"))
    assert (Import.objects.count(), Change.objects.count()) == (2, 0)
