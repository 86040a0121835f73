"""Scans with the real scanner: through the command and the service, with targets as people give them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command

from audit.models import AuditEntry
from scanning import inventory, services, targets
from scanning.inventory import asset_at
from scanning.models import Asset, Finding, Scan, ScanState, Status
from scanning.scanners import toolbox
from scanning.scanners.base import registry
from scanning.services import request_scan, run_scan

SAMPLE = Path(__file__).parent.parent / "samples" / "vulnerable"


@pytest.fixture(autouse=True)
def bandit(have) -> None:
    have("bandit")


@pytest.fixture
def folder(tmp_path) -> Path:
    return Path(shutil.copytree(SAMPLE, tmp_path / "shop"))


def scan_command(capsys, *args: str) -> tuple[int, dict]:
    with pytest.raises(SystemExit) as end:
        call_command("scan", *args, "--json")
    return end.value.code, json.loads(capsys.readouterr().out)


def test_findings_are_found_and_stand_in_the_answer(db, folder, capsys):
    code, answer = scan_command(capsys, str(folder))
    assert code == 1
    assert answer["scanners"][0] | {"scan": ""} == {
        "name": "bandit", "version": "1.9.4", "state": "completed", "reason": "", "scan": "",
        "files": 1, "new": 5, "same": 0, "fixed": 0, "reopened": 0,
    }  # fmt: skip
    shell = next(f for f in answer["findings"] if f["rule"] == "B602")
    assert (shell["severity"], shell["path"], shell["line"], shell["status"]) == ("high", "shop.py", 9, "open")
    finding = Finding.objects.get(uid=shell["uid"])
    assert [(number, marked) for number, _, marked in finding.code_lines() if marked] == [(9, True)]
    assert finding.cwe == 78


def test_a_second_scan_of_mended_code_fixes_and_ends_clean(db, folder, capsys):
    scan_command(capsys, str(folder))
    (folder / "shop.py").write_text("print('closed')\n")
    code, answer = scan_command(capsys, str(folder))
    assert code == 0
    assert answer["findings"] == []
    assert answer["scanners"][0]["fixed"] == 5
    assert Scan.objects.latest("id").is_clean
    assert set(Finding.objects.values_list("status", flat=True)) == {Status.FIXED}


def test_line_shifts_in_real_code_make_nothing_new(db, folder, capsys):
    _, before = scan_command(capsys, str(folder))
    source = folder / "shop.py"
    source.write_text("# a\n# b\n\n" + source.read_text())
    _, after = scan_command(capsys, str(folder))
    assert (after["scanners"][0]["new"], after["scanners"][0]["same"]) == (0, 5)
    assert [f["line"] for f in after["findings"]] == [f["line"] + 3 for f in before["findings"]]


def spoil(folder: Path, how: str) -> Path:
    match how:
        case "missing":
            shutil.rmtree(folder)
        case "a file":
            return folder / "shop.py"
        case "no python":
            (folder / "shop.py").rename(folder / "shop.txt")
        case "empty":
            (folder / "shop.py").unlink()
    return folder


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("missing", "does not exist"),
        ("a file", "is not a folder"),
        ("no python", "holds no file that this scanner reads (*.py)"),
        ("empty", "holds no file that this scanner reads (*.py)"),
    ],
)
def test_bad_targets_fail_with_a_reason_and_close_nothing(db, folder, capsys, how, says):
    scan_command(capsys, str(folder))
    target = spoil(folder, how)
    code, answer = scan_command(capsys, str(target))
    assert code == 3
    assert (answer["scanners"][0]["state"], answer["scanners"][0]["files"]) == ("failed", 0)
    assert says in answer["scanners"][0]["reason"]
    assert Finding.objects.unresolved().count() == 5
    entry = AuditEntry.objects.filter(event="scans:failed").latest("id")
    assert says in entry.error_message
    assert not entry.success


def test_unreadable_folders_are_told(tmp_path):
    """In a process without root's eyes, since root reads everything."""
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o000)
    code = (
        "import os, sys\n"
        "if os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "from pathlib import Path\n"
        "from scanning import targets\n"
        "try: targets._check(Path(sys.argv[1]))\n"
        "except targets.BadTarget as error: print(error)\n"
    )
    for parent in [tmp_path, *tmp_path.parents]:
        if os.stat(parent).st_uid == os.getuid() and str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "opssight.settings.test", "PYTHONPATH": os.getcwd()}
    setup = "import django; django.setup()\n"
    said = subprocess.run(
        [sys.executable, "-c", setup + code, str(locked)], env=environment, capture_output=True, text=True, check=True
    )
    assert "can't be read: Permission denied" in said.stdout


def test_a_file_that_bandit_can_not_parse_is_an_error_and_closes_nothing(db, folder, capsys):
    scan_command(capsys, str(folder))
    (folder / "shop.py").unlink()
    (folder / "good.py").write_text("print('hello')\n")
    (folder / "bad.py").write_text("def broken(:\n")
    code, answer = scan_command(capsys, str(folder))
    assert answer["scanners"][0]["state"] == "completed_with_errors"
    assert "bad.py: syntax error" in answer["scanners"][0]["reason"]
    assert code == 1
    assert Finding.objects.unresolved().count() == 5


def test_only_unparsable_code_is_unknown_and_never_clean(db, tmp_path, capsys):
    (tmp_path / "bad.py").write_text("def broken(:\n")
    code, answer = scan_command(capsys, str(tmp_path))
    assert (code, answer["scanners"][0]["state"]) == (3, "completed_with_errors")
    assert not Scan.objects.get().is_clean


