"""What a result is: written once, true to its rows, told to the trail, and good for a while only."""

from datetime import timedelta
from threading import Barrier, Thread
from unittest.mock import patch

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.models import AuditEntry
from compliance import services
from compliance.checks import base
from compliance.checks.base import Evaluation, Row
from compliance.models import Contribution, Control, Framework, Requirement, Result, ResultRow, RowSet, State
from compliance.tasks import evaluate_controls
from opssight.kernel.appendonly import AppendOnly
from opssight.kernel.ids import new_uid
from tests.compliance.factories import make_asset, make_scan
from tests.rows import untold

NOW = timezone.now()
HOUR = timedelta(hours=1)


def rows(*failed: bool) -> list[Row]:
    return [Row("scanning.asset", new_uid(), fails, "found", f"asset {n}") for n, fails in enumerate(failed)]


@pytest.fixture
def finds(monkeypatch):
    """`finds(evaluation)`: what vuln.cadence finds from now on; an exception is raised."""

    def set_to(found) -> None:
        def test(params, at):
            if isinstance(found, Exception):
                raise found
            return found

        monkeypatch.setitem(base.registry, "vuln.cadence", test)

    return set_to


# --- figures and rows ---------------------------------------------------------------------------------------------


@given(verdicts=st.lists(st.booleans(), max_size=30))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_figures_equal_rows_and_nothing_is_passed_without_one(db, verdicts):
    finds = {"vuln.cadence": lambda params, at: Evaluation(rows(*verdicts), "x")}
    with patch.dict(base.registry, finds), transaction.atomic():
        result = services.evaluate(Control.objects.get(key="vuln.cadence"))
        stored = list(result.row_set.rows.all())
        assert result.population == len(stored) == len(verdicts)
        assert result.failed == sum(row.failed for row in stored) == sum(verdicts)
        assert result.state == (State.UNKNOWN if not verdicts else State.FAIL if any(verdicts) else State.PASS)
        assert services.digest_of(stored) == result.row_set.digest
        transaction.set_rollback(True)


def test_equal_rows_are_kept_once_and_changed_ones_anew(evaluate):
    make_scan(asset := make_asset("shop"), ended=NOW - HOUR)
    first, second = evaluate("vuln.cadence"), evaluate("vuln.cadence")
    assert first.pk != second.pk
    assert (first.row_set, ResultRow.objects.count()) == (second.row_set, 1)
    make_scan(asset)
    third = evaluate("vuln.cadence")
    assert third.row_set != first.row_set
    assert first.row_set.rows.get().detail != third.row_set.rows.get().detail


def test_the_digest_covers_what_each_row_says_and_not_their_order(db):
    def row(**change):
        return ResultRow(**{"resource_type": "scanning.asset", "resource_uid": uid, "failed": False, **change})

    uid, other = new_uid(), new_uid()
    pair = [row(), row(resource_uid=other)]
    assert services.digest_of(pair) == services.digest_of(reversed(pair))
    marks = {
        services.digest_of([row(**change)])
        for change in ({}, {"failed": True}, {"label": "a"}, {"detail": "a"}, {"resource_uid": other})
    }
    assert len(marks) == 5


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError("secret detail"), KeyError("x"), IntegrityError("x")])
def test_a_test_that_raises_is_an_error_with_a_sentence_and_no_pass(evaluate, finds, caplog, error):
    make_scan(make_asset("shop"))
    assert evaluate("vuln.cadence").state == State.PASS
    finds(error)
    result = evaluate("vuln.cadence")
    assert (result.state, result.population, result.failed) == (State.ERROR, 0, 0)
    assert type(error).__name__ in result.reason
    assert "secret" not in result.reason
    assert "control vuln.cadence" in caplog.text
    entry = AuditEntry.objects.filter(event="controls:evaluated").latest("id")
    assert (entry.success, entry.error_message) == (False, result.reason)


def test_a_test_that_breaks_the_transaction_leaves_its_error_behind(evaluate, monkeypatch):
    def breaks(params, at):
        with connection.cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")

    monkeypatch.setitem(base.registry, "vuln.cadence", breaks)
    assert evaluate("vuln.cadence").state == State.ERROR
    assert Result.objects.get().state == State.ERROR


def test_a_control_without_a_test_is_an_error(evaluate, monkeypatch):
    monkeypatch.delitem(base.registry, "vuln.cadence")
    assert evaluate("vuln.cadence").state == State.ERROR


