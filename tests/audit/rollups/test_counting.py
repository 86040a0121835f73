"""The figures are what the sealed entries come to, whatever the order, the batches and the rollbacks."""

import re
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from types import SimpleNamespace

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit import guard
from audit.models import AuditEntry
from audit.rollups import services
from audit.rollups.models import ALL, DayCount, DayUser
from audit.sealing.models import Leaf
from audit.sealing.reading import sealed
from audit.sealing.recount import Recount, rebuild
from audit.sealing.sealer import seal
from audit.sealing.verification import verify_log
from audit.tags import FRAMEWORKS
from opssight.kernel.ids import new_uid
from tests.audit.rollups.helpers import naive, write

START, END = date(2026, 1, 1), date(2026, 1, 6)
ZERO = dict.fromkeys(services.COUNTS, 0)
KINDS = [
    {"event": "sessions:started"},
    {"event": "sessions:refused", "success": False},
    {"event": "trail:reported"},
    {"event": "made:up"},
    {"resource_type": "accounts.user", "action": AuditEntry.Action.ACCESS},
    {"resource_type": "accounts.user", "action": AuditEntry.Action.UPDATE},
    {"resource_type": "scanning.asset", "action": AuditEntry.Action.DELETE},
    {"resource_type": "scanning.finding", "action": AuditEntry.Action.CREATE, "event": "findings:raised"},
    {"resource_type": "compliance.control", "action": AuditEntry.Action.UPDATE},
]
moments = st.integers(0, 6 * 24 * 60 + 240).map(lambda n: datetime(2025, 12, 31, 22, tzinfo=UTC) + timedelta(minutes=n))
entries = st.tuples(moments, st.sampled_from(KINDS), st.sampled_from([None, 1, 2, 3]))
# What a transaction wrote, whether it was rolled back, and whether the sealer came by behind it.
histories = st.lists(st.tuples(st.lists(entries, max_size=4), st.booleans(), st.booleans()), max_size=8)


def figures(framework: str) -> dict[str, dict[str, int]]:
    rows = services.days(START, END, framework)
    assert [row.day for row in rows] == [START + timedelta(days=n) for n in range(6)]
    return {str(row.day): {name: getattr(row, name) for name in services.COUNTS} for row in rows}


def assert_equal_to_the_naive_query() -> None:
    for framework in (ALL, *FRAMEWORKS):
        days, users = naive(START, END, framework)
        assert figures(framework) == {str(START + timedelta(days=n)): ZERO for n in range(6)} | days
        assert services.unique_users(START, END, framework) == users


def differences() -> list[str]:
    report, _ = verify_log(anchors=[], receipts=[])
    return [problem["detail"] for problem in report.problems if problem["kind"] == "rollup_wrong"]


def kept() -> list[list[dict[str, object]]]:
    return [list(model.objects.order_by("pk").values()) for model in (DayCount, DayUser)]


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])  # rolled back
@given(history=histories)
def test_figures_equal_the_naive_query(db, history):
    example = transaction.savepoint()  # an atomic block would count as one that the sealer must not be inside
    for written, is_lost, is_sealed in history:
        with transaction.atomic():
            for moment, kind, user in written:
                write(moment, actor_id=user, **kind)
            transaction.set_rollback(is_lost)
        if is_sealed:
            seal()
    seal()
    assert_equal_to_the_naive_query()
    assert services.covered() == AuditEntry.objects.count() == Leaf.objects.count()
    assert differences() == []
    before = kept()
    rebuild()
    assert kept() == before
    transaction.savepoint_rollback(example)


def test_what_is_not_sealed_is_not_counted_yet(db):
    seal()
    before = services.covered()
    write(datetime(2026, 1, 2, tzinfo=UTC), event="sessions:started", actor_id=1)
    assert services.covered() == before
    seal()
    assert services.covered() == before + 1


def test_a_late_entry_counts_on_its_own_day(db):
    for moment in (datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 2, 23, 59, 59, 999999, tzinfo=UTC)):
        write(moment, event="sessions:started", actor_id=1)
        seal()
    assert [row.total for row in services.days(START, END)] == [0, 1, 0, 0, 1, 0]
    assert services.unique_users(START, END) == 1


