"""What the log of a scan keeps of what a tool said."""

import pytest

from opssight.settings import env
from scanning.scanners.log import KEPT, added, below, last_words, readable


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
