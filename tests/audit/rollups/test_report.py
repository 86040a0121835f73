"""The period report: the seed's, without its traps."""

import csv
import json
import re
from datetime import UTC, date, datetime, timedelta
from html import unescape
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.utils import timezone
from rest_framework.serializers import ListSerializer, Serializer

from audit import guard
from audit.models import AuditEntry
from audit.reports.formats import COLUMNS, as_dict
from audit.reports.serializers import ReportSerializer
from audit.reports.services import MOST_DAYS, NoReport, period_of, report
from audit.rollups.models import ALL
from audit.sealing.models import Checkpoint, Delivery, Leaf, Pending
from audit.tags import FRAMEWORKS
from rbac.models import Role
from rbac.role_book import save_role
from rbac.services import assign_role, create_unit, root_unit
from tests.audit.rollups.helpers import naive, write
from tests.conftest import make_person

Action = AuditEntry.Action
TODAY = date(2026, 6, 15)
MONTH = "framework=SOC2&start=2026-01-01&end=2026-01-31"


def at(day: int, *clock: int) -> datetime:
    return datetime(2026, 1, day, *clock, tzinfo=UTC)


def signed_in(moment: datetime, user: int | None = 1) -> AuditEntry:
    return write(moment, event="sessions:started", actor_id=user)


def days_of(framework: str, start: int = 1, end: int = 31) -> dict[str, dict[str, int]]:
    made = as_dict(report(period_of(framework, f"2026-01-{start:02}", f"2026-01-{end:02}")))
    return {row.pop("date"): row for row in made["daily_summary"]}


# --- the traps ----------------------------------------------------------------------------------------------------


def test_the_last_day_is_inside_to_its_last_microsecond(db):
    signed_in(at(1))
    signed_in(at(31, 23, 59, 59, 999999))
    signed_in(at(31, 23, 59, 59, 999999) + timedelta(microseconds=1))
    signed_in(at(1) - timedelta(microseconds=1))
    days = days_of("SOC2")
    assert (days["2026-01-01"]["total_actions"], days["2026-01-31"]["total_actions"]) == (1, 1)
    assert sum(day["total_actions"] for day in days.values()) == 2


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "Pacific/Honolulu"])
def test_days_are_those_of_utc_whatever_the_zone(db, zone):
    """The database's days are never asked for; Django sets its session to UTC."""
    with timezone.override(zone):
        signed_in(at(5, 23, 30))
        signed_in(at(5, 0, 30))
        assert days_of("SOC2")["2026-01-05"]["total_actions"] == 2


@pytest.mark.parametrize("framework", ["%", "SOC%", "SOC_", "SOC", "SOC2-TYPE1", "soc2", "", "SOC2' OR '1'='1", "\0"])
def test_a_framework_is_named_exactly(db, framework):
    with pytest.raises(NoReport, match="is no framework here"):
        period_of(framework, "2026-01-01", "2026-01-31")


def test_entries_of_a_longer_tag_are_not_those_of_a_shorter(db):
    entry = AuditEntry(event="tried:out", timestamp=at(3))
    side = entry.prepare()
    entry.compliance_tags = ["SOC2-TYPE1", "PCIXDSS"]
    entry.mac = entry.expected_mac()
    AuditEntry.objects.bulk_create([entry])
    side.entry = entry
    side.save()
    assert days_of("SOC2")["2026-01-03"]["total_actions"] == days_of("PCI_DSS")["2026-01-03"]["total_actions"] == 0
    assert days_of(ALL)["2026-01-03"]["total_actions"] == 1


def test_entries_without_an_account_are_told_apart_and_not_lost(db):
    for user in (None, None, 1, 1, 2):
        signed_in(at(3), user)
    day = days_of("SOC2")["2026-01-03"]
    assert (day["total_actions"], day["unique_users"], day["without_user"]) == (5, 2, 2)


def test_days_without_entries_are_printed_as_zero(db):
    signed_in(at(3))
    days = days_of("SOC2")
    assert list(days) == [f"2026-01-{day:02}" for day in range(1, 32)]
    assert days["2026-01-04"] == dict.fromkeys(COLUMNS[1:], 0)


def test_no_two_frameworks_report_the_same(db):
    signed_in(at(3))
    write(at(3), resource_type="accounts.user", action=Action.ACCESS, actor_id=1)
    write(at(3), resource_type="scanning.asset", action=Action.DELETE, actor_id=1)
    write(at(3), resource_type="rbac.unit", action=Action.CREATE, actor_id=1)
    assert {key: days_of(key)["2026-01-03"]["total_actions"] for key in (*FRAMEWORKS, ALL)} == {
        "SOC2": 3, "GDPR": 1, "ISO27001": 4, "PCI_DSS": 2, ALL: 4,
    }  # fmt: skip


