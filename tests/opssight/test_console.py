"""The console through the browser's door: what pages show, to whom, and that their numbers and states are honest."""

import re
from datetime import datetime, timedelta
from html import unescape
from urllib.parse import quote

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import Client, RequestFactory
from django.utils import timezone

from accounts.models import User
from audit.models import AuditEntry
from opssight.console.charts import columns, scale
from opssight.console.templatetags.console import brief, browser
from opssight.console.views import errors
from rbac.services import assign_role, create_unit, root_unit
from scanning.models import Asset, Finding, Scan, ScanState, Severity, Status
from scanning.sla.services import BUILT_IN, due_at

HTMX = {"HX-Request": "true"}


def make_asset(name: str = "payments", unit=None) -> Asset:
    return Asset.objects.create(unit=unit or root_unit(), name=name, location=f"/srv/{name}")


def make_scan(asset: Asset, state: str = ScanState.COMPLETED, *, at: datetime | None = None, **more) -> Scan:
    at = at or timezone.now()
    ended = None if state in (ScanState.QUEUED, ScanState.RUNNING) else at
    started = None if state == ScanState.QUEUED else at
    more = {"scanner": "bandit", **more}
    return Scan.objects.create(asset=asset, state=state, queued_at=at, started_at=started, finished_at=ended, **more)


def make_findings(scan: Scan, number: int = 1, severity: int = Severity.HIGH, **more) -> list[Finding]:
    now, before = timezone.now(), Finding.objects.count()
    values = {
        "asset": scan.asset,
        "scanner": "bandit",
        "rule": "B602",
        "title": "Shell command built from input",
        "severity": severity,
        "path": "spool/lpr.py",
        "line": 88,
        "code": "87 def spool(name):\n88     call(name, shell=True)\n",
        "first_seen_at": now,
        "last_seen_at": now,
        "first_scan": scan,
        "last_scan": scan,
        "due_at": due_at(BUILT_IN, severity, now),
    } | more
    return [Finding.objects.create(fingerprint=f"1:{before + n}", **values) for n in range(number)]


def text(response) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", response.content.decode())))


@pytest.fixture
def officer(olga, client_for) -> Client:
    return client_for(olga, step_up=True)


@pytest.fixture
def full(db) -> dict[str, object]:
    """An installation with something of everything."""
    asset, now = make_asset(), timezone.now()
    scan = make_scan(asset, files_read=12, new=6)
    make_findings(scan, 2, Severity.CRITICAL, due_at=now - timedelta(hours=8))
    make_findings(scan, 1, Severity.HIGH, due_at=now + timedelta(days=2))
    make_findings(scan, 3, Severity.LOW)
    make_findings(scan, 2, Severity.LOW, status=Status.FIXED, fixed_at=now)
    make_findings(scan, 1, Severity.LOW, status=Status.FIXED, fixed_at=now - timedelta(days=8))
    make_findings(scan, 1, Severity.HIGH, status=Status.ACCEPTED)
    make_scan(make_asset("website"), ScanState.FAILED, reason="website does not exist. Nothing was closed.")
    make_scan(make_asset("mailer"), ScanState.NOT_INSTALLED, reason="bandit is not installed. Run: make install")
    make_scan(make_asset("archive"), at=now - timedelta(days=9), files_read=3)
    make_scan(make_asset("router"), files_read=4)
    make_asset("label-printer")
    return {"scan": scan, "asset": asset}


# --- numbers ------------------------------------------------------------------------------------------------------


def test_each_reading_links_to_exactly_the_rows_it_counts(officer, full):
    page = officer.get("/").content.decode()
    tiles = re.findall(r'<a class="tile" id="tile-(\w+)" href="([^"]+)">[^<]*<b[^>]*>([\d,]+)', page)
    assert {key: int(value) for key, _, value in tiles} == {
        "open": 6, "severe": 3, "over": 2, "fixed": 2, "failed": 2, "factor": 1,
        "entries": AuditEntry.objects.count(),
    }  # fmt: skip
    for key, address, value in sorted(tiles, key=lambda tile: tile[0] != "entries"):  # the looks below are entries too
        shown = text(officer.get(unescape(address)))
        if key in ("open", "severe", "over", "fixed"):
            assert f"of {value}" in shown, key
        elif key == "failed":
            assert f"of {value} run" in shown
        elif key == "entries":
            assert f"{value} entr" in shown


