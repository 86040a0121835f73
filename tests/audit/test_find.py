"""Finding entries: the same answer through console, API, export and admin, and never a false "nothing"."""

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit import export, search
from audit.models import AuditEntry
from audit.sealing.sealer import seal
from audit.search import Conditions, Search
from opssight.kernel.actor import Actor, acting
from opssight.kernel.pagination import BadCursor
from tests.api.conftest import api  # noqa: F401  (a fixture)

START = datetime(2026, 5, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def write(moment: datetime, *, by=None, address=None, request="", label="", **columns) -> AuditEntry:
    kind = "user" if by else "system"
    with acting(Actor(kind, by, by.email if by else "OpsSight", address, "", request)):
        entry = AuditEntry(timestamp=moment, object_repr=label, **columns)
        entry.save()
    return entry


@pytest.fixture
def many(eve, adam):
    """120 entries of few actors, events and objects; moments that repeat and go back now and then."""
    asset = ContentType.objects.get(app_label="scanning", model="asset")
    for n in range(120):
        moment = START + HOUR * (n // 3) - (HOUR * 5 if n % 17 == 0 else timedelta(0))
        event = "" if n % 4 == 0 else ("findings:fixed", "roles:assigned", "policies:changed")[n % 3 if n % 29 else 2]
        write(
            moment,
            by=(None, eve, adam)[n % 3],
            address=(None, "10.0.0.1", "2001:db8::1")[n % 5 % 3],
            request=f"r{n // 4}" if n % 3 else "",
            label=f"asset {n % 7}",
            event=event,
            action=None if event else n % 16 // 4,
            content_type=asset if n % 5 else None,
            object_pk=str(n % 7) if n % 5 else "",
            success=n % 11 != 0,
            error_message="" if n % 11 else "Refused: no. 5 % of_them",
            additional_data={"reason": f"Grund {n % 13} äöü"},
        )
    return AuditEntry.objects.select_related("personal")


def fits(entry: AuditEntry, asked: Conditions) -> bool:
    """What the conditions mean, in Python."""
    text, data = asked.text.lower(), json.dumps(entry.additional_data, ensure_ascii=False).lower()
    in_json = json.dumps(text, ensure_ascii=False)[1:-1]  # no word is found in what only writes the data down
    return all((
        asked.actor is None or entry.actor_id == asked.actor,
        not asked.actor_kind or (entry.actor_id is None and entry.actor_kind == asked.actor_kind),
        not asked.actions or entry.action in asked.actions,
        not asked.event or entry.event == asked.event,
        not asked.resource_type or entry.resource_type == asked.resource_type,
        not asked.resource_id or entry.resource_id == asked.resource_id,
        asked.success is None or entry.success == asked.success,
        asked.since is None or entry.timestamp >= asked.since,
        asked.until is None or entry.timestamp < asked.until,
        not asked.request_id or entry.request_id == asked.request_id,
        not asked.address or entry.person["address"] == asked.address,
        not asked.framework or asked.framework in entry.compliance_tags,
        not text or text in f"{entry.object_repr}\n{entry.error_message}".lower() or in_json in data,
    ))  # fmt: skip


def some(*values):
    return st.one_of(st.none(), st.sampled_from(values))


ASKED = st.fixed_dictionaries(
    {},
    optional={
        "who": st.sampled_from(["eve", "adam", "nobody"]),
        "actor_kind": st.sampled_from(["system", "command"]),
        "actions": st.frozensets(st.integers(0, 3), min_size=1),
        "event": st.sampled_from(["findings:fixed", "policies:changed", "nothing:happened"]),
        "resource_type": st.sampled_from(["scanning.asset", "x.y"]),
        "resource_id": st.sampled_from(["3", "nope"]),
        "success": st.booleans(),
        "since": st.integers(-2, 40),
        "until": st.integers(-2, 42),
        "request_id": st.sampled_from(["r5", "r99"]),
        "address": st.sampled_from(["10.0.0.1", "2001:db8::1", "192.0.2.1"]),
        "framework": st.sampled_from(["SOC2", "PCI"]),
        "text": st.sampled_from(["asset 3", "grund 12", "ÄÖÜ", "äöü", "5 % of_", "zebra", '"reason"', "reason"]),
    },
)


def test_every_combination_finds_exactly_what_fits_page_by_page(many, eve, adam, monkeypatch):
    monkeypatch.setattr(search, "NEAR", 9)
    monkeypatch.setattr(search, "FAR", 5)
    monkeypatch.setattr(search, "WORDS", 4)
    monkeypatch.setattr(search, "FEW", 20)
    everything = list(many.order_by("-timestamp", "-id"))
    people = {"eve": eve.pk, "adam": adam.pk, "nobody": 10**9}
    stopped = 0

    @given(asked=ASKED, limit=st.integers(1, 12))
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def check(asked, limit):
        nonlocal stopped
        if "who" in asked:
            asked["actor"] = people[asked.pop("who")]
        asked |= {name: START + HOUR * asked[name] for name in ("since", "until") if name in asked}
        wanted = Conditions(**asked)
        expected = [entry.pk for entry in everything if fits(entry, wanted)]
        if wanted.text == "ÄÖÜ" and connection.vendor == "sqlite":
            expected = []  # there, only ASCII letters are the same in either case
        found = Search(many, wanted)
        page = found.page(None, limit)
        forth, pages = [entry.pk for entry in page.rows], 1
        while page.older:
            stopped += page.reached is not None
            page = found.page(page.older, limit)
            assert len(page.rows) <= limit
            forth += [entry.pk for entry in page.rows]
            pages += 1
        assert page.reached is None
        assert forth == expected
        back = [entry.pk for entry in page.rows]
        while page.newer:
            page = found.page(page.newer, limit)
            back = [entry.pk for entry in page.rows] + back
        if back or page.rows:  # a page without rows has no way back but the first one
            assert back[-len(forth) :] == forth[-len(back) :]
        if (rows := found.countable()) is not None:
            assert rows.count() == len(expected)

    check()
    assert stopped  # the small bounds above have been met


def test_a_page_looks_at_no_more_than_its_bound(many, monkeypatch):
    monkeypatch.setattr(search, "NEAR", 10)
    page = Search(many, Conditions(resource_type="x.y")).page(None, 50)
    assert (page.rows, page.older is None) == ([], False)
    assert page.reached[1] == many.order_by("-timestamp", "-id")[10].pk


def test_a_cursor_of_another_list_is_refused_and_one_of_another_time_stays_within_it(many):
    with pytest.raises(BadCursor):
        Search(many).page("x", 5)
    cursor = Search(many).page(None, 5).older
    until = START + HOUR * 3
    rows = Search(many, Conditions(until=until)).page(cursor, 50).rows
    assert rows
    assert all(row.timestamp < until for row in rows)


# --- through the doors ----------------------------------------------------------------------------------------------


@pytest.fixture
def doors(olga, client_for, api):  # noqa: F811
    """The uids that each of the doors shows for a query."""
    client, caller = client_for(olga, step_up=True), api(olga)

    def console(query: str) -> list[str]:
        page = client.get(f"/trail?{query}").content.decode()
        return re.findall(r'id="e\d+" href="/trail/([0-9a-f-]+)"', page)

    def by_api(query: str) -> list[str]:
        answer = caller("GET", f"/trail?limit=50&{query}")
        assert answer.status_code == 200, answer.content
        return [row["uid"] for row in answer.json()["results"]]

    def lines(query: str) -> list[str]:
        answer = client.get(f"/trail/export?format=jsonl&{query}")
        return [json.loads(line)["uid"] for line in b"".join(answer.streaming_content).splitlines()]

    return SimpleNamespace(client=client, caller=caller, console=console, api=by_api, lines=lines)


QUERIES = [
    "event=policies:changed",
    "success=false",
    "action=DELETE",
    "action=create,read&event=",
    "resource_type=scanning.asset&resource_id=3",
    "resource_id=4",
    "request_id=r7",
    "ip_address=2001:0db8::0001",
    "since=2026-05-01&until=2026-05-01",
    "since=2026-05-01T03:00:00Z&until=2026-05-01T05:00:00%2B00:00",
    "actor=eve@example.org&success=true",
    "actor=EVE@example.org",
    "text=asset+3&since=2026-05-01&until=2026-05-31",
    "actor=system&since=2026-05-01&until=2026-05-02",
]


@pytest.mark.parametrize("query", QUERIES)
def test_console_api_and_export_find_the_same(many, doors, query):
    doors.console(query)
    doors.api(query)
    found = doors.api(query)  # after the first looks, which are entries too
    assert found
    assert doors.console(query) == found
    assert doors.lines(query)[: len(found)] == found


BAD = [
    ("actor=nobody@example.org", "No account is called nobody@example.org"),
    ("actor=99999999999999999999", "No account is called 99999999999999999999"),
    ("user_id=0", "greater than or equal to 1"),
    ("user_id=1&actor=system", "another account"),
    ("since=yesterday", "yesterday is no time"),
    ("since=2026-02-31", "2026-02-31 is no time"),
    ("since=2026-05-02&until=2026-05-01", "end of the time is before"),
    ("until=9999-12-31", "9999-12-31 is no time"),
    ("text=x&until=0001-01-02", "0001-01-02 is no time"),
    ("since=0001-01-01T00:00:00%2B14:00", "is no time"),
    ("action=EDIT", "EDIT is no action"),
    ("success=maybe", "Write true or false"),
    ("ip_address=10.0.0.1.1", "10.0.0.1.1 is no IP address"),
    ("text=x&since=2026-01-01", "within 31 days"),
    ("text=x&since=2026-01-01&until=2026-03-01", "within 31 days"),
    ("event=%00", "Null characters"),
    ("event=" + "x" * 65, "64 characters"),
]


@pytest.mark.parametrize(("query", "told"), BAD)
def test_what_cannot_be_read_is_said_in_a_sentence(doors, query, told):
    page = doors.client.get(f"/trail?{query}")
    assert page.status_code == 400
    assert told in page.content.decode()
    assert doors.client.get(f"/trail/export?{query}").status_code == 400
    for path in ("/trail", "/trail/export"):
        answer = doors.caller("GET", f"{path}?{query}")
        assert answer.status_code == 400
        assert told in answer.content.decode() or "not a value" in answer.content.decode()


@pytest.mark.parametrize("query", ["acter=1", "event=a&event=b", "format=xlsx"])
def test_unknown_and_repeated_parameters_are_said(doors, query):
    where = "/trail/export" if "format" in query else "/trail"
    assert doors.client.get(f"{where}?{query}").status_code == 400
    assert doors.caller("GET", f"{where}?{query}").status_code == 400


@pytest.mark.parametrize("text", ["'; DROP TABLE x --", "%", "_", "\\", '"', "<script>", "💥", "é"])
def test_hostile_words_find_what_has_them_and_nothing_else(many, doors, text):
    entry = write(timezone.now(), event="scans:started", label=f"a {text} b")
    assert doors.api(urlencode({"text": text})) == [str(entry.uid)]
    assert doors.console(urlencode({"text": text})) == [str(entry.uid)]
    page = doors.client.get(f"/trail?{urlencode({'text': text})}").content.decode()
    assert "<script>" not in page.replace("<script src", "")


def test_a_bounded_search_says_how_far_it_looked_and_goes_on(many, doors, monkeypatch):
    monkeypatch.setattr(search, "NEAR", 20)
    page = doors.client.get("/trail?resource_type=x.y").content.decode()
    assert "None yet: searched back to" in page
    assert "No entry matches" not in page
    answer, asked = doors.caller("GET", "/trail?resource_type=x.y").json(), 1
    assert (answer["results"], answer["searched_to"] is None) == ([], False)
    while answer["next"]:
        answer, asked = doors.caller("GET", answer["next"].partition("/api/v1")[2]).json(), asked + 1
    assert answer["searched_to"] is None
    assert asked > 120 / 21
    while older := re.search(r'href="(\?[^"]+)"[^>]*>Go on', page):
        page = doors.client.get(f"/trail{older[1].replace('&amp;', '&')}").content.decode()
    assert "No entry matches" in page


def test_who_may_not_read_the_trail_exports_nothing(many, dev, client_for, api):  # noqa: F811
    assert client_for(dev).get("/trail/export").status_code == 403
    assert api(dev)("GET", "/trail/export").status_code == 403
    assert not AuditEntry.objects.filter(event="trail:exported").exists()


# --- exports --------------------------------------------------------------------------------------------------------


def test_an_export_is_an_entry_before_its_first_line(many, doors, olga):
    answer = doors.client.get(
        "/trail/export?format=jsonl&event=policies:changed&ip_address=10.0.0.1&text=&actor=eve@example.org"
    )
    entry = AuditEntry.objects.select_related("personal").get(event="trail:exported")
    rows = [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]
    assert entry.actor_id == olga.pk
    assert entry.details["count"] == len(rows)
    assert entry.details["complete"] is True
    assert entry.details["filter"]["event"] == "policies:changed"
    assert (entry.details["address"], "address" in entry.additional_data) == ("10.0.0.1", False)
    assert "eve@example.org" not in str(entry.covered())
    assert answer["Content-Type"].startswith("application/jsonl")
    assert re.search(r'filename="trail-[0-9T-]+Z\.jsonl"', answer["Content-Disposition"])


def test_lines_of_an_export_are_rows_of_the_api(many, doors):
    answer = doors.client.get("/trail/export?format=jsonl&request_id=r7")
    rows = [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]
    assert rows == doors.caller("GET", "/trail?request_id=r7").json()["results"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_spreadsheet_takes_no_cell_for_a_formula(doors, text):
    write(timezone.now(), event="scans:failed", label=text, error_message=text, request="r-export")
    answer = doors.client.get("/trail/export?request_id=r-export")
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode(), newline="")))
    assert len(rows) == 1
    assert (rows[0]["object"], rows[0]["error_message"]) == (f"'{text}", f"'{text}")
    assert rows[0].keys() == doors.caller("GET", "/trail?request_id=r-export").json()["results"][0].keys()


