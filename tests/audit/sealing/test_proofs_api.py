"""Proofs, checkpoints and bundles by API, judged by the verifier that is served."""

import ast
import json
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from audit import verify
from audit.models import AuditEntry
from audit.sealing import api as sealed_api
from audit.sealing import keys, verification
from audit.sealing.models import Checkpoint, Leaf
from audit.verify import Evidence, check, check_proof
from rbac.services import assign_role, create_unit, root_unit
from tests.audit.sealing.conftest import sql
from tests.audit.sealing.test_attacks import at, set_entry


@pytest.fixture
def adams(adam, client_for):
    return client_for(adam)


def judged(response) -> verify.Report:
    assert response.status_code == 200, response.content
    return check_proof(response.content, Evidence([keys.public_key()]))


def test_an_entry_is_proved_against_each_checkpoint_that_covers_it(log, adams):
    entry = AuditEntry.objects.get(leaf=at(9))
    address = f"/api/v1/trail/{entry.uid}/proof"
    for checkpoint in Checkpoint.objects.filter(size__gt=at(9).position):
        answer = adams.get(f"{address}?size={checkpoint.size}")
        report = judged(answer)
        assert (report.verdict, report.size) == ("ok", checkpoint.size)
        assert answer.json()["entry"] == entry.covered()
    report = judged(adams.get(address))
    assert report.size == Checkpoint.objects.newest().size
    assert adams.get(f"/api/v1/trail/{entry.uid}").json()["position"] == at(9).position
    listed = adams.get("/api/v1/trail?limit=200").json()["results"]
    positions = {row["uid"]: row["position"] for row in listed}
    assert positions[str(entry.uid)] == at(9).position
    assert None in positions.values()  # this sign-in's entries wait


def test_a_proof_that_was_changed_is_none(log, adams):
    said = adams.get(f"/api/v1/trail/{AuditEntry.objects.get(leaf=at(9)).uid}/proof").json()
    for name, value in (
        ("position", said["position"] ^ 1),  # its neighbour, whose proof is as long
        ("entry", {**said["entry"], "event": "findings:fixed"}),
        ("personal", {**said["personal"], "data": {"actor": "another"}}),
        ("checkpoint", said["checkpoint"].replace("time 2", "time 3")),
        ("proof", said["proof"][::-1]),
        ("key", str(verify.Key("localhost/trail", b"1" * 32))),
    ):
        report = check_proof(json.dumps({**said, name: value}).encode(), Evidence([keys.public_key()]))
        assert report.verdict == "tampered", name
    for broken in ({**said, "proof": said["proof"][1:]}, {**said, "position": 10**30}, {**said, "entry": 1.5}, {}):
        with pytest.raises(verify.Unreadable):
            check_proof(json.dumps(broken).encode(), Evidence())
    twins = json.dumps(said).replace('"event":', '"event": "a", "event":', 1)
    with pytest.raises(verify.Unreadable, match="twice"):
        check_proof(twins.encode(), Evidence())


def test_a_proof_saved_as_a_file(log, adams, tmp_path, capsys):
    uid = AuditEntry.objects.get(leaf=at(2)).uid
    (tmp_path / "proof.json").write_bytes(adams.get(f"/api/v1/trail/{uid}/proof").content)
    assert verify.main([str(tmp_path / "proof.json"), "--key", str(keys.public_key())]) == 0
    assert capsys.readouterr().out.startswith("ok: 1 checked")


def test_every_log_begins_with_every_earlier_one(log, adams):
    log.write(1)
    sizes = sorted(set(Checkpoint.objects.values_list("size", flat=True)))
    for later in sizes:
        for earlier in (size for size in sizes if size <= later):
            report = judged(adams.get(f"/api/v1/checkpoints/{later}/consistency?from={earlier}"))
            assert (report.verdict, report.size) == ("ok", later)
    said = adams.get(f"/api/v1/checkpoints/{sizes[-1]}/consistency?from={sizes[0]}").json()
    report = check_proof(json.dumps({**said, "from": said["to"]}).encode(), Evidence([keys.public_key()]))
    assert report.verdict == "tampered"


def test_checkpoints(log, adams):
    newest = Checkpoint.objects.newest()
    said = adams.get("/api/v1/checkpoints/newest").json()
    assert (said["size"], said["note"]) == (newest.size, newest.note)
    assert adams.get(f"/api/v1/checkpoints/{newest.size}").json() == said
    assert adams.get("/api/v1/checkpoints?limit=1").json()["results"] == [said]


