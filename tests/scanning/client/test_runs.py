"""Scans and uploads from a pipeline: what is printed, what is gated, and every exit code."""

import gzip
from pathlib import Path

import pytest

from rbac.services import create_unit, root_unit
from scanning.imports.models import Import
from scanning.models import Asset, Finding, Scan, ScanState, Status
from tests.conftest import make_person, put
from tests.scanning.client.conftest import answer, finding, report

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_report_comes_in_is_told_of_and_gated(ci, asset):
    ci.file("r.json", report(finding(1, "medium"), finding(2, "low")))
    done = ci("upload", "--asset", asset.name, "r.json", "--fail-on", "high")
    assert done.code == 0, done.err
    assert "linter 2.1: completed, 2 new, 0 same, 0 fixed, 0 reopened" in done.out
    assert [line.split()[:3] for line in done.out.splitlines()[:2]] == [
        ["MEDIUM", "new", "shop.py:1"], ["LOW", "new", "shop.py:2"],
    ]  # fmt: skip
    done = ci("upload", "--asset", asset.uid, "r.json", "--fail-on", "medium")
    assert done.code == 1
    assert "gate failed: 1 findings of severity medium or above" in done.out
    assert Import.objects.count() == 2


def test_new_only_is_what_this_run_has_raised_or_reopened(ci, asset):
    gate = ("--asset", asset.name, "r.json", "--fail-on", "high", "--new-only", "--format", "json")
    ci.file("r.json", report(finding(1), finding(2)))
    assert ci("upload", *gate).code == 1
    again = ci("upload", *gate)
    assert (again.code, again.json["findings"]) == (0, [])
    ci.file("r.json", report(finding(2)))
    assert ci("upload", *gate).code == 0
    ci.file("r.json", report(finding(1), finding(2)))
    back = ci("upload", *gate)
    assert (back.code, [row["rule"] for row in back.json["findings"]]) == (1, ["R1"])
    assert back.json["scanners"][0]["reopened"] == 1


def test_what_somebody_decided_holds_nothing_up(ci, asset):
    ci.file("r.json", report(finding(1), finding(2)))
    ci("upload", "--asset", asset.name, "r.json")
    put(Finding.objects.filter(rule="R1"), status=Status.ACCEPTED)
    done = ci("upload", "--asset", asset.name, "r.json", "--fail-on", "high", "--format", "json")
    assert (done.code, [row["rule"] for row in done.json["findings"]]) == (1, ["R2"])
    put(Finding.objects.filter(rule="R2"), status=Status.FALSE_POSITIVE)
    assert ci("upload", "--asset", asset.name, "r.json", "--fail-on", "info").code == 0


def test_a_baseline_lets_pass_what_was_known_and_nothing_else(ci, asset):
    ci.file("r.json", report(finding(1), finding(2)))
    upload = ("upload", "--asset", asset.name, "r.json", "--baseline", "known.txt")
    assert ci(*upload, "--fail-on", "high").code == 2  # there is none yet
    assert ci(*upload, "--write-baseline").code == 0
    kept = (ci.folder / "known.txt").read_text()
    assert sorted(line.split()[0] for line in kept.splitlines()[1:]) == sorted(
        Finding.objects.values_list("fingerprint", flat=True)
    )
    assert ci(*upload, "--fail-on", "info").code == 0
    ci.file("r.json", report(finding(1), finding(2), finding(3)))
    done = ci(*upload, "--fail-on", "high", "--format", "json")
    assert (done.code, [row["rule"] for row in done.json["findings"] if row["stops"]]) == (1, ["R3"])
    assert ci(*upload, "--write-baseline", "--fail-on", "high").code == 2
    assert ci("upload", "--asset", asset.name, "r.json", "--write-baseline").code == 2


def test_no_baseline_is_written_of_what_is_not_known(ci, asset):
    ci.file("r.json", report(finding(1), errors=[{"path": "b.py", "reason": "not parsed"}]))
    done = ci("upload", "--asset", asset.name, "r.json", "--baseline", "known.txt", "--write-baseline")
    assert (done.code, (ci.folder / "known.txt").exists()) == (3, False)


def test_a_trial_gates_what_would_be_new_and_keeps_nothing(ci, asset):
    ci.file("main.json", report(finding(1)))
    ci("upload", "--asset", asset.name, "main.json")
    before = Scan.objects.count(), Import.objects.count(), Finding.objects.count()
    ci.file("pr.json", report(finding(1), finding(2, "critical")))
    trial = ("upload", "--asset", asset.name, "pr.json", "--dry-run", "--format", "json")
    done = ci(*trial, "--new-only", "--fail-on", "high")
    assert (done.code, [row["rule"] for row in done.json["findings"]]) == (1, ["R2"])
    assert done.json["dry_run"] is True
    assert ci(*trial[:3], "main.json", *trial[4:], "--new-only", "--fail-on", "info").code == 0
    assert (Scan.objects.count(), Import.objects.count(), Finding.objects.count()) == before
    assert ci(*trial, "--fail-on", "high").code == 2  # of what is there already it knows nothing
    put(Finding.objects.filter(rule="R1"), status=Status.FIXED)
    back = ci("upload", "--asset", asset.name, "main.json", "--dry-run", "--new-only", "--fail-on", "high")
    assert back.code == 1  # it would be reopened


