"""Bundles: what is exported, what verify.py says of it, and what it says of anything else."""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from django.conf import settings as configured
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit import guard, verify
from audit.models import AuditEntry, AuditPersonal
from audit.sealing import exporting, keys
from audit.sealing.models import Checkpoint, Leaf
from audit.sealing.sealer import seal
from audit.verify import Evidence, check
from tests.audit.sealing.conftest import sql
from tests.audit.sealing.test_attacks import make_anew, truncate

PROGRAM = Path(verify.__file__)


def export(folder: Path, *args: object, **kwargs: object) -> Path:
    path = folder / "bundle.zip"
    exporting.write_bundle(exporting.part(*args, **kwargs), path)
    return path


def judged(path: Path, log=None, **given: object) -> verify.Report:
    evidence = Evidence([keys.public_key()], **given)
    if log:
        evidence = Evidence([keys.public_key()], [str(log.anchor)], [str(log.receipts)])
    report = check(str(path), evidence)
    assert not report.error, report.error
    return report


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as bundle:
        return {name: bundle.read(name) for name in bundle.namelist()}


def packed(path: Path, content: dict[str, bytes], *, sign: bool = False) -> Path:
    """Another bundle; `sign`ed as one who has the key would, with the right digests."""
    if sign:
        manifest = json.loads(content["manifest.json"])
        for name in verify.FILES:
            data = content[name]
            manifest["files"][name] = {"sha256": verify.hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        content["manifest.json"] = json.dumps(manifest).encode()
        content["manifest.sig"] = verify.encoded(keys.sign(content["manifest.json"])).encode()
    with zipfile.ZipFile(path, "w") as bundle:
        for name, data in content.items():
            bundle.writestr(name, data)
    return path


def test_the_whole_log(log, tmp_path):
    path = export(tmp_path)
    entry = AuditEntry.objects.latest("pk")
    report = judged(path, log)
    assert (report.verdict, report.problems) == ("ok", [])
    size = Leaf.objects.exclude(entry=entry).count()
    assert (report.size, report.checked, report.anchored) == (size, size, size)
    assert entry.event == "trail:exported"
    assert entry.additional_data["sha256"] == verify.hashlib.sha256(path.read_bytes()).hexdigest()
    assert (entry.additional_data["from"], entry.additional_data["to"]) == (0, size)
    assert oct(path.stat().st_mode & 0o777) == "0o600"


def test_every_part_of_it(log, tmp_path):
    """At and beside each checkpoint, with what comes before and after as subtrees."""
    log.write(3)
    size = Leaf.objects.count()
    edges = sorted({0, 1, size - 1, size, *(c.size + d for c in Checkpoint.objects.all() for d in (-1, 0, 1))})
    edges = [edge for edge in edges if 0 <= edge <= size]
    for start in edges:
        for end in edges:
            if start < end:
                newest = Checkpoint.objects.newest()
                part = exporting.Part(start, end, newest, exporting.timezone.now())
                exporting.write_bundle(part, tmp_path / "part.zip")
                report = judged(tmp_path / "part.zip", log)
                assert (report.problems, report.checked) == ([], end - start), (start, end)


def test_what_waits_is_sealed_first_and_the_times_choose_a_part(log, tmp_path):
    before = Leaf.objects.count()
    with_waiting = AuditEntry.objects.create(event="findings:raised")
    path = export(tmp_path)
    assert with_waiting.leaf.position == before
    assert str(with_waiting.uid) in members(path)["entries.jsonl"].decode()
    since = AuditEntry.objects.get(leaf__position=before).timestamp
    assert judged(export(tmp_path, since=since)).checked == 2  # that one, and that the whole was exported
    assert judged(export(tmp_path, until=since)).checked == before
    with pytest.raises(exporting.NothingToExport, match="There is no entry"):
        exporting.part(10**6)


def test_an_export_that_fails_leaves_no_file(log, tmp_path, unguarded):
    sql("DELETE FROM audit_auditpersonal")
    sql("DELETE FROM audit_auditentry WHERE id = %s", Leaf.objects.get(position=5).entry_id)
    with pytest.raises(exporting.DoesNotFit, match="position 5 is gone"):
        export(tmp_path)
    assert not [path for path in tmp_path.iterdir() if "bundle" in path.name]


def test_an_erased_person_is_gone_and_the_proof_stays(log, tmp_path):
    side = AuditPersonal.objects.get(entry__leaf__position=7)
    side.delete()
    AuditEntry(event="gdpr:erased", additional_data={"positions": [[7, 7]]}).save()
    path = export(tmp_path)
    report = judged(path, log)
    assert (report.problems, json.loads(members(path)["manifest.json"])["erased"]) == ([], 1)


# --- what an attacker with the server's key exports ---------------------------------------------------------------


def test_a_log_that_was_set_back_contradicts_its_anchor(log, tmp_path, unguarded):
    newest, older = Checkpoint.objects.order_by("-pk")[:2]
    truncate(older.size)
    sql("DELETE FROM sealing_checkpoint WHERE id = %s", newest.pk)
    part = exporting.Part(0, older.size, older, exporting.timezone.now())
    exporting.write_bundle(part, tmp_path / "b.zip")
    assert judged(tmp_path / "b.zip").verdict == "ok"
    assert set(judged(tmp_path / "b.zip", anchors=[str(log.anchor)]).counts) == {"anchor_ahead"}


def test_a_log_that_was_made_anew_contradicts_anchor_and_receipts(log, tmp_path, unguarded):
    from tests.audit.sealing.test_attacks import at, drop_entry

    drop_entry(at(9).entry_id)
    make_anew()
    size = Checkpoint.objects.newest().size
    exporting.write_bundle(
        exporting.Part(0, size, Checkpoint.objects.newest(), exporting.timezone.now()), tmp_path / "b"
    )
    assert judged(tmp_path / "b").verdict == "ok"
    assert "anchor_differs" in judged(tmp_path / "b", anchors=[str(log.anchor)]).counts
    assert set(judged(tmp_path / "b", receipts=[str(log.receipts)]).counts) == {"receipt_missing"}


def with_entries(change):
    return lambda content: {**content, "entries.jsonl": change(content["entries.jsonl"])}


def with_notes(change):
    return lambda content: {**content, "checkpoints.txt": change(content["checkpoints.txt"])}


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (with_entries(lambda raw: raw.replace(b"findings:raised", b"findings:closed", 1)), "root_wrong"),
        (with_entries(lambda raw: b"".join(raw.splitlines(True)[:-1])), "bundle_form entry_missing tail_missing"),
        (with_entries(lambda raw: b"".join(raw.splitlines(True)[::-1])), "bundle_form root_wrong"),
        (with_entries(lambda raw: raw.replace(b'{"entry"', b' {"entry"', 1)), "bundle_form root_wrong"),
        (with_entries(lambda raw: raw + b"[" * 200_000), "bundle_form unsigned_leaves"),
        (with_entries(lambda raw: raw.replace(b'"actor":"', b'"actor":"x', 1)), "personal_changed"),
        (with_notes(lambda raw: raw.partition(b"--\n")[2]), "checkpoint_chain"),
        (with_notes(lambda raw: b""), "unsigned_leaves"),
        (
            with_notes(lambda raw: raw.replace(b"time 2", b"time 3", 1)),
            "checkpoint_chain checkpoint_signature checkpoint_time",
        ),
        (with_notes(lambda raw: raw + b"\xff\xfe--\n\n"), "checkpoint_form"),
    ],
)
def test_who_has_the_key_for_bundles_alone_can_not_change_the_log(log, tmp_path, change, kinds):
    content = change(members(export(tmp_path)))
    assert set(judged(packed(tmp_path / "c.zip", content, sign=True)).counts) == set(kinds.split())