@pytest.mark.parametrize(
    "name", [".github", "CVS", "venv-tools", "x.egg", "-leading", "with space", "neu\nline", "ünï"]
)
def test_the_name_of_the_folder_hides_nothing(db, tmp_path, capsys, name):
    """Bandit's own exclusions are substrings of the whole path: `.git` would skip everything below `.github`."""
    shutil.copytree(SAMPLE, tmp_path / name / "inner.git.d")
    code, answer = scan_command(capsys, str(tmp_path / name))
    assert (code, answer["scanners"][0]["files"]) == (1, 1)


def test_a_name_that_is_not_unicode_is_read(db, tmp_path, capsys):
    os.makedirs(os.fsencode(tmp_path) + b"/odd")
    shutil.copy(SAMPLE / "shop.py", os.fsencode(tmp_path) + b"/odd/\xff.py")
    code, answer = scan_command(capsys, str(tmp_path))
    assert code in (1, 3)
    assert answer["scanners"][0]["state"] in ("completed", "completed_with_errors", "failed")
    assert not Scan.objects.get().is_clean


def test_links_out_of_the_target_are_not_followed(db, tmp_path, capsys):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "own.py").write_text("print('hello')\n")
    (tmp_path / "project" / "stolen.py").symlink_to(SAMPLE / "shop.py")
    (tmp_path / "project" / "folder").symlink_to(SAMPLE)
    code, answer = scan_command(capsys, str(tmp_path / "project"))
    assert (code, answer["scanners"][0]["files"]) == (0, 1)


def test_a_leading_dash_is_usage_and_needs_the_two_dashes():
    for args in (["-x"], ["--json"], ["/tmp", "--scanners", "nonsense"], ["/tmp", "--scanners", ""]):
        with pytest.raises((SystemExit, CommandError)) as end:
            call_command("scan", *args) if args[0] == "/tmp" else _as_shell(args)
        assert getattr(end.value, "returncode", getattr(end.value, "code", None)) == 2


def _as_shell(args: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "scan", *args],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "opssight.settings.test"}, capture_output=True, text=True,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    raise SystemExit(done.returncode)


def test_a_tool_that_is_not_installed_says_so(db, folder, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(toolbox.env, "HOME", tmp_path / "nothing")
    code, answer = scan_command(capsys, str(folder))
    assert (code, answer["scanners"][0]["state"]) == (3, "not_installed")
    assert "make install" in answer["scanners"][0]["reason"]


@pytest.fixture
def scanner_says(monkeypatch, tmp_path):
    """Put a script in bandit's place."""

    def replace(script: str) -> None:
        path = tmp_path / "bandit"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(toolbox, "program", lambda name: path)

    return replace


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo 'no such option' >&2; exit 2", "exit code 2: no such option"),
        ("kill -9 $$", "exit code -9"),
        ("exit 0", "left no report"),
        ("exit 1", "left no report"),
        ('shift 4; echo "{" > "$1"; exit 1', "can't be read"),
    ],
)
def test_a_tool_that_breaks_is_a_failed_scan(db, folder, scanner_says, script, says):
    scanner_says(script)
    scan = request_scan(asset_at(folder), dispatch=False)
    run_scan(scan.pk)
    scan.refresh_from_db()
    assert scan.state == ScanState.FAILED
    assert says in scan.reason


def test_a_tool_that_reads_less_than_it_was_given_is_not_clean(db, folder, scanner_says):
    scanner_says('shift 4; echo \'{"results": [], "errors": [], "metrics": {"_totals": {}}}\' > "$1"; exit 0')
    scan = request_scan(asset_at(folder), dispatch=False)
    run_scan(scan.pk)
    scan.refresh_from_db()
    assert (scan.state, scan.reason) == (ScanState.COMPLETED_WITH_ERRORS, "shop.py: not read")


def test_a_tool_that_hangs_is_timed_out_and_ended(db, folder, scanner_says, settings):
    from datetime import timedelta

    settings.SCAN_TIMEOUT = timedelta(seconds=0.3)
    scanner_says("exec sleep 600")
    scan = request_scan(asset_at(folder), dispatch=False)
    run_scan(scan.pk)
    scan.refresh_from_db()
    assert scan.state == ScanState.TIMED_OUT


def test_an_unexpected_error_is_a_failed_scan_and_not_a_hanging_one(db, folder, monkeypatch):
    def broken(*args: object) -> None:
        raise RuntimeError("disk full")

    monkeypatch.setattr(services, "_record_part", broken)
    scan = request_scan(asset_at(folder), dispatch=False)
    run_scan(scan.pk)
    scan.refresh_from_db()
    assert (scan.state, scan.reason) == (ScanState.FAILED, services.UNEXPECTED)


def test_asking_twice_gives_the_scan_that_waits(db, folder):
    asset = asset_at(folder)
    assert request_scan(asset, dispatch=False) == request_scan(asset, dispatch=False)


def test_the_installation_is_its_source_and_its_packages(db):
    survey = targets.survey(targets.place_of(inventory.installation_asset()), registry["bandit"])
    own = [part for part in survey.parts if part.root == django_settings.BASE_DIR]
    assert own[0] == survey.parts[0]
    assert sum(len(part.files) for part in own) < 800
    assert all(name.split("/")[0] in targets.OWN_PACKAGES for part in own for name in part.files)
    assert any(name.startswith("django/") for part in survey.parts for name in part.files)
    assert max(len(part.files) for part in survey.parts) <= registry["bandit"].pace.files


def test_two_folders_of_one_name_are_two_assets(db, tmp_path):
    one, two = asset_at(tmp_path / "a" / "shop"), asset_at(tmp_path / "b" / "shop")
    assert one.name == "shop"
    assert two.name.endswith("b/shop")
    assert asset_at(tmp_path / "a" / "shop") == one
    assert Asset.objects.count() == 2