# --- what may be asked --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "wrong", "sentence"),
    [
        ("2026-01-31", "2026-01-01", "start", "Exchange the two"),
        ("2026-06-01", "2026-06-16", "end", "Nothing is known yet of 2026-06-16: today is 2026-06-15"),
        ("2016-06-07", "2026-06-15", "start", "3,661 days, and a report at most 3,660"),
        ("0001-01-01", "2026-06-15", "start", "739,782 days"),
        ("2026-02-29", "2026-03-01", "start", "2026-02-29 is no day"),
        ("2026-01-01", "2026-01-31T23:59:59Z", "end", "is no day"),
        ("20260101", "2026-01-31", "start", "is no day"),
        ("2026-W01-1", "2026-01-31", "start", "is no day"),
        ("2026-1-1", "2026-01-31", "start", "is no day"),
        ("２０２６-01-01", "2026-01-31", "start", "is no day"),
        ("", "2026-01-31", "start", "Nothing is no day. Write it as 2026-01-31"),
        ("2026-01-01", "x" * 9_999, "end", "is no day"),
        ("2026-01-01", "\0", "end", "is no day"),
    ],
)
def test_periods_that_cannot_be_are_refused_with_a_sentence(start, end, wrong, sentence):
    with pytest.raises(NoReport) as caught:
        period_of("SOC2", start, end, today=TODAY)
    assert caught.value.errors.keys() == {wrong}
    assert sentence in caught.value.errors[wrong]
    assert len(caught.value.detail) < 200


def test_every_wrong_parameter_gets_its_sentence():
    with pytest.raises(NoReport) as caught:
        period_of("SOX", "yesterday", "tomorrow", today=TODAY)
    assert caught.value.errors.keys() == {"framework", "start", "end"}


def test_one_day_and_the_longest_period_are_reports():
    assert period_of("SOC2", "2026-06-15", "2026-06-15", today=TODAY).start == TODAY
    first = TODAY - timedelta(days=MOST_DAYS - 1)
    assert period_of(ALL, str(first), str(TODAY), today=TODAY).start == first


# --- what it covers -----------------------------------------------------------------------------------------------


def test_it_covers_all_that_was_written_before_and_says_so_with_the_root(db):
    signed_in(at(3))
    assert Pending.objects.exists()
    made = as_dict(report(period_of("SOC2", "2026-01-01", "2026-01-31")))
    newest = Checkpoint.objects.newest()
    size, root = newest.note.splitlines()[1:3]
    assert (made["covers"]["size"], made["covers"]["root"]) == (int(size), root)
    assert made["covers"]["counted"] == Leaf.objects.count() == newest.size
    assert (made["covers"]["complete"], made["covers"]["anchored"], made["covers"]["quarantined"]) == (True, None, 0)
    entry = AuditEntry.objects.latest("id")
    assert entry.event == "trail:reported"
    assert entry.additional_data == {
        "framework": "SOC2", "start": "2026-01-01", "end": "2026-01-31", "size": newest.size,
    }  # fmt: skip
    assert Pending.objects.filter(entry=entry).exists()


def test_it_names_the_largest_checkpoint_that_an_anchor_took(db):
    report(period_of(ALL, "2026-01-01", "2026-01-31"))
    first = Checkpoint.objects.newest()
    Delivery.objects.create(checkpoint=first, anchor="file", at=at(4), next_try=at(4))
    made = as_dict(report(period_of(ALL, "2026-01-01", "2026-01-31")))
    assert made["covers"]["anchored"] == {"size": first.size, "at": "2026-01-04T00:00:00Z"}
    assert made["covers"]["size"] == first.size + 1


def test_distinct_users_of_a_period_are_no_sum(db):
    for day in (3, 4, 5):
        signed_in(at(day), 1)
    signed_in(at(5), 2)
    made = report(period_of("SOC2", "2026-01-01", "2026-01-31"))
    assert [day.unique_users for day in made.days[2:5]] == [1, 1, 2]
    assert made.totals()["unique_users"] == 2
    assert (made.totals()["total"], made.trail_begins) == (4, at(3).date())