# --- anything else ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*verify.FILES, *verify.MANIFEST])
def test_a_bundle_that_was_changed_without_the_key(log, tmp_path, name):
    content = members(export(tmp_path))
    for data in (b"", content[name][:-1], content[name] + b"x", content[name][:9] + b"~" + content[name][10:]):
        report = check(str(packed(tmp_path / "c.zip", {**content, name: data})), Evidence([keys.public_key()]))
        assert report.verdict in ("tampered", "error")
        assert "bundle_form" in report.counts or "manifest" in report.error


def test_missing_further_and_double_members(log, tmp_path):
    path = export(tmp_path)
    content = members(path)
    for name in content:
        less = {other: data for other, data in content.items() if other != name}
        assert check(str(packed(tmp_path / "c.zip", less)), Evidence()).verdict in ("tampered", "error")
    for name in ("../../etc/passwd", "/etc/passwd", "entries.jsonl/", "\x1b[31mred"):
        report = check(str(packed(tmp_path / "c.zip", {**content, name: b"x"})), Evidence())
        assert set(report.counts) == {"bundle_form"}
    packed(tmp_path / "c.zip", content)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(tmp_path / "c.zip", "a") as bundle:
        bundle.writestr("entries.jsonl", content["entries.jsonl"])
    assert set(check(str(tmp_path / "c.zip"), Evidence()).counts) == {"bundle_form"}