def test_the_rail_counts_what_this_person_may_see(officer, full, dev, client_for):
    assert 'id="count-findings">6<' in officer.get("/trail").content.decode()
    team = create_unit("Payments", parent=root_unit())
    make_findings(make_scan(make_asset("team-api", team)), 2)
    person = User.objects.create(email="team@example.org")
    assign_role(person, "developer", unit=team, reason="test")
    assert 'id="count-findings">2<' in client_for(person).get("/findings").content.decode()


def test_the_trail_counts_entries_only_when_narrowed(officer):
    assert "Choose a value in a row" in text(officer.get("/trail"))
    assert re.search(r"\d+ entries", text(officer.get("/trail?since=24h")))


# --- states -------------------------------------------------------------------------------------------------------


def test_no_state_is_taken_for_another(officer, full):
    page = officer.get("/").content.decode()
    rows = {
        name: re.search(rf'<th scope="row">(?:<a[^>]*>)?{name}.*?<span class="st (\w+)">.*?</svg>([^<]+)<', page, re.S)
        for name in ("payments", "website", "mailer", "archive", "router", "label-printer")
    }
    assert {name: (found[1], found[2]) for name, found in rows.items() if found} == {
        "payments": ("done", "Finished"),  # with findings: a plain check, not green
        "website": ("failed", "Run failed"),
        "mailer": ("notinst", "Not installed"),
        "archive": ("stale", "Stale, 9 d"),
        "router": ("clean", "Clean"),
        "label-printer": ("never", "Never run"),
    }


@pytest.mark.parametrize(
    ("state", "says", "never_says"),
    [
        (None, "Never scanned", "No findings"),
        (ScanState.RUNNING, "A scan is running", "No findings"),
        (ScanState.FAILED, "No findings, but not clean", "Never scanned"),
        (ScanState.NOT_INSTALLED, "No findings, but not clean", "Never scanned"),
        (ScanState.COMPLETED_WITH_ERRORS, "No findings, but not clean", "Never scanned"),
        (ScanState.COMPLETED, "No findings 12 files of 1 asset were read", "not clean"),
    ],
)
def test_an_empty_queue_says_why(officer, state, says, never_says):
    asset = make_asset()
    if state:
        make_scan(asset, state, files_read=12)
    for address in ("/findings", "/"):
        shown = text(officer.get(address))
        assert says in shown
        assert never_says not in shown


@pytest.mark.parametrize("state", [ScanState.COMPLETED_WITH_ERRORS, *ScanState.failures()])
def test_an_asset_stands_as_the_worst_of_its_tools(officer, state):
    """A clean run of one tool says nothing of what another looks for, whichever came last."""
    asset = make_asset()
    make_scan(asset, state)
    make_scan(asset, scanner="checkov", files_read=12)
    for address in ("/findings", "/"):
        shown = text(officer.get(address))
        assert "No findings, but not clean" in shown
        assert "bandit payments" in shown
    make_scan(asset, files_read=3)
    assert "No findings 12 files of 1 asset were read" in text(officer.get("/findings"))
    make_scan(asset, ScanState.RUNNING, scanner="checkov")
    assert "A scan is running" in text(officer.get("/findings"))


def test_a_tool_that_only_a_withdrawn_import_brought_is_not_in_use(officer):
    asset = make_asset()
    make_scan(asset, ScanState.UNDONE, scanner="gitleaks", trigger="import")
    assert "Never scanned" in text(officer.get("/findings"))
    make_scan(asset, files_read=3)
    assert "No findings 3 files" in text(officer.get("/findings"))


def test_clean_is_not_said_while_an_asset_was_never_read(officer):
    make_scan(make_asset(), files_read=12)
    make_asset("website")
    shown = text(officer.get("/findings"))
    assert "No findings, but not clean" in shown
    assert "Never run website" in shown


def test_a_failed_run_shows_why_and_no_numbers(officer, full):
    scan = Scan.objects.get(state=ScanState.FAILED)
    shown = text(officer.get(f"/scans/{scan.uid}"))
    assert "bandit did not finish on website. website does not exist. Nothing was closed." in shown
    assert "New — never seen before" in shown
    assert "This run says nothing" in shown