def test_over_a_broken_checkpoint_there_is_no_report(db, adam, client_for):
    report(period_of(ALL, "2026-01-01", "2026-01-31"))
    guard.remove(connection)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sealing_checkpoint SET note = 'nothing'")
    guard.install(connection)
    answer = client_for(adam).get(f"/api/v1/trail/report?{MONTH}")
    assert answer.status_code == 409
    assert "verify_trail" in answer.json()["detail"]
    assert client_for(adam).get(f"/trail/report?{MONTH}").status_code == 409
    with pytest.raises(CommandError, match="verify_trail") as caught:
        call_command("trail_report", "--from", "2026-01-01", "--to", "2026-01-31")
    assert caught.value.returncode == 3


def assert_described(serializer: Any, told: dict[str, Any]) -> None:
    assert serializer.fields.keys() == told.keys()
    for name, field in serializer.fields.items():
        inner = field.child if isinstance(field, ListSerializer) else field
        if isinstance(inner, Serializer) and told[name]:
            assert_described(inner, told[name][0] if isinstance(told[name], list) else told[name])


# --- API ----------------------------------------------------------------------------------------------------------


def test_the_api_answers_with_the_report_and_its_description_fits(adam, client_for):
    for user in (1, 2, None):
        signed_in(at(3), user)
    write(at(4), event="access:denied", success=False, actor_id=1)
    made = client_for(adam).get(f"/api/v1/trail/report?{MONTH}").json()
    rows, users = naive(date(2026, 1, 1), date(2026, 1, 31), "SOC2")
    told = {row["date"]: row for row in made["daily_summary"]}
    for day, figures in rows.items():
        assert (told[day]["total_actions"], told[day]["failed_actions"]) == (figures["total"], figures["failed"])
        assert (told[day]["unique_users"], told[day]["events"]) == (figures["unique_users"], figures["events"])
    assert (made["framework"], made["period"]) == ("SOC2", {"start": "2026-01-01", "end": "2026-01-31"})
    assert made["totals"]["unique_users"] == users == 2
    assert_described(ReportSerializer(), made)
    assert {"CC6.1"} <= {clause for one in made["mapping"]["evidence"] for clause in one["clauses"]}


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("", {"framework", "start", "end"}),
        ("framework=SOC2&start=2026-01-31&end=2026-01-01", {"start"}),
        ("framework=SOC%25&start=2026-01-01&end=2026-01-31", {"framework"}),
        (f"{MONTH}&days=3", {"days"}),
        (f"{MONTH}&start=2026-01-02", {"start"}),
    ],
)
def test_the_api_refuses_what_is_no_report_and_leaves_no_entry(adam, client_for, query, named):
    answer = client_for(adam).get(f"/api/v1/trail/report?{query}")
    assert (answer.status_code, answer.json()["errors"].keys()) == (400, named)
    assert not AuditEntry.objects.filter(event="trail:reported").exists()


@pytest.mark.parametrize("path", ["/trail/report", "/api/v1/trail/report"])
def test_the_report_is_for_those_with_its_permission_and_tells_no_entries(adam, dev, client_for, path):
    role = Role(key="board", name="Board")
    save_role(role, permissions={"trail:report", "me:read"}, parents=[])
    board = client_for(make_person("Bea", "board"))
    assert client_for(dev).get(f"{path}?{MONTH}").status_code == 403
    assert client_for(adam).get(f"{path}?{MONTH}").status_code == 200
    signed_in(at(3))
    answer = board.get(f"{path}?{MONTH}")
    assert answer.status_code == 200
    assert "/trail?" not in answer.content.decode()
    assert board.get("/api/v1/trail").status_code == 403


@pytest.mark.parametrize("path", ["/trail/report", "/api/v1/trail/report"])
def test_an_auditor_of_one_unit_gets_no_figures_of_the_whole(db, client_for, path):
    person = make_person("Una")
    assign_role(person, "auditor", reason="cast", unit=create_unit("Payments", parent=root_unit()))
    assert client_for(person).get(f"{path}?{MONTH}").status_code == 403
    assert not AuditEntry.objects.filter(event="trail:reported").exists()


# --- console ------------------------------------------------------------------------------------------------------


def test_the_form_alone_makes_no_report(adam, client_for):
    page = client_for(adam).get("/trail/report").content.decode()
    assert "Make the report" in page
    assert "Distinct users" not in page
    assert not AuditEntry.objects.filter(event="trail:reported").exists()


