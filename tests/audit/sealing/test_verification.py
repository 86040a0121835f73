"""What verifies the database: the command, the tasks, what they keep and tell, and what must not alarm."""

import json
import logging
from datetime import timedelta

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from audit.models import AuditEntry, AuditPersonal
from audit.sealing import sealer, tasks, verification
from audit.sealing.entries import read
from audit.sealing.models import Checkpoint, Leaf, Verification
from audit.sealing.reading import sealed
from audit.sealing.sealer import seal
from audit.sealing.verification import verify_log
from audit.verify import canonical
from opssight.kernel.actor import acting_as
from opssight.kernel.events import registry
from opssight.kernel.logs import JsonFormatter
from rbac.services import create_unit, root_unit
from tests.audit.sealing.conftest import sql
from tests.audit.sealing.test_attacks import at, drop_entry, set_entry, truncate


def run(capsys, *args: str) -> tuple[int, dict]:
    with pytest.raises(SystemExit) as ended:
        call_command("verify_trail", "--json", *args)
    return ended.value.code, json.loads(capsys.readouterr().out)


def clean(**given: list[str]) -> None:
    report, _ = verify_log(anchors=given.get("anchors", []), receipts=given.get("receipts", []))
    assert (report.problems, report.error) == ([], "")


# --- what must not alarm ------------------------------------------------------------------------------------------


def test_an_honest_life_raises_no_alarm(log, eve, adam):
    """Rollbacks, a deleted user, a content type that is cleaned up, entries that wait, an erased person."""
    for _ in range(3):
        with pytest.raises(IntegrityError), transaction.atomic():
            registry["findings:raised"].emit(number=1)
            raise IntegrityError("rolled back")
    with acting_as(eve):
        unit = create_unit("Payments", parent=root_unit())
    unit.delete()
    eve.delete()
    kind = ContentType.objects.create(app_label="gone", model="gone")
    AuditEntry(event="findings:raised", content_type=kind, object_pk="1").save()
    kind.delete()
    clean()  # with all of that waiting
    seal()
    clean()
    position = Leaf.objects.latest("position").position
    AuditPersonal.objects.filter(entry__leaf__position__in=[3, position - 1, position]).delete()
    AuditEntry(event="gdpr:erased", additional_data={"positions": [[3, 3], [position - 1, position]]}).save()
    clean()  # the erasure waits too
    seal()
    log.keep()
    clean(anchors=[str(log.anchor)], receipts=[str(log.receipts)])


def test_a_heartbeat_and_a_clock_that_goes_back_raise_no_alarm(log, monkeypatch):
    now = Checkpoint.objects.newest().at
    for later in (2, 1, 4):
        monkeypatch.setattr(sealer.timezone, "now", lambda later=later: now + timedelta(hours=later))
        seal()
    monkeypatch.undo()
    log.keep()
    assert Checkpoint.objects.filter(size=Checkpoint.objects.newest().size).count() >= 2
    clean(anchors=[str(log.anchor)], receipts=[str(log.receipts)])


def test_an_empty_log_is_no_tampered_one(db, capsys):
    assert run(capsys)[1]["verdict"] == "ok"


def test_what_is_read_in_sets_is_what_is_covered(log):
    """Each leaf's bytes, MAC and personal part are those that the models define."""
    count = Leaf.objects.count()
    rows = list(sealed(0, count))
    assert [row.position for row in rows] == list(range(count))
    for row in rows:
        entry = AuditEntry.objects.select_related("personal").get(pk=row.entry_id)
        assert row.entry.data == canonical(entry.covered())
        assert row.personal == {"data": entry.personal.content(), "salt": entry.personal.salt}
    assert read([rows[0].entry_id], using="default")[0].genuine


# --- the command --------------------------------------------------------------------------------------------------


def test_the_command_says_what_it_found(log, capsys, unguarded):
    code, said = run(capsys, "--anchor", str(log.anchor), "--receipts", str(log.receipts))
    size = Leaf.objects.count()
    assert (code, said["verdict"], said["size"], said["checked"], said["anchored"]) == (0, "ok", size, size, size)
    set_entry(at(3), "event", "findings:fixed")
    code, said = run(capsys)
    assert (code, said["verdict"], said["anchored"]) == (1, "tampered", None)
    assert {problem["kind"] for problem in said["problems"]} == {"entry_changed", "mac_wrong"}
    assert {problem["position"] for problem in said["problems"]} == {at(3).position}
    assert all(len(problem["detail"]) > 20 for problem in said["problems"])
    with pytest.raises(SystemExit):
        call_command("verify_trail")
    assert "mac_wrong: #" in capsys.readouterr().out


def test_bad_arguments_and_files(log, capsys, tmp_path):
    for path in (tmp_path / "nothing", tmp_path):
        code, said = run(capsys, "--anchor", str(path))
        assert (code, said["verdict"]) == (3, "error")
        assert "can't be read" in said["error"]
    assert run(capsys, "--bundle", str(tmp_path / "nothing"))[0] == 3
    (tmp_path / "text").write_text("no anchor")
    assert run(capsys, "--receipts", str(tmp_path / "text"))[0] == 3
    with pytest.raises(CommandError) as refused:
        call_command("verify_trail", "--bundle", "x", "--since-last")
    assert refused.value.returncode == 2