def test_the_page_of_a_scan_asks_again_while_it_runs_and_no_more_after(officer):
    scan = make_scan(make_asset(), ScanState.RUNNING, parts_total=6, parts_done=2, part="admin … views")
    address = f"/scans/{scan.uid}/progress"
    whole, part = officer.get(address), officer.get(address, headers=HTMX)
    assert "<!doctype html>" in whole.content.decode()
    assert "<html" not in part.content.decode()
    for page in (whole, part, officer.get(f"/scans/{scan.uid}")):
        assert 'hx-trigger="every 2s"' in page.content.decode()
        assert "2 of 6 parts read now admin … views" in text(page)
    assert "every 2s" not in officer.get(f"/scans/{scan.uid}?still").content.decode()
    Scan.objects.filter(pk=scan.pk).update(state=ScanState.COMPLETED, finished_at=timezone.now())
    assert "every 2s" not in officer.get(address, headers=HTMX).content.decode()


def test_the_overview_follows_a_running_scan(officer):
    scan = make_scan(make_asset(), ScanState.RUNNING, parts_total=6, parts_done=2)
    make_findings(scan)
    part = officer.get("/", headers=HTMX)
    assert "<html" not in part.content.decode()
    assert 'hx-trigger="every 2s"' in part.content.decode()
    assert "Shell command built from input" in text(part)
    Scan.objects.update(state=ScanState.COMPLETED, finished_at=timezone.now())
    assert "every 2s" not in officer.get("/", headers=HTMX).content.decode()


# --- the queue ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "labels"),
    [
        ("", 6),
        ("?status=any", 10),
        ("?status=accepted", 1),
        ("?status=open&status=accepted", 7),
        ("?severity=critical&severity=high", 3),
        ("?severity=critical&due=over", 2),
        ("?due=soon", 1),
        ("?status=fixed&fixed=7d", 2),
        ("?status=any&fixed=7d", 2),
        ("?scanner=bandit", 6),
        ("?q=lpr.py", 10),  # a search looks at every state
        ("?q=lpr.py&status=open", 6),
        ("?q=nothing+like+it", 0),
        ("?q=%00", 6),
        ("?severity=", 6),
    ],
)
def test_filters_live_in_the_address(officer, full, query, labels):
    page = officer.get(f"/findings{query}")
    assert page.status_code == 200
    assert len(re.findall(r'<span class="mono">F-\d+</span>', page.content.decode())) == labels


@pytest.mark.parametrize(
    "query",
    [
        "severity=terrible", "status=gone", "due=never", "due=over&due=soon", "scanner=nmap", "asset=x", "fixed=1y",
        "asset=01a20bd9-1d59-7949-b8ec-209801f0f979", "first_scan=01a20bd9-1d59-7949-b8ec-209801f0f979",
        "first_scan=x", "open=x",
    ],
)  # fmt: skip
def test_a_filter_that_is_not_understood_never_shows_more(officer, full, query):
    assert officer.get(f"/findings?{query}").status_code == 404


def test_asset_and_scan_filters(officer, full):
    scan = full["scan"]
    make_findings(make_scan(make_asset("other")), 4)
    assert "6 of 6" in text(officer.get(f"/findings?asset={scan.asset.uid}"))
    assert "10 of 10" in text(officer.get(f"/findings?status=any&first_scan={scan.uid}"))


def test_pages_walk_the_whole_queue_once_and_back(officer):
    scan = make_scan(make_asset())
    for severity in (Severity.LOW, Severity.CRITICAL, Severity.MEDIUM):
        make_findings(scan, 40, severity)
    seen, address = [], "/findings?severity=low&severity=medium&severity=critical"
    while address:
        page = officer.get(address).content.decode()
        seen.append(re.findall(r"F-(\d+)</span>", page))
        older = re.search(r'href="([^"]+)" rel="next"', page)
        newer = re.search(r'href="([^"]+)" rel="prev"', page)
        address = "/findings" + unescape(older[1]) if older else ""
    flat = [int(pk) for page in seen for pk in page]
    assert flat == list(Finding.objects.order_by("-severity", "id").values_list("pk", flat=True))
    assert [len(page) for page in seen] == [50, 50, 20]
    assert newer is not None
    back = officer.get("/findings" + unescape(newer[1])).content.decode()
    assert re.findall(r"F-(\d+)</span>", back) == seen[1]


