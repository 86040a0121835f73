"""pip-audit against a mirror of OSV's records: which versions a record is about, the index, and the tool itself."""

import json
import zipfile
from pathlib import Path

import pytest
from packaging.version import Version

from scanning.inventory import asset_at
from scanning.models import Finding, Scan, ScanState
from scanning.scanners import osv, osv_server
from scanning.scanners.base import NotReady, registry
from scanning.scanners.osv_server import is_affected
from scanning.scanners.run import has_loopback, without_network
from scanning.services import request_scan, run_scan
from scanning.tools.services import tool


def record(id: str, name: str = "shop", *events: dict, versions: tuple[str, ...] = (), **more) -> dict:
    entry: dict = {"package": {"ecosystem": "PyPI", "name": name}}
    if events:
        entry["ranges"] = [{"type": "ECOSYSTEM", "events": list(events)}]
    if versions:
        entry["versions"] = list(versions)
    return {"schema_version": "1.6.0", "id": id, "modified": "2026-11-20T10:00:00Z", "affected": [entry], **more}


@pytest.mark.parametrize(
    ("events", "affected", "not_affected"),
    [
        ("introduced=0 fixed=2.0", "0.dev0 0 1.9 2.0rc1 2.0.dev1", "2.0 2.0.post1 2.0+local 10.0 1!0.1"),
        ("introduced=1.0 fixed=1.10", "1.0 1.9 1.9.post1 1.10a1", "0.9 1.0rc1 1.10 1.11"),
        ("introduced=1.0 last_affected=1.5", "1.0 1.5", "0.9 1.5.post1 1.5.1 1.6"),
        ("introduced=0", "0.1 99", ""),
        ("introduced=2.0 fixed=2.3 introduced=1.0 fixed=1.4", "1.0 1.3 2.0 2.2", "0.9 1.4 1.9 2.3"),
        ("introduced=0 fixed=1.0.0", "0.9", "1.0 1"),
        ("introduced=1!1.0", "1!1.0 1!2", "99.0"),
        ("introduced=0 fixed=2004d-b", "1.0", ""),  # nobody can tell
    ],
)
def test_ranges_are_those_of_pep_440(events, affected, not_affected):
    told = [dict([word.split("=")]) for word in events.split()]
    for expected, versions in ((True, affected), (False, not_affected)):
        for version in versions.split():
            assert is_affected(record("A", "shop", *told), "shop", Version(version)) is expected, version


def test_versions_that_are_named_other_packages_and_records_without_any():
    named = record("A", "shop", versions=("1.0", "2.0.0", "old-one"))
    assert is_affected(named, "shop", Version("1"))
    assert is_affected(named, "shop", Version("2.0+debian"))
    assert not is_affected(named, "shop", Version("1.1"))
    assert not is_affected(named, "till", Version("1.0"))
    unsure = record("A", "shop", {"introduced": "0"}, {"fixed": "2004d-b"}, versions=("1",))
    assert not is_affected(unsure, "shop", Version("3"))
    assert is_affected(record("A", "My.Shop"), "my-shop", Version("1"))  # of no version said, so of all
    other = record("A", "shop", {"introduced": "0"})
    other["affected"][0]["package"]["ecosystem"] = "npm"
    assert not is_affected(other, "shop", Version("1"))


@pytest.fixture
def mirror(settings, tmp_path, monkeypatch):
    """`mirror(records)`: the operator has put these there; the file's path."""
    monkeypatch.setattr(osv.env, "HOME", tmp_path / "home")
    settings.OSV_DIR = str(tmp_path / "osv")
    (tmp_path / "osv" / "PyPI").mkdir(parents=True)

    def put(*records: dict) -> Path:
        with zipfile.ZipFile(tmp_path / "osv" / "PyPI" / "all.zip", "w") as archive:
            for one in records:
                archive.writestr(f"{one['id']}.json", json.dumps(one))
        return tmp_path / "osv" / "PyPI" / "all.zip"

    return put


def nothing() -> None:
    pass