def test_several_reports_plain_zipped_and_from_standard_input(ci, asset):
    ci.file("a.json", report(finding(1), tool="one"))
    ci.file("b.json.gz", gzip.compress((ci.file("b.json", report(finding(2), tool="two"))).read_bytes()))
    third = ci.file("c.json", report(finding(3), tool="three")).read_bytes()
    done = ci("upload", "--asset", asset.name, "a.json", "b.json.gz", "-", "--format", "json", given=third)
    assert done.code == 0, done.err
    assert [row["name"] for row in done.json["scanners"]] == ["one", "two", "three"]
    assert sorted(row["rule"] for row in done.json["findings"]) == ["R1", "R2", "R3"]


def test_partial_closes_only_in_its_files(ci, asset):
    ci.file("r.json", report(finding(1), finding(2, path="other.py"), files=["shop.py", "other.py"]))
    ci("upload", "--asset", asset.name, "r.json")
    ci.file("r.json", report())
    assert ci("upload", "--asset", asset.name, "r.json", "--partial").code == 0
    assert Finding.objects.get(rule="R1").status == Status.FIXED
    assert Finding.objects.get(rule="R2").status == Status.OPEN


# --- unknown is never a pass ---


@pytest.mark.parametrize("allowed", [False, True])
def test_a_report_with_errors_passes_only_where_that_is_allowed(ci, asset, allowed):
    ci.file("r.json", report(errors=[{"path": "b.py", "reason": "not parsed"}]))
    done = ci("upload", "--asset", asset.name, "r.json", "--fail-on", "high", *(["--allow-errors"] if allowed else []))
    assert done.code == (0 if allowed else 3)
    assert "b.py: not parsed" in done.out
    ci.file("r.json", report(finding(1), errors=[{"path": "b.py", "reason": "not parsed"}]))
    assert ci("upload", "--asset", asset.name, "r.json", "--fail-on", "high").code == 1


def test_one_report_that_cannot_be_used_leaves_the_others_and_fails(ci, asset):
    ci.file("good.json", report(finding(1)))
    for bad in (b"", b'{"tool": "x", "findings": [', b"<html>", gzip.compress(b"{}")[:9], b"{}"):
        ci.file("bad.json", bad)
        done = ci("upload", "--asset", asset.name, "bad.json", "good.json", "--format", "json")
        assert done.code == 3, (bad, done.err)
        assert "bad.json: The server answers 400" in done.err
        assert [row["rule"] for row in done.json["findings"]] == ["R1"]
    assert Import.objects.count() == 5


def test_a_scan_is_asked_for_and_waited_for(ci, asset, have, runs_at_once):
    have("bandit")
    Path(asset.location, "app.py").write_text("import subprocess\n\nsubprocess.call(input(), shell=True)\n")
    done = ci("scan", "--asset", asset.name, "--fail-on", "high", "--new-only", "--format", "json")
    assert done.code == 1, done.err
    assert (done.json["scanners"][0]["name"], done.json["scanners"][0]["state"]) == ("bandit", "completed")
    assert [(row["rule"], row["path"], row["line"]) for row in done.json["findings"] if row["severity"] == "high"] == [
        ("B602", "app.py", 3)
    ]
    assert ci("scan", "--asset", asset.name, "--scanner", "bandit", "--fail-on", "high", "--new-only").code == 0
    assert len(runs_at_once) == 2


def test_a_scan_that_says_nothing_never_passes(ci, asset, have):
    have()
    done = ci("scan", "--asset", asset.name, "--fail-on", "critical", "--allow-errors", "--format", "json")
    assert (done.code, done.json["scanners"][0]["state"]) == (3, "not_installed")
    have("bandit")
    done = ci("scan", "--asset", asset.name, "--scanner", "bandit", "--allow-errors")  # an empty folder
    assert done.code == 3
    assert "bandit: failed" in done.out
    assert ci("scan", "--asset", asset.name, "--scanner", "nonesuch").code == 2


def test_a_scan_that_does_not_end_in_time_is_unknown(ci, asset, monkeypatch):
    monkeypatch.setattr("celery.current_app.send_task", lambda *args, **options: None)  # no worker
    done = ci("scan", "--asset", asset.name, "--timeout", 3)
    assert (done.code, Scan.objects.get().state) == (3, ScanState.QUEUED)
    assert "is queued after --timeout 3 s" in done.err