def test_many_changes_are_counted_and_the_first_are_named(log, capsys, unguarded):
    log.write(130)
    sql("UPDATE audit_auditentry SET request_id = 'x'")
    said = run(capsys)[1]
    assert said["counts"]["entry_changed"] == Leaf.objects.count() > 130
    assert len([one for one in said["problems"] if one["kind"] == "entry_changed"]) == 100


# --- from the last verification on --------------------------------------------------------------------------------


def test_a_verification_goes_on_where_the_last_good_one_ended(log, capsys, unguarded):
    first = run(capsys, "--since-last")[1]
    assert first["checked"] == first["size"]
    log.write(3)
    again = run(capsys, "--since-last", "--anchor", str(log.anchor))[1]
    added = Leaf.objects.count() - first["size"]
    assert (again["verdict"], again["checked"], again["anchored"]) == ("ok", added, Leaf.objects.count())
    set_entry(at(9), "event", "findings:fixed")  # before: only the whole log shows it
    assert run(capsys, "--since-last")[1]["verdict"] == "ok"
    assert run(capsys)[1]["verdict"] == "tampered"
    set_entry(at(0), "event", "findings:fixed")
    log.write(1)
    assert run(capsys, "--since-last")[0] == 0
    set_entry(at(0), "event", "findings:fixed")
    log.write(1)
    assert run(capsys, "--since-last")[0] == 0  # it was verified before it was changed: the daily run finds it
    log.write(1)
    set_entry(at(0), "event", "findings:fixed")
    for _ in range(2):  # it stays wrong until it is right
        code, said = run(capsys, "--since-last")
        assert (code, set(said["counts"])) == (1, {"entry_changed", "mac_wrong"})


def test_a_log_that_is_shorter_than_at_the_last_verification(log, capsys, unguarded):
    run(capsys, "--since-last")
    newest, older = Checkpoint.objects.order_by("-pk")[:2]
    truncate(older.size)
    sql("DELETE FROM sealing_checkpoint WHERE id = %s", newest.pk)
    said = run(capsys, "--since-last")[1]
    assert {"tail_missing", "checkpoint_missing"} <= set(said["counts"])


def test_the_result_is_kept_and_told_once(log, unguarded):
    tasks.verify_all()
    tasks.verify_new()
    full, new = Verification.objects.order_by("scope")
    size = Checkpoint.objects.newest().size
    assert (full.scope, full.verdict, full.verified_size) == ("full", "ok", size)
    assert (new.scope, new.verdict, new.checked) == ("new", "ok", 0)
    told = AuditEntry.objects.filter(event="trail:verified").latest("pk")
    assert told.additional_data["size"] == size
    verified_at = full.verified_at
    drop_entry(at(9).entry_id)
    for _ in range(2):
        tasks.verify_all()
    full.refresh_from_db()
    assert (full.verdict, full.verified_size, full.verified_at) == ("tampered", size, verified_at)
    assert full.counts["entry_missing"] == 1
    alarm = AuditEntry.objects.get(event="trail:tampered")
    assert alarm.additional_data["problems"]["entry_missing"] == 1
    set_entry(at(5), "event", "findings:fixed")
    tasks.verify_all()
    assert AuditEntry.objects.filter(event="trail:tampered").count() == 2


def test_the_anchor_of_the_settings_is_looked_at_and_missed_when_it_is_gone(log, settings, tmp_path):
    settings.ANCHOR_FILE = str(tmp_path / "anchored.jsonl")
    clean()  # nothing was anchored yet
    log.anchor.rename(settings.ANCHOR_FILE)
    tasks.verify_all()
    assert Verification.objects.get().anchored == Leaf.objects.count()
    (tmp_path / "anchored.jsonl").unlink()
    tasks.verify_all()
    kept = Verification.objects.get()
    assert (kept.verdict, kept.verified_size) == ("error", Leaf.objects.count())
    assert "is gone" in kept.error


def test_nothing_is_held_while_it_verifies(log, django_assert_max_num_queries):
    """No transaction of its own, and a number of queries that does not grow with each entry."""
    log.write(40)
    with django_assert_max_num_queries(30) as asked:
        verification.verify_log(anchors=[], receipts=[])
    assert not [query for query in asked.captured_queries if "SAVEPOINT" in query["sql"] or "BEGIN" in query["sql"]]
    assert connection.vendor in ("sqlite", "postgresql")


def test_the_receipts_that_the_log_really_has(log, capsys, tmp_path, unguarded, django_capture_on_commit_callbacks):
    handler = logging.FileHandler(tmp_path / "log.jsonl")
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("opssight.receipt")
    logger.addHandler(handler)
    level, logger.level = logger.level, logging.INFO
    with django_capture_on_commit_callbacks(execute=True):
        registry["findings:raised"].emit(number=1)
        entry = AuditEntry.objects.latest("pk")
    logger.removeHandler(handler)
    logger.level = level
    handler.close()
    assert run(capsys, "--receipts", str(tmp_path / "log.jsonl"))[0] == 0
    drop_entry(entry.pk)
    sql("DELETE FROM sealing_pending WHERE entry_id = %s", entry.pk)
    said = run(capsys, "--receipts", str(tmp_path / "log.jsonl"))[1]
    assert said["counts"]["receipt_missing"] == 1