def answers(name: str, version: str) -> list[str]:
    import sqlite3

    asked = {"package": {"name": name, "ecosystem": "PyPI"}, "version": version}
    with sqlite3.connect(osv.index()) as index:
        return [found["id"] for found in osv_server.query(index, asked).get("vulns", [])]


def test_the_index_follows_the_zip(mirror):
    with pytest.raises(NotReady, match=r"holds no PyPI/all\.zip"):
        osv.check()
    mirror(record("A", "Shop", {"introduced": "0"}), record("B", "shop", {"introduced": "0"}, withdrawn="2026-01-01"))
    osv.prepare(nothing)
    assert answers("shop", "1.0") == ["A"]
    assert osv.data_at().isoformat() == "2026-11-20T10:00:00+00:00"
    made = osv.index().stat().st_mtime_ns
    osv.prepare(nothing)
    assert osv.index().stat().st_mtime_ns == made
    mirror(record("A", "shop", {"introduced": "0"}), record("C", "shop", {"introduced": "0"}))
    osv.prepare(nothing)
    assert answers("shop", "1.0") == ["A", "C"]
    with pytest.raises(ValueError, match="of PyPI by its name"):
        answers("shop", "not a version")


@pytest.mark.parametrize("harm", ["cut", "text", "empty", "list", "json"])
def test_a_broken_zip_changes_nothing_and_says_so(mirror, harm):
    path = mirror(record("A", "shop", {"introduced": "0"}))
    osv.prepare(nothing)
    if harm in ("cut", "text"):
        path.write_bytes(path.read_bytes()[:-30] if harm == "cut" else b"no zip at all")
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name, body in {"empty": [], "list": [("B.json", "[]")], "json": [("B.json", "{")]}[harm]:
                archive.writestr(name, body)
    with pytest.raises(NotReady, match="can't be read"):
        osv.prepare(nothing)
    with pytest.raises(NotReady, match="can't be read"):  # and nobody reads it a second time
        osv.check()
    assert answers("shop", "1.0") == ["A"]
    assert [one.name for one in osv.index().parent.iterdir() if one.suffix == ".new"] == []
    mirror(record("D", "shop", {"introduced": "0"}))
    osv.prepare(nothing)
    assert answers("shop", "1.0") == ["D"]


def scanned(root: Path) -> Scan:
    scan = request_scan(asset_at(root), scanner="pip-audit", dispatch=False)
    run_scan(scan.pk)
    scan.refresh_from_db()
    return scan


def test_pip_audit_asks_the_mirror_and_has_no_network(db, have, mirror, tmp_path, olga):
    have("pip-audit")
    root = tmp_path / "code"
    root.mkdir()
    (root / "requirements.txt").write_text("Django==4.2.1\njinja2==3.1.6\n")
    path = mirror(
        record("GHSA-1", "django", {"introduced": "4.2"}, {"fixed": "4.2.5"}, aliases=["CVE-2026-1"], summary="Slow."),
        record("GHSA-2", "django", {"introduced": "5.0"}, {"fixed": "5.0.1"}, summary="Not this."),
        record("GHSA-3", "jinja2", {"introduced": "0"}, withdrawn="2026-01-01T00:00:00Z"),
    )
    scan = scanned(root)
    assert (scan.state, scan.reason) == (ScanState.COMPLETED, "")
    finding = Finding.objects.get()
    assert (finding.rule, finding.title) == ("CVE-2026-1", "django 4.2.1: Slow")
    state = tool("pip-audit", olga)
    assert (state.state, state.network, state.is_data_old) == ("ready", False, False)
    if without_network():
        assert has_loopback()
    path.write_bytes(b"half")
    scan = scanned(root)
    assert (scan.state, scan.fixed) == (ScanState.FAILED, 0)
    assert "can't be read" in scan.reason
    assert tool("pip-audit", olga).state == "not_ready"
    assert Finding.objects.unresolved().count() == 1
    mirror(record("GHSA-2", "django", {"introduced": "5.0"}, {"fixed": "5.0.1"}))
    assert scanned(root).fixed == 1
    assert registry["pip-audit"].network is False