@pytest.mark.parametrize("new_only", [[], ["--new-only"]])
def test_findings_that_are_not_shown_are_no_pass(ci_on, asset, way, new_only):
    """As with a token that may see the scan and not its findings."""
    way.on("GET", "/findings", answer(200, b'{"next": null, "results": []}', "application/json"), times=9)
    ci_on.file("r.json", report(finding(1)))
    done = ci_on("upload", "--asset", asset.name, "r.json", "--fail-on", "high", *new_only)
    assert (done.code, "counted 1 findings, and the server shows 0" in done.err) == (3, True)


# --- usage, and who may ---


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["scan"], ["upload", "--asset", "a"], ["scan", "--asset", "a", "--fail-on", "severe"],
        ["scan", "--asset", "a", "-o", "x"], ["scan", "--asset", "a", "--format", "json", "--format", "sarif"],
        ["scan", "--asset", "a", "--format", "json", "-o", "x", "--format", "sarif", "-o", "x"],
        ["scan", "--asset", "a", "--timeout", "0"], ["scan", "--asset", "a", "--retries", "-1"],
        ["scan", "--asset", "a", "--ass", "b"], ["scan", "--asset", "a", "--format", "json", "-o", "no/such/folder/x"],
        ["scan", "--asset", "a", "--ca", "nosuch.pem", "--url", "https://localhost"],
        ["scan", "--asset", "a", "--url", "http://ops.example.org"], ["scan", "--asset", "a", "--url", "ftp://x"],
        ["scan", "--asset", "a", "--url", "https://name:word@localhost"], ["scan", "--asset", "a", "--url", "http://[::1"],
        ["scan", "--asset", "a", "--url", "https://x\r\nHost: y"], ["scan", "--asset", "nonesuch"],
        ["upload", "--asset", "a", "nosuch.json", "--url", "http://ops.example.org"],
    ],
)  # fmt: skip
def test_usage(ci, arguments):
    assert ci(*arguments).code == 2


def test_a_file_that_is_not_there_is_usage(ci, asset):
    assert ci("upload", "--asset", asset.name, "nosuch.json").code == 2
    assert ci("upload", "--asset", asset.name, ".").code == 2
    assert not Import.objects.exists()


def test_the_token_is_no_argument_and_may_be_a_file(ci, asset):
    for given in (["--token", ci.token], [f"--token={ci.token}"]):
        for arguments in ([*given, "scan", "--asset", "a"], ["scan", "--asset", "a", *given]):
            done = ci(*arguments)
            assert done.code == 2
            assert "OPSSIGHT_TOKEN" in done.err
    ci.file("r.json", report())
    ci.file("token", ci.token + "\n")
    upload = ("upload", "--asset", asset.name, "r.json")
    assert ci(*upload, OPSSIGHT_TOKEN="", OPSSIGHT_TOKEN_FILE="token").code == 0
    assert ci(*upload, OPSSIGHT_TOKEN="", OPSSIGHT_TOKEN_FILE="nosuch").code == 2
    assert ci(*upload, OPSSIGHT_TOKEN="").code == 2
    assert ci(*upload, OPSSIGHT_TOKEN="two words").code == 2
    assert ci(*upload, OPSSIGHT_URL="").code == 2


def test_a_name_that_two_assets_have_is_asked_back(ci, asset, dev, caller_of):
    Asset.objects.create(unit=create_unit("team", parent=root_unit()), name=asset.name, location="/elsewhere")
    ci.file("r.json", report())
    done = ci("upload", "--asset", asset.name, "r.json")
    assert (done.code, str(asset.uid) in done.err) == (2, True)
    assert ci("upload", "--asset", asset.uid, "r.json").code == 0


def test_a_wrong_token_and_a_missing_scope(ci, asset, dev, caller_of):
    ci.file("r.json", report())
    done = ci("upload", "--asset", asset.name, "r.json", OPSSIGHT_TOKEN="ops_wrong_token")
    assert (done.code, "401" in done.err) == (4, True)
    done = caller_of(dev, "assets:read", "scans:read", "findings:read")("upload", "--asset", asset.name, "r.json")
    assert (done.code, "imports:create" in done.err) == (4, True)
    blind = caller_of(dev, "assets:read", "imports:create", "scans:read")
    assert blind("upload", "--asset", asset.name, "r.json").code == 4  # findings:read is missing: no pass
    assert caller_of(make_person("Eve"), "me:read")("scan", "--asset", asset.name).code == 4


def test_without_imports_read_an_upload_works_too(asset, dev, runs_at_once, caller_of):
    few = caller_of(dev, "assets:read", "findings:read", "imports:create", "scans:read")
    few.file("r.json", report(finding(1)))
    assert few("upload", "--asset", asset.name, "r.json", "--fail-on", "high").code == 1