def test_another_key_and_another_log(log, tmp_path):
    path = export(tmp_path)
    stranger = verify.Key("localhost/trail", bytes(range(32)))
    report = check(str(path), Evidence([stranger]))
    assert "is not the one given" in report.problems[0]["detail"]
    assert report.checked == 0
    assert check(str(path), Evidence([stranger, keys.public_key()])).verdict == "ok"


def test_former_keys(log, tmp_path, settings):
    """What they signed counts until a newer key has signed, and not from then on."""
    first, former = configured.TRAIL_SIGNING_KEY, str(keys.public_key())
    settings.TRAIL_OLD_KEYS, settings.TRAIL_SIGNING_KEY = [former], b"2" * 32
    log.write(2)
    assert judged(export(tmp_path), log).problems == []
    current = str(keys.public_key())
    settings.TRAIL_OLD_KEYS, settings.TRAIL_SIGNING_KEY = [current], first
    log.write(2)
    settings.TRAIL_OLD_KEYS, settings.TRAIL_SIGNING_KEY = [former], b"2" * 32
    part = exporting.Part(0, Leaf.objects.count(), Checkpoint.objects.newest(), exporting.timezone.now())
    exporting.write_bundle(part, tmp_path / "b.zip")
    assert set(judged(tmp_path / "b.zip").counts) == {"checkpoint_signature"}


def bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name in verify.MANIFEST:
            with bundle.open(name, "w") as member:
                for _ in range(64):
                    member.write(b"0" * (1 << 20))
    return file.getvalue()