def test_one_record_twice_is_an_error_and_leaves_no_rows(evaluate, finds):
    finds(Evaluation(rows(False) * 2, "x"))
    assert evaluate("vuln.cadence").state == State.ERROR
    assert not ResultRow.objects.exists()


def test_one_broken_test_leaves_the_others_alone(db, finds):
    finds(RuntimeError())
    states = {result.control.key: result.state for result in services.evaluate_all()}
    assert states == {"iam.mfa.privileged": "unknown", "vuln.cadence": "error", "vuln.sla.critical": "unknown"}


def test_odd_characters_are_stored_as_both_databases_can(evaluate, finds):
    finds(Evaluation([Row("scanning.asset", new_uid(), True, "x\0" * 400, "\ud800" * 400)], "re\0ason"))
    result = evaluate("vuln.cadence")
    assert (result.state, "\0" in result.reason) == (State.FAIL, False)
    assert len(result.row_set.rows.get().detail) == 500


# --- written once -------------------------------------------------------------------------------------------------


def test_results_and_rows_are_never_changed_or_deleted(evaluate):
    make_asset("shop")
    result = evaluate("vuln.cadence")
    for model in (Result, RowSet, ResultRow):
        row = model.objects.latest("id")
        twin = model(pk=row.pk)  # a new object under an old key
        for change in (
            row.save,
            row.delete,
            model.objects.all().delete,
            lambda model=model: model.objects.update(pk=0),
            lambda model=model, row=row: model.objects.bulk_update([row], [model._meta.fields[1].name]),
            lambda model=model, row=row: model.objects.bulk_create(
                [row], update_conflicts=True, update_fields=[model._meta.fields[1].name], unique_fields=["id"]
            ),
        ):
            with pytest.raises(AppendOnly), transaction.atomic():
                change()
        with pytest.raises(IntegrityError), transaction.atomic():
            twin.save()
    assert Result.objects.get() == result


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "pass", "population": 0, "failed": 0},
        {"state": "fail", "population": 3, "failed": 0},
        {"state": "fail", "population": 3, "failed": 4},
        {"state": "met", "population": 3, "failed": 0},
    ],
)
def test_the_database_refuses_results_that_contradict_themselves(db, wrong):
    values = {
        "control": Control.objects.first(), "row_set": RowSet.objects.create(digest="0" * 64),
        "evaluated_at": NOW, "valid_until": NOW + HOUR, "reason": "x",
    }  # fmt: skip
    with pytest.raises(IntegrityError), transaction.atomic():
        Result.objects.create(**values, **wrong)


# --- good for a while ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("later", "state"),
    [
        (timedelta(0), "pass"),
        (26 * HOUR, "pass"),
        (26 * HOUR + timedelta(microseconds=1), "unknown"),
        (timedelta(days=4000), "unknown"),
        (-timedelta(minutes=5), "pass"),  # clocks of two machines
        (-timedelta(minutes=6), "unknown"),
    ],
)
def test_a_result_reads_as_unknown_once_it_is_older_than_it_counts(evaluate, later, state):
    make_scan(make_asset("shop"), ended=NOW - HOUR)
    result = evaluate("vuln.cadence", at=NOW)
    assert result.state == State.PASS
    assert result.state_at(NOW + later) == state
    if later > HOUR * 27:
        assert result.read_at(NOW + later)[1].startswith("Stale: ")
        assert "26 hours" in result.read_at(NOW + later)[1]


def test_a_stale_fail_and_a_stale_error_are_unknown_too(evaluate, finds):
    for found in (Evaluation(rows(True), "x"), RuntimeError()):
        finds(found)
        result = evaluate("vuln.cadence", at=NOW)
        assert result.state in (State.FAIL, State.ERROR)
        assert result.state_at(NOW + 27 * HOUR) == State.UNKNOWN


def test_a_control_reads_as_its_newest_result(evaluate):
    def reading():
        return services.readings(Control.objects.with_latest().filter(key="vuln.cadence"), at=timezone.now())[0]

    assert (reading().state, reading().reason, reading().result) == (State.UNKNOWN, services.NEVER, None)
    evaluate("vuln.cadence")
    make_scan(make_asset("shop"))
    second = evaluate("vuln.cadence")
    assert (reading().state, reading().result) == (State.PASS, second)


# --- the trail ----------------------------------------------------------------------------------------------------