def test_a_spoilt_cursor_leads_to_the_first_page_with_a_word(officer, full):
    page = officer.get("/findings?cursor=spoilt")
    assert page.status_code == 200
    assert "This is the first one." in text(page)
    assert "6 of 6" in text(page)


def test_a_finding_is_a_page_and_a_panel(officer, full):
    row = Finding.objects.filter(severity=Severity.CRITICAL).first()
    page, panel = officer.get(f"/findings/{row.uid}"), officer.get(f"/findings/{row.uid}", headers=HTMX)
    assert "<h1>Shell command built from input</h1>" in page.content.decode()
    assert "<html" not in panel.content.decode()
    for answer in (page, panel, officer.get(f"/findings?open={row.uid}")):
        assert '<span class="hit-line"><i>88</i>    call(name, shell=True)</span>' in answer.content.decode()
        assert "8 h over" in text(answer)
        assert row.fingerprint in text(answer)


def test_code_and_titles_are_text(officer):
    row = make_findings(make_scan(make_asset()), title="<script>alert(1)</script>", code='1 "><img src=x>', line=1)[0]
    for address in ("/findings", f"/findings/{row.uid}", "/", f"/findings?open={row.uid}"):
        page = officer.get(address).content.decode()
        assert "<script>alert" not in page
        assert "<img" not in page


# --- who sees what ------------------------------------------------------------------------------------------------


def test_what_is_out_of_sight_is_not_there(officer, full, dev, client_for):
    team = create_unit("Payments", parent=root_unit())
    person = User.objects.create(email="team@example.org")
    assign_role(person, "developer", unit=team, reason="test")
    row, run = Finding.objects.first(), full["scan"]
    addresses = [f"/findings/{row.uid}", f"/scans/{run.uid}", f"/scans/{run.uid}/progress", f"/findings?open={row.uid}"]
    for address in [*addresses, f"/findings?asset={run.asset.uid}", f"/findings?first_scan={run.uid}"]:
        assert officer.get(address).status_code == 200
        assert client_for(person).get(address).status_code == 404
    assert "No asset yet" in text(client_for(person).get("/"))


def test_an_employee_is_led_to_the_own_page(eve, olga, client_for, full):
    client = client_for(eve)
    assert client.get("/")["Location"] == "/my-security"
    page = client.get("/my-security")
    assert "Findings" not in text(page)
    assert "Overview" not in text(page)
    assert olga.email not in text(page)


def test_my_security_shows_what_others_tried_in_my_name_and_nothing_of_theirs(eve, olga, client_for):
    for _ in range(2):
        Client(REMOTE_ADDR="203.0.113.9").post("/sign-in", {"username": eve.email, "password": "wrong"})
    Client(REMOTE_ADDR="198.51.100.7").post("/sign-in", {"username": olga.email, "password": "wrong"})
    shown = text(client_for(eve).get("/my-security"))
    assert shown.count("Wrong password refused 203.0.113.9") == 2
    assert "198.51.100.7" not in shown


def test_history_is_for_those_who_may_read_the_trail(dev, adam, client_for):
    row = make_findings(make_scan(make_asset()))[0]
    assert "History" in text(client_for(adam).get(f"/findings/{row.uid}"))
    assert "History" not in text(client_for(dev).get(f"/findings/{row.uid}"))


# --- the trail ----------------------------------------------------------------------------------------------------


def numbers(response) -> list[int]:
    return [int(n) for n in re.findall(r'id="e(\d+)"', response.content.decode())]


def test_the_trail_is_narrowed_by_each_value_of_a_row(officer, olga, eve):
    olga.name = "Olga Brandt"
    olga.save()
    entries = AuditEntry.objects.order_by("-id")
    of_olga = [e.pk for e in entries if e.resource_id == str(olga.uid)]
    kind = "resource_type=accounts.user"
    assert numbers(officer.get(f"/trail?{kind}&resource_id={olga.uid}")) == of_olga
    assert numbers(officer.get("/trail?event=accounts:created")) == [
        e.pk for e in entries if e.what == "accounts:created"
    ]
    updated = [e.pk for e in entries if e.what == "user:update"]
    assert numbers(officer.get("/trail?resource_type=accounts.user&action=update")) == updated
    assert updated[0] in of_olga  # one object, one history: the row's own change stands with its events
    assert numbers(officer.get("/trail?success=false")) == []
    assert numbers(officer.get("/trail?actor=system"))
    mine = list(AuditEntry.objects.filter(actor=olga).order_by("-id").values_list("pk", flat=True))
    assert numbers(officer.get(f"/trail?actor={olga.pk}")) == mine