def test_every_number_with_a_link_leads_to_exactly_its_rows(adam, client_for):
    signed_in(at(3), adam.pk)
    for action in (Action.CREATE, Action.UPDATE, Action.UPDATE, Action.ACCESS, Action.DELETE):
        write(at(4, 23, 59, 59), resource_type="rbac.role", action=action, actor_id=adam.pk)
    write(at(4), event="sessions:refused", success=False)
    write(at(5), resource_type="scanning.asset", action=Action.CREATE)  # no evidence for SOC 2
    client = client_for(adam)
    page = client.get(f"/trail/report?{MONTH}").content.decode()
    links = re.findall(r'<td class="num"><a href="(/trail\?[^"]+)">([\d,]+)</a>', page)
    assert len(links) == 7  # one day has a total alone, the other one total, failed and four actions
    for link, number in links:
        found = client.get("/api/v1" + unescape(link)).json()
        assert len(found["results"]) == int(number), link


def test_a_long_period_is_shown_by_month_and_its_files_have_every_day(adam, client_for):
    signed_in(at(3))
    client = client_for(adam)
    query = "framework=SOC2&start=2024-06-15&end=2026-06-15"
    page = client.get(f"/trail/report?{query}").content.decode()
    assert "By month" in page
    assert page.count('<tr><th scope="row">1 Jan 20') == 2
    response = client.get(f"/trail/report?{query}&format=csv")
    rows = list(csv.DictReader(StringIO(response.content.decode())))
    assert len(rows) == 731 + 1
    assert [row["total_actions"] for row in rows if row["date"] in ("2026-01-03", "total")] == ["1", "1"]
    assert response["Content-Disposition"].endswith('"trail-report-SOC2-2024-06-15-2026-06-15.csv"')
    assert client.get(f"/trail/report?{query}&format=json").json()["totals"]["total_actions"] == 1


def test_what_is_wrong_stands_beside_its_field(adam, client_for):
    client = client_for(adam)
    answer = client.get("/trail/report?framework=%3Cb%3E&start=2026-02-30&end=")
    page = answer.content.decode()
    assert answer.status_code == 400
    assert "2026-02-30 is no day" in page
    assert "&lt;b&gt; is no framework here" in page
    assert page.count('aria-invalid="true"') == 3
    assert client.get(f"/trail/report?{MONTH}&format=pdf").status_code == 404


def test_an_entry_shows_what_it_is_evidence_for(adam, client_for):
    entry = signed_in(at(3))
    client = client_for(adam)
    assert "/trail?framework=PCI_DSS" in client.get(f"/trail/{entry.uid}").content.decode()
    told = client.get(f"/api/v1/trail/{entry.uid}").json()
    assert (told["compliance_tags"], told["tags_version"]) == (entry.compliance_tags, entry.tags_version)
    listed = client.get("/api/v1/trail?framework=PCI_DSS&until=2026-01-31").json()["results"]
    assert [row["uid"] for row in listed] == [str(entry.uid)]
    assert client.get("/api/v1/trail?framework=PCI_DSS&since=2026-01-04&until=2026-01-31").json()["results"] == []
    assert client.get("/api/v1/trail?framework=SOC").status_code == 400


# --- command ------------------------------------------------------------------------------------------------------


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("trail_report", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_prints_table_json_and_csv(db, tmp_path):
    signed_in(at(3))
    month = ("--framework", "SOC2", "--from", "2026-01-01", "--to", "2026-01-31")
    assert json.loads(run(*month, "--json"))["totals"]["total_actions"] == 1
    assert run(*month, "--csv").splitlines()[0] == ",".join(COLUMNS)
    table = run(*month)
    assert "2026-01-03" in table
    assert "not anchored" in table
    run(*month, "--csv", "-o", str(tmp_path / "report.csv"))
    assert len((tmp_path / "report.csv").read_text().splitlines()) == 33
    entry = AuditEntry.objects.filter(event="trail:reported").latest("id")
    assert (entry.actor_kind, entry.actor_label) == ("command", "manage.py trail_report")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--framework", "SOX", "--from", "2026-01-01", "--to", "2026-01-31"], 2, "SOX is no framework here"),
        (["--from", "2026-01-31", "--to", "2026-01-01"], 2, "Exchange the two"),
        (["--from", "2026-01-01", "--to", "2026-01-31", "-o", "/no/such/folder/report"], 3, "can't be written"),
    ],
)
def test_the_command_says_what_is_wrong(db, arguments, code, words):
    with pytest.raises(CommandError, match=words) as caught:
        run(*arguments)
    assert caught.value.returncode == code
