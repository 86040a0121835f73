"""What the log of a scan keeps of what a tool said."""

import fcntl
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pytest

from opssight.settings import env
from scanning.inventory import asset_at
from scanning.models import ScanState
from scanning.scanners.base import registry
from scanning.scanners.log import KEPT, added, below, last_words, readable
from scanning.services import request_scan, run_scan
from scanning.sources.base import LEFT_OVER, LOCK, SCRATCH

SAMPLE = Path(__file__).parent.parent / "samples" / "vulnerable"


@pytest.mark.parametrize(
    ("said", "secret"),
    [
        ("asked https://ci:hunter2@osv.example/v1", "hunter2"),
        ("Authorization: Bearer abc.def", "abc.def"),
        ('{"cookie": "session=1234"}', "1234"),
        ("password=hunter2 user=x", "hunter2"),
        ("export AWS_SECRET_ACCESS_KEY='wJ8 x'", "wJ8"),
        ("GET /v1?token=hunter2&x=1", "hunter2"),
        ("found ghp_abcdefghijklmnop1234", "ghp_abcd"),
        ("found AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEabc\n-----END RSA PRIVATE KEY-----", "MIIEabc"),
        ("-----BEGIN PRIVATE KEY-----\nMIIEabc", "MIIEabc"),
        ("x\n" + "MIIE" * 16, "MIIEMIIE"),
        pytest.param(f"can't read {env.HOME}/credentials/git-token", "git-token", id="our own folder"),
    ],
)
def test_no_secret_and_no_way_to_one_stands_in_it(said, secret):
    told = readable(said)
    assert secret not in told
    assert "…" in told


def test_what_remains_can_be_read(tmp_path):
    assert readable("\x1b[31mred\x1b[0m \u202etxt\x00 end\r\n") == "red txt end"
    assert readable(f"{tmp_path}/src/a.py: bad\nin {tmp_path}", tmp_path) == "src/a.py: bad\nin ."
    assert readable("src/a.py:3: password is weak") == "src/a.py:3: password is weak"


def test_it_keeps_the_end_in_whole_lines(tmp_path):
    file = tmp_path / "words"
    file.write_bytes(b"\xff" + b"".join(b"line %d\n" % n for n in range(100_000)))
    told = last_words(file)
    assert len(told) <= KEPT + 2
    assert told.startswith("…\nline ")
    assert told.endswith("line 99999")
    log = ""
    for n in range(3_000):
        log = below(added(log, f"part {n}"), "said\n\nmore")
    assert len(log) <= KEPT + 2
    assert log.endswith("part 2999\n    said\n    more")


# --- of a real run --------------------------------------------------------------------------------------------------


def scanned(folder: Path):
    scan = request_scan(asset_at(folder), dispatch=False)
    run_scan(scan.pk)
    scan.refresh_from_db()
    return scan


@pytest.fixture
def shop(tmp_path) -> Path:
    return Path(shutil.copytree(SAMPLE, tmp_path / "shop"))


def test_a_whole_run_tells_its_parts_what_the_tool_said_and_its_end(db, have, shop):
    have("bandit")
    (shop / "broken.py").write_text("def (:\n")
    scan = scanned(shop)
    assert scan.state == ScanState.COMPLETED_WITH_ERRORS
    first, *said, last = scan.log.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d broken.py … shop.py: 2 files", first)
    assert re.fullmatch(rf"\d\d:\d\d:\d\d bandit ended, {scan.total} findings", last)
    assert all(line.startswith("    ") for line in said)
    assert str(shop) not in scan.log
    assert SCRATCH not in scan.log


def test_a_tool_that_fails_leaves_its_last_words_and_no_secret_and_no_place_of_ours(db, have, shop, monkeypatch):
    have("bandit")
    words = f"asked https://ci:hunter2@osv.example, read {env.HOME}/credentials/git-token and {shop}/shop.py; giving up"
    program = f"import sys; print({words!r}, file=sys.stderr); sys.exit(7)"
    monkeypatch.setattr(registry["bandit"], "command", lambda files, report: [sys.executable, "-c", program])
    scan = scanned(shop)
    assert (scan.state, "exit code 7" in scan.reason) == (ScanState.FAILED, True)
    for told in (scan.log, scan.reason):
        assert "giving up" in told
        assert "shop.py" in told
        for hidden in ("hunter2", "git-token", str(env.HOME), str(shop)):
            assert hidden not in told
    assert scan.log.splitlines()[-1].endswith("bandit did not finish")


def test_what_a_killed_worker_left_is_removed_and_nothing_else(db, have, shop, tmp_path, monkeypatch):
    have("bandit")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    old = time.time() - LEFT_OVER - 60

    def left(name: str, *, at: float = old) -> Path:
        folder = tmp_path / f"{SCRATCH}{name}"
        folder.mkdir()
        (folder / LOCK).touch()
        os.utime(folder, (at, at))
        return folder

    killed, held, young, elsewhere = left("killed"), left("held"), left("young", at=time.time()), tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = tmp_path / f"{SCRATCH}link"
    link.symlink_to(elsewhere)
    others = left("others")
    if os.geteuid() == 0:
        os.chown(others, 4321, 4321)
    with (held / LOCK).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert scanned(shop).state == ScanState.COMPLETED
    assert not killed.exists()
    assert held.exists() and young.exists() and link.is_symlink() and elsewhere.exists()
    assert others.exists() == (os.geteuid() == 0)
    assert {place.name for place in tmp_path.glob(f"{SCRATCH}*")} <= {
        place.name for place in (held, young, link, others)
    }