def test_a_sign_in_under_an_unknown_name_shows_the_name(officer):
    Client().post("/sign-in", {"username": "mallory@example.org", "password": "wrong"})
    for address in ("/trail", "/"):
        assert "sessions:refused mallory@example.org refused" in text(officer.get(address))


@pytest.mark.parametrize("query", ["actor=nobody", "actor=9999999999999999999", "since=1y", "success=maybe", "odd=1"])
def test_an_unknown_value_is_no_filter_of_the_trail(officer, query):
    page = officer.get(f"/trail?{query}")
    assert page.status_code == 400
    assert "Nothing was looked for" in text(page)


@pytest.mark.parametrize("query", ["event=x:y", "resource_id=" + quote("'; --"), "event=a.b:c", "cursor=x"])
def test_odd_filters_of_the_trail_find_nothing_or_everything(officer, query):
    assert officer.get(f"/trail?{query}").status_code == 200


# --- the frame ----------------------------------------------------------------------------------------------------


def addresses() -> list[str]:
    row, scan, entry = Finding.objects.first(), Scan.objects.first(), AuditEntry.objects.first()
    assert row and scan and entry
    return [
        "/", "/findings", f"/findings?open={row.uid}", f"/findings/{row.uid}", "/findings?severity=info", "/scans",
        f"/scans/{scan.uid}", "/assets", f"/assets/{scan.asset.uid}", "/assets/new", "/imports", "/imports/new",
        "/trail", f"/trail/{entry.uid}", "/my-security", "/my-security/recovery-codes",
    ]  # fmt: skip


def test_no_page_has_code_or_style_of_its_own(officer, full):
    pages = {address: officer.get(address).content.decode() for address in addresses()}
    pages["/nowhere"] = officer.get("/nowhere").content.decode()
    pages["/sign-in"] = Client().get("/sign-in").content.decode()
    pages["/admin/"] = officer.get("/admin/").content.decode()
    for address, page in pages.items():
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?![^>]*\ssrc=)", page), address
        assert not re.search(r'(?:src|href)="(?:https?:)?//', page.replace("https://bandit", "")), address


def test_pages_cost_the_same_whatever_they_show(officer, full, django_assert_max_num_queries):
    """Session and its row, account, factor, permission, policies and rail are 7; a page adds a handful, whatever it
    shows. The entry of a first look is two more."""
    most = {"/": 16, "/findings": 17, "/scans": 10, "/assets": 14, "/imports": 11, "/trail": 14, "/my-security": 24}
    for address, limit in most.items():
        with django_assert_max_num_queries(limit) as first:
            officer.get(address)
        scan = make_scan(make_asset(f"more-{address}"))
        make_findings(scan, 20)
        with django_assert_max_num_queries(len(first)):
            assert officer.get(address).status_code == 200


def test_the_theme_is_a_cookie_that_the_server_reads(officer):
    assert '<html lang="en">' in officer.get("/trail").content.decode()
    answer = officer.post("/theme", {"theme": "dark", "next": "/trail?since=24h"})
    assert (answer.status_code, answer["Location"]) == (302, "/trail?since=24h")
    assert '<html lang="en" data-theme="dark">' in officer.get("/trail").content.decode()
    assert "theme-dark" in officer.get("/admin/").content.decode()
    officer.post("/theme", {"theme": "auto", "next": "/"})
    assert '<html lang="en">' in officer.get("/trail").content.decode()


@pytest.mark.parametrize(
    "away", ["https://evil.example/", "//evil.example/", "/\\evil.example", "", "javascript:alert(1)"]
)
def test_the_theme_never_leads_elsewhere(db, away):
    assert Client().post("/theme", {"theme": "dark", "next": away})["Location"] == "/"


def test_an_unknown_theme_is_none(db):
    client = Client()
    client.cookies["theme"] = '"><script>'
    assert '<html lang="en">' in client.get("/sign-in").content.decode()