def test_an_export_ends_at_its_limit_and_says_so(many, doors, monkeypatch):
    monkeypatch.setattr(export, "LIMIT", 7)
    answer = doors.client.get("/trail/export?format=csv")
    assert "-newest-7.csv" in answer["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode(), newline="")))
    assert len(rows) == 7
    assert AuditEntry.objects.get(event="trail:exported").additional_data["complete"] is False


def test_an_export_finds_what_lies_beyond_every_bound(many, doors, monkeypatch):
    monkeypatch.setattr(search, "NEAR", 3)
    assert len(doors.lines("resource_type=scanning.asset&until=2026-06-01")) == sum(
        entry.resource_type == "scanning.asset" and entry.timestamp < START + timedelta(days=31) for entry in many
    )


def test_a_person_erased_while_an_export_runs_is_left_out_of_its_lines(many, doors):
    answer = doors.client.get("/trail/export?format=jsonl&request_id=r7")
    for entry in many.filter(request_id="r7"):
        entry.personal.delete()
    rows = [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]
    assert rows
    assert {row["ip_address"] for row in rows} == {None}


# --- the admin's page -----------------------------------------------------------------------------------------------


def test_the_admin_finds_by_the_same_search(many, doors):
    def rows(query: str) -> int:
        return doors.client.get(f"/admin/audit/auditentry/?{query}").content.decode().count('class="field-id"')

    assert rows("success=false&event=policies%3Achanged") == len(doors.api("success=false&event=policies:changed"))
    assert rows("action=DELETE") == len(doors.api("action=DELETE"))
    assert rows("q=r7") == len(doors.api("request_id=r7"))
    assert rows("q=4") == len(doors.api("resource_id=4"))
    assert rows("q=nothing-at-all") == 0


def test_the_admin_counts_nothing_and_asks_for_nothing_distinct(many, doors):
    doors.client.get("/admin/audit/auditentry/")  # the first look is an entry
    with CaptureQueriesContext(connection) as queries:
        assert doors.client.get("/admin/audit/auditentry/").status_code == 200
    about = [query["sql"].upper() for query in queries if "AUDIT_AUDITENTRY" in query["sql"].upper()]
    assert len(about) == 1
    assert not re.search(r"COUNT\(|DISTINCT|DATE_TRUNC", about[0])


def test_the_admin_says_how_far_it_looked(many, doors, monkeypatch):
    monkeypatch.setattr(search, "FAR", 3)
    page = doors.client.get("/admin/audit/auditentry/?event=policies:changed&action=DELETE").content.decode()
    assert "Searched to 2026-" in page


def test_what_is_sealed_has_a_position(many, doors):
    assert seal()
    rows = doors.caller("GET", "/trail?event=policies:changed").json()["results"]
    assert rows
    for row in rows:
        assert AuditEntry.objects.get(leaf__position=row["position"]).uid.hex == row["uid"].replace("-", "")
    late = write(timezone.now(), event="scans:started")
    assert doors.caller("GET", f"/trail/{late.uid}").json()["position"] is None