def odd_zip(**content: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as bundle:
        for name, text in content.items():
            bundle.writestr(name.replace("_", "."), text)
    return file.getvalue()


ODD = {
    "empty": b"",
    "a text": b"Dear auditor",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "half a zip": b"PK\x03\x04" + bytes(50),
    "an empty zip": odd_zip(),
    "another zip": odd_zip(a_txt="x"),
    "a manifest that is no JSON": odd_zip(manifest_json="{", manifest_sig="x"),
    "a manifest of nothing": odd_zip(manifest_json="null", manifest_sig="x"),
    "a deep manifest": odd_zip(manifest_json="[" * 100_000, manifest_sig="x"),
    "a huge number": odd_zip(manifest_json="9" * 10_000, manifest_sig="x"),
    "a later format": odd_zip(manifest_json='{"format": "opssight-trail/2"}', manifest_sig="x"),
    "a bomb": bomb(),
    "JSON": b'{"a": 1}',
    "broken JSON": b'{"a": ',
    "deep JSON": b'{"a":' * 50_000,
    "a proof of nothing": b'{"format": "opssight-proof/1", "key": "x", "proof": []}',
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_bundle_is_an_error_in_words(tmp_path, name, capsys):
    path = tmp_path / "odd"
    path.write_bytes(ODD[name])
    assert verify.main([str(path), "--json"]) == 3
    said = json.loads(capsys.readouterr().out)
    assert (said["verdict"], said["problems"]) == ("error", [])
    assert len(said["error"]) > 20
    assert "can't be judged" not in said["error"]
    assert verify.main([str(path)]) == 3
    assert capsys.readouterr().out.startswith("error: ")


def test_what_is_not_there(tmp_path, capsys):
    assert verify.main([str(tmp_path / "nothing")]) == 3
    assert verify.main([str(tmp_path)]) == 3
    with pytest.raises(SystemExit) as usage:
        verify.main(["x.zip", "--key", "nonsense"])
    assert usage.value.code == 2


def test_a_bundle_cut_off_anywhere(log, tmp_path):
    whole = export(tmp_path).read_bytes()
    for length in [*range(0, len(whole), max(1, len(whole) // 60)), len(whole) - 1]:
        (tmp_path / "cut").write_bytes(whole[:length])
        assert check(str(tmp_path / "cut"), Evidence()).verdict == "error"


def test_no_changed_byte_passes(log, tmp_path):
    """Wherever a byte is changed: never ok where the content differs, never an error nobody thought of."""
    path = export(tmp_path)
    whole, content = path.read_bytes(), members(path)

    @given(st.integers(0, len(whole) - 1), st.integers(1, 255))
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def change(at, by):
        (tmp_path / "changed").write_bytes(whole[:at] + bytes([whole[at] ^ by]) + whole[at + 1 :])
        report = check(str(tmp_path / "changed"), Evidence([keys.public_key()]))
        assert "can't be judged" not in report.error
        if report.verdict == "ok":  # a time, a flag or an attribute of the zip file, which nobody reads
            assert members(tmp_path / "changed") == content

    change()


@pytest.mark.parametrize(
    ("option", "content"), [("--anchor", ""), ("--anchor", "x\n"), ("--receipts", '{"uid": "a"}\n')]
)
def test_evidence_that_is_none_is_an_error_not_a_pass(log, tmp_path, option, content, capsys):
    (tmp_path / "evidence").write_text(content)
    assert verify.main([str(export(tmp_path)), option, str(tmp_path / "evidence")]) == 3
    assert "has no line with" in capsys.readouterr().out


def test_the_anchor_of_another_log_confirms_nothing(log, tmp_path, capsys):
    body = verify.Checkpoint("elsewhere.example/trail", 5, b"0" * 32, "2026-01-01T00:00:00Z", b"").body()
    (tmp_path / "anchor").write_text(json.dumps({"note": body + "\n"}))
    assert verify.main([str(export(tmp_path)), "--anchor", str(tmp_path / "anchor")]) == 0
    said = capsys.readouterr().out
    assert "none of this log" in said
    assert "Identity unproven" in said


def test_it_runs_alone(log, tmp_path):
    """As an auditor has it: the file, in a folder without OpsSight, in an isolated interpreter."""
    path, program = export(tmp_path), tmp_path / "elsewhere" / "verify.py"
    program.parent.mkdir()
    program.write_bytes(PROGRAM.read_bytes())
    words = [
        sys.executable,
        "-I",
        str(program),
        str(path),
        "--key",
        str(keys.public_key()),
        "--anchor",
        str(log.anchor),
    ]
    done = subprocess.run(words, cwd=program.parent, capture_output=True, text=True, env={"LC_ALL": "C"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("ok: ")
    assert "confirm the first" in done.stdout


def test_an_entry_that_can_not_be_read_stands_in_the_log_and_in_the_bundle(log, tmp_path):
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL's columns have types")
    entry = AuditEntry.objects.create(event="findings:raised")
    guard.remove(connection)
    sql("UPDATE audit_auditentry SET timestamp = 'yesterday' WHERE id = %s", entry.pk)
    guard.install(connection)
    seal()
    sql("DELETE FROM audit_auditpersonal WHERE entry_id = %s", entry.pk)
    assert judged(export(tmp_path), log).problems == []