def told(control: Control) -> list[str]:
    return list(AuditEntry.objects.about(control).exclude(event="").order_by("id").values_list("event", flat=True))


def test_each_evaluation_stands_in_the_trail_with_the_digest_of_its_rows(evaluate):
    make_asset("shop")
    result = evaluate("vuln.cadence")
    entry = AuditEntry.objects.about(result.control).get(event="controls:evaluated")
    assert entry.additional_data == {
        "result": str(result.uid), "state": "fail", "population": 1, "failed": 1, "digest": result.row_set.digest,
    }  # fmt: skip
    assert entry.success


def test_what_changed_is_told_apart_from_what_was_evaluated(evaluate, finds):
    good, bad, dark = Evaluation(rows(False), "x"), Evaluation(rows(True), "x"), base.unknown("x")
    for found in (dark, good, good, bad, bad, good, RuntimeError(), dark, good, dark, bad):
        finds(found)
        evaluate("vuln.cadence")
    changes = [name for name in told(Control.objects.get(key="vuln.cadence")) if name != "controls:evaluated"]
    assert changes == [f"controls:{what}" for what in (
        "recovered", "failed", "recovered", "lost", "recovered", "lost", "failed",
    )]  # fmt: skip


def test_a_first_result_that_fails_is_told_and_one_that_passes_is_not(evaluate, finds):
    finds(Evaluation(rows(False), "x"))
    control = evaluate("vuln.cadence").control
    assert told(control) == ["controls:evaluated"]
    assert evaluate("iam.mfa.privileged").state == State.UNKNOWN
    assert "controls:lost" not in told(Control.objects.get(key="iam.mfa.privileged"))


def test_the_hourly_task_evaluates_everything_as_itself(db):
    evaluate_controls()
    evaluate_controls()  # twice does no harm
    assert Result.objects.count() == 2 * Control.objects.count()
    entry = AuditEntry.objects.filter(event="controls:evaluated").latest("id")
    assert (entry.actor_kind, entry.actor_label) == ("system", "Controls")


def test_the_beat_knows_the_task():
    from django.conf import settings as django_settings

    names = {job["task"] for job in django_settings.CELERY_BEAT_SCHEDULE.values()}
    assert evaluate_controls.name in names


# --- the catalogue ------------------------------------------------------------------------------------------------


def test_the_catalogue_is_written_once_and_brought_up_to_date(db):
    counts = [model.objects.count() for model in (Framework, Requirement, Control, Contribution)]
    assert counts == [3, 8, 3, 11]
    with untold():
        Control.objects.filter(key="vuln.cadence").update(title="changed by hand", params={"within_hours": 9})
    stray = Requirement.objects.create(framework=Framework.objects.first(), ref="X", title="x")
    Contribution.objects.create(control=Control.objects.first(), requirement=stray)
    entries = AuditEntry.objects.count()
    services.sync_catalogue()
    assert Control.objects.get(key="vuln.cadence").params == {"within_hours": 168}
    assert Contribution.objects.count() == 11
    services.sync_catalogue()
    assert AuditEntry.objects.count() == entries + 2  # the control's values, the stray contribution


def test_every_framework_of_the_three_has_its_requirements(db):
    refs = {f.key: set(f.requirements.values_list("ref", flat=True)) for f in Framework.objects.all()}
    assert refs == {
        "soc2_tsc_2017": {"CC6.1", "CC7.1", "CC7.4"},
        "iso_27001_2022": {"A.8.2", "A.8.5", "A.8.8"},
        "gdpr": {"32(1)(b)", "32(1)(d)"},
    }
    assert not Requirement.objects.filter(controls=None).exists()


@pytest.mark.skipif(connection.vendor == "sqlite", reason="the tests' database in memory has one writer and no queue")
@pytest.mark.django_db(transaction=True)
def test_parallel_evaluations_wait_for_each_other():
    make_scan(make_asset("shop"))
    gate, problems = Barrier(4), []

    def run() -> None:
        try:
            gate.wait()
            services.evaluate_all()
        except Exception as error:
            problems.append(error)
        finally:
            connection.close()

    threads = [Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert Result.objects.count() == 12
    for control in Control.objects.all():
        moments = list(control.results.order_by("id").values_list("evaluated_at", flat=True))
        assert moments == sorted(moments)
    assert RowSet.objects.count() == 3  # nobody privileged, the scans, the deadlines
