"""From reports to findings: identity, what a scan changes, what it never changes."""

import io
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from audit.models import AuditEntry
from opssight.kernel.jobs import State
from scanning import findings
from scanning.inventory import asset_at
from scanning.models import Finding, Scan, Severity, Status
from scanning.reports.base import RawFinding
from scanning.scanners.bandit import Bandit
from scanning.scanners.base import BadReport
from scanning.services import request_scan

SHELL = RawFinding(
    "B602", "shell=True", "A shell is started.", Severity.HIGH, "shop.py", 9, flagged="call(x, shell=True)"
)
MD5 = RawFinding("B324", "md5", "A weak hash is used.", Severity.MEDIUM, "shop.py", 14, flagged="md5(name)")


@pytest.fixture
def next_scan(db, tmp_path):
    """A claimed scan of one asset, as often as asked."""
    asset = asset_at(tmp_path)

    def make() -> Scan:
        return Scan.claim(request_scan(asset, dispatch=False).pk)

    return make


def complete(scan: Scan, *raws: RawFinding) -> tuple[int, int, int, int]:
    tally = findings.record(scan, raws)
    fixed = len(findings.close_missing(scan))
    scan.finish(State.COMPLETED)
    return tally.new, tally.same, tally.reopened, fixed


def test_new_same_fixed_and_reopened(next_scan):
    assert complete(next_scan(), SHELL, MD5) == (2, 0, 0, 0)
    assert complete(next_scan(), SHELL, MD5) == (0, 2, 0, 0)
    assert complete(next_scan(), SHELL) == (0, 1, 0, 1)
    assert Finding.objects.get(rule="B324").status == Status.FIXED
    assert complete(next_scan(), SHELL, MD5) == (0, 1, 1, 0)
    assert set(Finding.objects.values_list("status", flat=True)) == {Status.OPEN}


def test_each_finding_has_its_entries(next_scan):
    complete(next_scan(), SHELL)
    complete(next_scan())
    complete(next_scan(), SHELL)
    finding = Finding.objects.get()
    rows = AuditEntry.objects.filter(resource_type="scanning.finding", resource_id=str(finding.uid)).order_by("id")
    assert [row.event for row in rows] == ["findings:raised", "findings:fixed", "findings:reopened"]
    assert rows[1].changes == {"status": ["open", "fixed"]}


def test_an_identical_report_recorded_twice_for_one_scan_changes_nothing(next_scan):
    scan = next_scan()
    findings.record(scan, [SHELL, MD5])
    entries = AuditEntry.objects.count()
    again = findings.record(scan, [SHELL, MD5])
    assert (again.new, again.same, again.reopened) == (2, 0, 0)  # still new to this scan
    assert Finding.objects.count() == 2
    assert AuditEntry.objects.count() == entries


def test_a_line_shift_and_new_spacing_are_the_same_finding(next_scan):
    complete(next_scan(), SHELL, MD5)
    moved = [replace(raw, line=raw.line + 40, flagged=f"   {raw.flagged}  ") for raw in (SHELL, MD5)]
    assert complete(next_scan(), *moved) == (0, 2, 0, 0)
    assert Finding.objects.get(rule="B602").line == 49


def test_equal_code_in_one_file_is_told_apart_by_order(next_scan):
    assert complete(next_scan(), SHELL, replace(SHELL, line=30)) == (2, 0, 0, 0)
    assert complete(next_scan(), replace(SHELL, line=12), replace(SHELL, line=33)) == (0, 2, 0, 0)
    assert complete(next_scan(), replace(SHELL, line=12)) == (0, 1, 0, 1)


@pytest.mark.parametrize("other", [{"path": "other.py"}, {"rule": "B601"}, {"flagged": "call(y, shell=True)"}])
def test_what_differs_is_another_finding(next_scan, other):
    assert complete(next_scan(), SHELL, replace(SHELL, **other)) == (2, 0, 0, 0)


@pytest.mark.parametrize("status", [Status.FALSE_POSITIVE, Status.ACCEPTED, Status.TRIAGED])
def test_a_decision_survives_the_next_scan(next_scan, status):
    complete(next_scan(), SHELL)
    finding = Finding.objects.get()
    finding.status = status
    finding.save()
    assert complete(next_scan(), SHELL) == (0, 1, 0, 0)
    assert Finding.objects.get().status == status


@pytest.mark.parametrize(
    ("severity", "hours"), [("CRITICAL", 24), ("HIGH", 7 * 24), ("MEDIUM", 30 * 24), ("LOW", 90 * 24), ("INFO", None)]
)
def test_the_deadline_follows_from_the_severity(next_scan, severity, hours):
    complete(next_scan(), replace(SHELL, severity=Severity[severity]))
    finding = Finding.objects.get()
    assert finding.due_at == (finding.first_seen_at + timedelta(hours=hours) if hours else None)


def test_another_severity_brings_another_deadline(next_scan):
    complete(next_scan(), replace(SHELL, severity=Severity.LOW))
    complete(next_scan(), replace(SHELL, severity=Severity.CRITICAL))
    finding = Finding.objects.get()
    assert finding.due_at == finding.last_seen_at + timedelta(hours=24)


def test_hostile_names_and_code_are_kept_as_text(next_scan):
    odd = replace(SHELL, path="a\udcff<script>\n.py", title="x\0y", code="1 \0\ud800")
    assert complete(next_scan(), odd) == (1, 0, 0, 0)
    assert complete(next_scan(), odd) == (0, 1, 0, 0)
    assert "\0" not in Finding.objects.get().title


def test_the_cost_is_per_batch_and_not_per_finding(next_scan, django_assert_max_num_queries):
    many = [replace(SHELL, flagged=f"call({n})", line=n) for n in range(400)]
    scan = next_scan()
    with django_assert_max_num_queries(40):  # SQLite takes 999 values a statement, so inserts come in several
        findings.record(scan, many)
    assert Finding.objects.count() == 400


@pytest.mark.parametrize(
    "report",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"results": [], "errors": []}',
        b'{"results": [{}], "errors": [], "metrics": {}}',
        b"\xff",
    ],
)
def test_half_and_foreign_reports_are_errors_and_never_clean(report):
    with pytest.raises(BadReport):
        Bandit().read(io.BytesIO(report), [], Path())


@pytest.mark.parametrize(("name", "count"), [("many_vulns", 214), ("one_vuln", 1), ("no_vuln", 0)])
def test_reports_from_the_field(shared, name, count):
    content = (shared / "scans" / "bandit" / f"{name}.json").read_bytes()
    report = Bandit().read(io.BytesIO(content), [], Path())
    assert len(report.findings) == count == len(json.loads(content)["results"])
    marks = [mark for mark, _ in findings.fingerprints("bandit", report.findings)]
    assert len(set(marks)) == count