def test_a_user_of_several_batches_and_days_is_one(db):
    for n in range(4):
        write(datetime(2026, 1, 1 + n // 2, n, tzinfo=UTC), event="sessions:started", actor_id=7)
        seal()
    assert [row.unique_users for row in services.days(START, END, "SOC2")] == [1, 1, 0, 0, 0, 0]
    assert services.unique_users(START, END, "SOC2") == 1
    assert services.unique_users(START, END, "GDPR") == 0


@pytest.mark.parametrize("tags", ["SOC2", 5, None, {"SOC2": 1}, [["SOC2"]], [{"SOC2": 1}, "x" * 99], ["SOC2", "SOC2"]])
@pytest.mark.parametrize("moment", [datetime.min, datetime(999, 1, 2), datetime.max])  # noqa: DTZ001, DTZ901
def test_a_forged_entry_is_counted_and_stops_nothing(db, tags, moment):
    forged = {"actor_id": "someone", "action": 77, "success": 5, "compliance_tags": tags}
    services.count([SimpleNamespace(timestamp=moment.replace(tzinfo=UTC), **forged)])
    row = DayCount.objects.get(framework=ALL)
    assert (row.day, row.total, row.events, row.failed, row.without_user) == (moment.date(), 1, 1, 0, 1)
    assert DayCount.objects.count() == (2 if tags == ["SOC2", "SOC2"] else 1)


def test_what_cannot_be_read_is_sealed_and_belongs_to_no_day(db):
    """On SQLite any column takes any text; written past the application, as the trigger still finds it."""
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL refuses it")
    write(datetime(2026, 1, 2, tzinfo=UTC), event="sessions:started", actor_id=1)
    seal()
    before = services.covered()
    columns = ", ".join(field.column for field in AuditEntry._meta.concrete_fields if field.column not in ("id", "uid"))
    for moment in ("no time", "!", "2026-13-45 00:00:00", "2026-01-02 00:00:00.000000"):
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO audit_auditentry (uid, {columns}) SELECT %s, {columns} FROM audit_auditentry"
                " ORDER BY id DESC LIMIT 1",
                [new_uid().hex],
            )
            key = cursor.lastrowid
            guard.remove(connection)
            cursor.execute("UPDATE audit_auditentry SET timestamp = %s WHERE id = %s", [moment, key])
            if moment[0] == "2":
                cursor.execute("UPDATE audit_auditentry SET changes = '1e999' WHERE id = %s", [key])
            guard.install(connection)
    assert seal() >= 4
    assert services.covered() == before + Leaf.objects.count() - before - 4
    assert differences() == []
    rebuild()
    assert differences() == []


TAMPERINGS = {
    "UPDATE rollups_daycount SET failed = 0 WHERE failed > 0 AND framework = 'SOC2'": {"failed"},
    "UPDATE rollups_daycount SET deletions = deletions + 1 WHERE framework = 'all'": {"deletions"},
    "DELETE FROM rollups_daycount WHERE framework = 'GDPR'": {"total", "failed", "events", "without_user"},
    "DELETE FROM rollups_daycount": {"total", "failed", "events", "without_user", "unique_users"},
    "DELETE FROM rollups_dayuser": {"users"},
    "UPDATE rollups_dayuser SET user_id = user_id + 1": {"users"},
    "INSERT INTO rollups_dayuser (framework, day, user_id) VALUES ('SOC2', '2020-02-02', 4)": {"users"},
    f"INSERT INTO rollups_daycount (framework, day, {', '.join(services.COUNTS)})"
    " VALUES ('SOC2', '2020-02-02', 9, 0, 0, 0, 0, 0, 9, 0, 9)": {"total", "events", "without_user"},
}


@pytest.mark.parametrize("statement", TAMPERINGS)
def test_a_figure_that_was_changed_is_found_and_counted_anew(db, statement):
    write(datetime(2026, 1, 2, tzinfo=UTC), event="sessions:refused", success=False)
    write(datetime(2026, 1, 2, tzinfo=UTC), event="sessions:started", actor_id=1)
    seal()
    assert differences() == []
    with connection.cursor() as cursor:
        cursor.execute(statement)
    assert set(re.findall(r": (\w+) is ", "\n".join(differences()))) >= TAMPERINGS[statement]
    rebuild()
    assert differences() == []
    assert_equal_to_the_naive_query()


def test_what_is_sealed_while_the_check_runs_is_no_difference(db):
    seal()
    recount = Recount()
    for leaf in sealed(0, Leaf.objects.count()):
        recount.add(leaf.position, leaf.entry.row)
    for n in range(3):
        write(datetime(2026, 1, 2, n, tzinfo=UTC), event="sessions:started", actor_id=n)
    seal()
    assert recount.differences() == []
    assert recount.size == Leaf.objects.count()


def test_the_check_ends_at_the_last_day_there_can_be(db):
    write(datetime(9999, 12, 31, 23, 59, tzinfo=UTC), event="sessions:started", actor_id=1)
    seal()
    assert differences() == []


def test_the_command_counts_anew_and_says_so(db):
    write(datetime(2026, 1, 2, tzinfo=UTC), event="sessions:started", actor_id=1)
    seal()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM rollups_daycount")
    assert differences() != []
    call_command("recount_trail", stdout=StringIO())
    entry = AuditEntry.objects.latest("id")
    assert (entry.event, entry.additional_data) == (
        "trail:recounted", {"before": 0, "counted": Leaf.objects.count()},
    )  # fmt: skip
    assert differences() == []