def test_the_error_page_asks_the_database_nothing():
    """No `db` fixture: a query would fail this test, as it would fail the page when the database is down."""
    request = RequestFactory().get("/findings")
    request.user, request.request_id = AnonymousUser(), "0123456789abcdef"
    answer = errors.server_error(request)
    assert answer.status_code == 500
    assert "Our fault" in text(answer)
    assert "0123456789abcdef" in text(answer)


def test_errors_are_pages_that_say_what_to_do(eve, client_for):
    refused = client_for(eve).get("/trail")
    assert refused.status_code == 403
    assert "You don't have the permission trail:read." in text(refused)
    missing = client_for(eve).get("/nowhere")
    assert missing.status_code == 404
    assert "There is nothing at this address that you may see." in text(missing)
    assert missing["X-Request-ID"] in text(missing)


def test_the_locked_page_says_until_when(db):
    client = Client()
    for _ in range(5):
        answer = client.post("/sign-in", {"username": "olga@example.org", "password": "wrong"})
    assert answer.status_code == 429
    assert "Locked for 15 minutes" in text(answer)
    assert "<time" in answer.content.decode()


# --- pure parts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "told"),
    [
        (timedelta(seconds=20), "< 1 min"),
        (timedelta(minutes=1), "1 min"),
        (timedelta(minutes=59, seconds=59), "59 min"),
        (timedelta(hours=1), "1 h"),
        (timedelta(hours=47, minutes=59), "47 h"),
        (timedelta(hours=48), "2 d"),
        (timedelta(days=90), "90 d"),
    ],
)
def test_lengths_of_time(length, told):
    assert brief(length) == told


@pytest.mark.parametrize(
    ("most", "ticks"),
    [
        (0, [0, 1]),
        (1, [0, 1]),
        (4, [0, 1, 2, 3, 4]),
        (7, [0, 2, 4, 6, 8]),
        (123, [0, 50, 100, 150]),
        (2100, [0, 1000, 2000, 3000]),
    ],
)
def test_axes_start_at_zero_and_reach_the_most(most, ticks):
    assert scale(most) == ticks


def test_columns_stack_to_their_total():
    drawing = columns([("now", [("crit", 1), ("low", 3)]), ("later", [("crit", 0), ("low", 0)])], width=200, left=20)
    first, second = drawing.columns
    assert [part.key for part in first.segments] == ["crit", "low"]
    assert first.segments[0].y + first.segments[0].height == pytest.approx(first.segments[1].y)
    assert first.segments[1].y + first.segments[1].height == pytest.approx(drawing.foot)
    assert second.segments == []


@pytest.mark.parametrize(
    ("claim", "told"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", "Firefox 145, Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/142.0.0.0 Safari/537.36 Edg/142.0",
            "Edge 142, Windows",
        ),
        ("curl/8.5.0", "curl/8.5.0"),
        ("", ""),
    ],
)
def test_browsers_are_told_apart(claim, told):
    assert browser(claim) == told


def test_an_officer_scans_again_from_the_page(officer, dev, eve, client_for, tmp_path):
    from rbac.models import RoleAssignment
    from rbac.services import create_unit, root_unit
    from scanning.inventory import asset_at
    from scanning.services import request_scan

    asset = asset_at(tmp_path)
    first = Scan.claim(request_scan(asset, dispatch=False).pk)
    first.finish("completed")
    assert "Scan again" in officer.get(f"/scans/{first.uid}").content.decode()
    answer = officer.post(f"/assets/{asset.uid}/scan")
    again = Scan.objects.latest("id")
    assert (answer["Location"], again.requested_by_id) == (f"/scans/{again.uid}", officer.get("/").wsgi_request.user.pk)
    assert officer.post(f"/assets/{asset.uid}/scan")["Location"] == f"/scans/{again.uid}"  # it waits already
    assert officer.get(f"/assets/{asset.uid}/scan").status_code == 405
    assert client_for(eve).post(f"/assets/{asset.uid}/scan").status_code == 403
    held = RoleAssignment.objects.get(user=dev, role__key="developer")
    held.unit = create_unit("Elsewhere", parent=root_unit())
    held.save()
    assert client_for(dev).post(f"/assets/{asset.uid}/scan").status_code == 404