@pytest.mark.parametrize(
    ("address", "status", "sentence"),
    [
        ("/api/v1/trail/{old}/proof?size=4711", 400, "There is no checkpoint of 4711 entries"),
        ("/api/v1/trail/{old}/proof?size=-1", 400, "must be a whole number"),
        ("/api/v1/trail/{old}/proof?size=" + "9" * 30, 400, "must be a whole number"),
        ("/api/v1/trail/{new}/proof?size={small}", 400, "the checkpoint of {small} entries was made before it"),
        ("/api/v1/trail/{waiting}/proof", 400, "is not sealed yet"),
        ("/api/v1/trail/01a20bd9-1d59-7949-b8ec-209801f0f979/proof", 404, "nothing at this address"),
        ("/api/v1/trail/{old}/proof?other=1", 400, "other"),
        ("/api/v1/checkpoints/4711", 404, "nothing at this address"),
        ("/api/v1/checkpoints/" + "9" * 30, 404, "nothing at this address"),
        ("/api/v1/checkpoints/{small}/consistency", 400, "is missing"),
        ("/api/v1/checkpoints/{small}/consistency?from=x", 400, "must be a whole number"),
        ("/api/v1/checkpoints/{small}/consistency?from=4711", 400, "There is no checkpoint of 4711"),
        ("/api/v1/checkpoints/{small}/consistency?from={large}", 400, "ask the other way round"),
        ("/api/v1/trail/bundle?from=5&to=5", 400, "There is no entry from #5 to before #5"),
        ("/api/v1/trail/bundle?to=99999999999", 400, "There is no entry"),
        ("/api/v1/trail/bundle?since=yesterday", 400, "must be a moment"),
        ("/api/v1/trail/bundle?until=2026-13-01T00:00:00Z", 400, "must be a moment"),
    ],
)
def test_what_is_out_of_range_is_told_in_a_sentence(log, adams, address, status, sentence):
    sizes = sorted(set(Checkpoint.objects.values_list("size", flat=True)))
    waiting = AuditEntry.objects.create(event="findings:raised")
    known = {
        "old": AuditEntry.objects.get(leaf__position=0).uid,
        "new": AuditEntry.objects.get(leaf=at(0)).uid,
        "waiting": waiting.uid,
        "small": sizes[0],
        "large": sizes[-1],
    }
    answer = adams.get(address.format(**known))
    assert answer.status_code == status, answer.content
    assert sentence.format(**known) in answer.content.decode()


def test_there_is_no_proof_for_what_was_tampered_with(log, adams, unguarded):
    uid = AuditEntry.objects.get(leaf=at(9)).uid
    set_entry(at(9), "event", "findings:fixed")
    answer = adams.get(f"/api/v1/trail/{uid}/proof")
    assert answer.status_code == 409
    assert "does not fit the signed checkpoint" in answer.json()["detail"]
    sql("DELETE FROM sealing_leaf WHERE position = 2")
    assert adams.get(f"/api/v1/trail/{AuditEntry.objects.get(leaf=at(1)).uid}/proof").status_code == 409
    sql("UPDATE sealing_checkpoint SET size = size + 1")
    answer = adams.get(f"/api/v1/trail/{uid}/proof")
    assert "is not as it was signed" in answer.json()["detail"]


def test_a_bundle_by_download(log, adams, tmp_path):
    answer = adams.get("/api/v1/trail/bundle?from=2", headers={"accept": "application/zip"})
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/zip")
    (tmp_path / "b.zip").write_bytes(b"".join(answer.streaming_content))
    report = check(str(tmp_path / "b.zip"), Evidence([keys.public_key()]))
    assert (report.verdict, report.checked) == ("ok", report.size - 2)
    told = AuditEntry.objects.filter(event="trail:exported").latest("pk")
    assert told.person["actor"] == "adam@example.org"
    assert told.additional_data["sha256"] == sha256((tmp_path / "b.zip").read_bytes()).hexdigest()


def test_a_bundle_that_is_too_large(log, adams, monkeypatch):
    monkeypatch.setattr(sealed_api, "LARGEST_DOWNLOAD", 3)
    answer = adams.get("/api/v1/trail/bundle")
    assert answer.status_code == 413
    assert "manage.py export_trail" in answer.json()["detail"]
    assert not AuditEntry.objects.filter(event="trail:exported").exists()


def test_who_may_not_read_the_trail_gets_no_proof_and_no_bundle(log, eve, dev, client_for):
    uid = AuditEntry.objects.get(leaf=at(9)).uid
    unit = create_unit("Payments", parent=root_unit())
    assign_role(dev, "auditor", unit=unit, reason="of this unit alone")
    for person in (eve, dev):
        client = client_for(person)
        for address in (f"/api/v1/trail/{uid}/proof", "/api/v1/trail/bundle", "/api/v1/checkpoints/newest"):
            assert client.get(address).status_code in (403, 404), (person, address)


def test_a_proof_reads_a_few_hundred_rows_at_most(log, adams):
    """In a log of some thousand entries, four queries for the hashes, wherever the entry is."""
    log.write(300)
    uid = AuditEntry.objects.get(leaf__position=17).uid
    with CaptureQueriesContext(
        connection,
    ) as asked:
        judged(adams.get(f"/api/v1/trail/{uid}/proof"))
    hashes = [query["sql"] for query in asked if '"hash"' in query["sql"]]
    assert len([query for query in hashes if "position" in query]) <= 5
    assert Leaf.objects.count() > 300


def test_the_verifier_is_served_to_everybody_as_it_is(db, settings):
    answer = Client().get(reverse("verifier"))
    program = b"".join(answer.streaming_content)
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/x-python; charset=utf-8")
    assert answer["Content-Disposition"] == 'attachment; filename="verify.py"'
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "Set-Cookie" not in answer.headers
    assert sha256(program).hexdigest() == verification.verifier_digest()
    assert Client().post("/verify.py").status_code in (403, 405)
    assert verification.verifier_digest() in (settings.BASE_DIR / "docs" / "auditor.md").read_text()


def test_the_verifier_needs_nothing_but_one_package():
    nodes = list(ast.walk(ast.parse(Path(verify.__file__).read_text())))
    imported = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} - sys.stdlib_module_names == {"cryptography"}
