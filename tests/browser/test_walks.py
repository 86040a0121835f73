"""Walks through OpsSight as a person takes them: with scripts and, where both are named, without."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.conftest import NARROW, Stage, Visitor, code, resize

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make browser").expect

PASSPHRASE = "the kettle sings at seven"


def heading(page: Any, text: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_contain_text(text)


def signed_in(visitor: Visitor, email: str = "olga@example.org") -> Any:
    visitor.holds(visitor.stage.session(email))
    return visitor.page


def sign_out(page: Any) -> None:
    leave(page)
    heading(page, "Sign in")


def leave(page: Any) -> None:
    page.get_by_role("button", name="account of").click()
    page.locator("#account").get_by_role("button", name="Sign out").click()


def sign_in(page: Any, person: dict[str, Any]) -> None:
    page.get_by_label("Work e-mail").fill(person["email"])
    page.get_by_label("Password").fill(person["password"])
    page.get_by_role("button", name="Continue").click()
    heading(page, "Your second step")


def rows(page: Any) -> Any:
    return page.locator(".queue tbody tr")


# --- the way in ---------------------------------------------------------------------------------------------------


@pytest.fixture
def new_installation(stage: Stage) -> Iterator[str]:
    """Its link."""
    yield stage.before_its_first_person()
    stage.after_its_first_person()


def test_from_the_set_up_link_to_the_overview(anyone, stage, new_installation):
    page, email = anyone.page, f"first-{anyone.javascript}@example.org".lower()
    page.goto(new_installation)
    heading(page, "Take possession of OpsSight")
    page.get_by_label("Your work e-mail").fill(email)
    page.get_by_label("Your name").fill("Ida First")
    page.get_by_label("Password", exact=True).fill(PASSPHRASE)
    page.get_by_label("The same password again").fill(PASSPHRASE)
    page.get_by_role("button", name="Continue").click()

    heading(page, "Set up your second step")
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    secret = page.locator("#secret").inner_text().replace(" ", "")
    page.get_by_label("6-digit code").fill(code(secret))
    page.get_by_role("button", name="Check the code").click()

    heading(page, "Keep these recovery codes")
    codes = page.locator("#codes li").all_inner_texts()
    assert len(set(codes)) == 10
    page.get_by_role("link", name="I have saved them").click()
    heading(page, "Overview")
    assert stage.roles_of(email) == ["administrator", "employee", "officer"]

    sign_out(page)
    anyone.watch.allow(404)
    page.goto(new_installation)
    heading(page, "This link can’t be used")
    page.get_by_role("link", name="To sign-in").click()
    person = {"email": email, "password": PASSPHRASE}
    sign_in(page, person)
    stage.half_a_minute_passes(email)
    page.get_by_label("6-digit code").fill(code(secret))
    page.get_by_role("button", name="Sign in").click()
    heading(page, "Overview")

    sign_out(page)
    sign_in(page, person)
    page.get_by_role("link", name="Use a recovery code").click()
    page.get_by_label("Recovery code").fill(codes[3].lower())
    page.get_by_role("button", name="Sign in").click()
    heading(page, "Overview")
    page.get_by_role("navigation", name="Main").get_by_role("link", name="My security").click()
    expect(page.get_by_text("9 of 10 left")).to_be_visible()
    happened = stage.events_of(email)
    assert [event for event in happened if event.startswith("sessions:")] == [
        "sessions:started", "sessions:ended", "sessions:started", "sessions:ended", "sessions:started",
    ]  # fmt: skip


def test_sign_in_leads_to_the_page_that_was_asked_for(anyone, stage):
    person, page = stage.person(f"Tilda{anyone.javascript}", "officer"), anyone.page
    page.goto("/findings?severity=critical")
    sign_in(page, person)
    page.get_by_label("6-digit code").fill(code(person["secret"]))
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{stage.url}/findings?severity=critical")


def test_sessions_and_tokens_are_ended_and_a_stranger_is_shut_out(anyone, stage):
    person = stage.person(f"Sven{anyone.javascript}")
    email = person["email"]
    page = signed_in(anyone, email)
    stage.signed_in_elsewhere(email)
    page.goto("/my-security")
    page.get_by_role("link", name="New token").click()
    page.get_by_label("What it is for").fill("ci")
    page.get_by_label("me:read").check()
    page.get_by_role("button", name="Make the token").click()
    heading(page, "Keep this token")
    expect(page.locator("#token li")).to_contain_text("ops_")
    page.get_by_role("link", name="I have saved it").click()
    sessions = page.get_by_role("region", name="Open sessions").locator("tbody tr")
    expect(sessions).to_have_count(2)
    expect(sessions.filter(has_text="Firefox 128, Linux")).to_contain_text("New device")
    expect(sessions.filter(has_text="This one")).to_have_count(1)
    page.get_by_role("button", name="Revoke ci").click()
    expect(page.get_by_role("heading", name="No token")).to_be_visible()
    page.get_by_role("button", name="End the session on Firefox 128, Linux").click()
    expect(sessions).to_have_count(1)
    stage.signed_in_elsewhere(email)
    page.goto("/my-security")
    page.get_by_role("button", name="End all others").click()
    expect(sessions).to_have_count(1)

    page.get_by_role("link", name="This was not me").click()
    heading(page, "Somebody else was in?")
    page.get_by_role("button", name="This was not me: end everything").click()
    page.get_by_label("Password", exact=True).fill(PASSPHRASE)
    page.get_by_label("The same password again").fill(PASSPHRASE)
    page.get_by_role("button", name="Continue").click()
    heading(page, "Your second step")
    page.get_by_label("6-digit code").fill(code(person["secret"]))
    page.get_by_role("button", name="Sign in").click()
    heading(page, "My security")


def test_wrong_codes_say_so(anyone, stage):
    person, page = stage.person(f"Wim{anyone.javascript}"), anyone.page
    page.goto("/sign-in")
    sign_in(page, person)
    anyone.watch.allow(400)
    page.get_by_label("6-digit code").fill("12 34-56")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("This code is not right")
    expect(page.get_by_label("6-digit code")).to_be_focused()


def over_there(page: Any, name: str, *, factor: bool = True) -> None:
    """Signs in on the provider's page."""
    heading(page, "Real ID")
    page.get_by_label("Name").fill(name)
    if factor:
        page.get_by_label("with a second factor").check()
    page.get_by_role("button", name="Sign in").click()


def test_in_through_a_provider_stepped_up_and_out_by_its_word(anyone, stage, provider):
    """With a second factor over there none of ours is asked for, and none of ours could be."""
    page, name = anyone.page, f"pia-{anyone.javascript}".lower()
    anyone.watch.visit(provider)
    page.goto("/my-security")
    page.get_by_role("link", name="Sign in with Real ID").click()
    over_there(page, name)
    heading(page, "My security")
    expect(page).to_have_url(f"{stage.url}/my-security")
    email = f"{name}@example.org"
    assert stage.roles_of(email) == ["employee"]

    stage.steps_up_long_ago(email)
    page.goto("/my-security/password")
    heading(page, "Your second step again")
    page.get_by_role("link", name="Sign in with Real ID again").click()
    over_there(page, name)
    expect(page).to_have_url(f"{stage.url}/my-security/password")

    page.goto(f"{provider}/session/end")
    page.get_by_role("button", name="Sign out").click()
    heading(page, "Signed out of Real ID")
    page.goto("/my-security")
    heading(page, "Sign in")
    assert stage.events_of(email).count("sessions:started") == 1


def test_through_a_provider_without_its_factor_ours_is_set_up(visitor, stage, provider):
    page = visitor.page
    visitor.watch.visit(provider)
    page.goto("/sign-in")
    page.get_by_role("link", name="Sign in with Real ID").click()
    over_there(page, "quirin", factor=False)
    heading(page, "Set up your second step")
    page.get_by_label("6-digit code").fill(code(page.locator("#secret").inner_text().replace(" ", "")))
    page.get_by_role("button", name="Check the code").click()
    page.get_by_role("link", name="I have saved them").click()
    heading(page, "My security")
    leave(page)
    heading(page, "You are signed out")
    page.get_by_role("link", name="Sign out of Real ID too").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("Of OpsSight, and of Real ID.")).to_be_visible()


# --- findings -----------------------------------------------------------------------------------------------------


def test_the_queue_is_narrowed_by_chips_and_by_search(anyone, stage):
    page, counted = signed_in(anyone), stage.counted()
    page.goto("/findings")
    expect(page.get_by_text(f"of {counted['unresolved']}").first).to_be_visible()

    page.locator("summary", has_text="Severity").click()
    page.get_by_label("Critical").check()
    page.get_by_role("button", name="Show").locator("visible=true").click()
    expect(rows(page)).to_have_count(counted["critical"])
    assert "severity=critical" in page.url
    page.get_by_role("link", name="Remove filter Severity").click()

    page.locator("summary", has_text="State").click()
    page.get_by_label("Fixed").check()
    for state in ("Open", "Triaged", "In progress"):
        page.get_by_label(state, exact=True).uncheck()
    page.get_by_role("button", name="Show").locator("visible=true").click()
    expect(rows(page)).to_have_count(counted["fixed"])

    page.get_by_role("searchbox").fill("ledger")
    page.get_by_role("searchbox").press("Enter")
    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text("Weak hash in the ledger")
    here = page.url
    page.reload()
    assert page.url == here
    expect(rows(page)).to_have_count(1)
    page.get_by_role("searchbox").fill("no such thing")
    page.get_by_role("searchbox").press("Enter")
    expect(page.get_by_text("No finding matches")).to_be_visible()


def test_a_finding_opens_beside_the_queue(visitor):
    page = signed_in(visitor)
    page.goto("/findings")
    panel, second = page.locator("#panel"), rows(page).nth(1)
    second.get_by_role("link").click()
    expect(panel).to_be_visible()
    label = second.locator(".mono").first.inner_text()
    expect(panel).to_contain_text(label)
    expect(second).to_have_attribute("aria-current", "true")
    expect(page).to_have_url(re.compile(r"[?&]open=[0-9a-f-]{36}$"))
    expect(page.get_by_role("status").filter(has_text=label)).to_have_count(1)

    page.reload()
    expect(panel).to_contain_text(label)
    panel.get_by_role("button", name="Next finding").click()
    third = rows(page).nth(2).locator(".mono").first.inner_text()
    expect(panel).to_contain_text(third)
    page.go_back()
    expect(panel).to_contain_text(label)
    panel.get_by_role("link", name="Close panel").click()
    expect(panel).to_be_hidden()
    assert "open=" not in page.url


def test_the_queue_is_read_by_keyboard(visitor):
    page = signed_in(visitor)
    page.goto("/findings")
    panel = page.locator("#panel")

    def current() -> int:
        return rows(page).evaluate_all("(all) => all.findIndex((row) => row.ariaCurrent === 'true')")

    for key, expected in (("j", 0), ("j", 1), ("j", 2), ("k", 1)):
        page.keyboard.press(key)
        assert current() == expected
    expect(panel).to_be_hidden()
    page.keyboard.press("Enter")
    expect(panel).to_contain_text(rows(page).nth(1).locator(".mono").first.inner_text())
    page.keyboard.press("j")
    expect(panel).to_contain_text(rows(page).nth(2).locator(".mono").first.inner_text())
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(rows(page).nth(2).get_by_role("link")).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("jk")
    assert current() == 2
    expect(page.get_by_role("searchbox")).to_have_value("jk")


@pytest.mark.parametrize("narrow", [False, True])
def test_the_page_of_a_finding(narrow, anyone):
    page = signed_in(anyone)
    if narrow:
        resize(page, NARROW)
    page.goto("/findings?severity=critical")
    label = rows(page).first.locator(".mono").first.inner_text()
    rows(page).first.get_by_role("link").click()
    if anyone.javascript and not narrow:
        page.locator("#panel").get_by_role("heading", level=2).get_by_role("link").click()
    expect(page).to_have_url(re.compile(r"/findings/[0-9a-f-]{36}$"))
    heading(page, "Shell command built from input")
    expect(page).to_have_title(re.compile(f"^{label} "))
    for section in ("Evidence", "What the scanner says", "History", "Facts"):
        expect(page.get_by_role("heading", name=section, exact=True)).to_be_visible()


# --- scans --------------------------------------------------------------------------------------------------------


def test_a_scan_is_watched_without_a_reload(visitor, stage):
    page, scan = signed_in(visitor), stage.queue_scan("watched")
    page.goto(f"/scans/{scan}")
    page.evaluate("() => { window.loaded = 1; }")
    expect(page.get_by_text("Waiting for a worker")).to_be_visible()
    stage.start_scan(scan, parts=2)
    stage.read_part(scan, name="src/api", new=3)
    expect(page.get_by_text("1 of 2 parts read")).to_be_visible()
    expect(page.get_by_role("progressbar")).to_have_attribute("value", "1")
    expect(page.locator("#state")).to_have_text("Running")
    expect(page.locator("#tile-new")).to_contain_text("3")
    expect(page.get_by_role("link", name="Something in src/api")).to_have_count(3)
    stage.finish_scan(scan)
    expect(page.locator("#state")).to_have_text("Finished")
    expect(page.get_by_role("progressbar")).to_have_count(0)
    assert page.locator("#scan").get_attribute("hx-get") is None  # it asks no more
    assert page.evaluate("() => window.loaded") == 1


def test_the_overview_follows_and_can_be_told_to_stop(visitor, stage):
    page, scan = signed_in(visitor), stage.queue_scan("followed")
    stage.start_scan(scan, parts=2)
    try:
        page.goto("/")
        expect(page.get_by_text("0 of 2 parts read")).to_be_visible()
        page.get_by_role("link", name="All scans").focus()
        stage.read_part(scan, name="src", new=1)
        expect(page.get_by_text("1 of 2 parts read")).to_be_visible()
        expect(page.get_by_role("link", name="All scans")).to_be_focused()
        page.get_by_role("link", name="Stop updating").click()
        expect(page.get_by_role("link", name="Keep it up to date")).to_be_visible()
        assert page.locator("#overview").get_attribute("hx-get") is None
    finally:
        stage.finish_scan(scan)


@pytest.mark.parametrize("anyone", [False], indirect=True, ids=["plain"])
def test_a_scan_is_followed_by_hand(anyone, stage):
    page, scan = signed_in(anyone), stage.queue_scan("by-hand")
    page.goto(f"/scans/{scan}")
    stage.start_scan(scan, parts=2)
    stage.read_part(scan, name="src", new=1)
    page.get_by_role("link", name="Reload").click()
    expect(page.get_by_text("1 of 2 parts read")).to_be_visible()
    stage.finish_scan(scan)
    page.get_by_role("link", name="Reload").click()
    expect(page.locator("#state")).to_have_text("Finished")
    expect(page.get_by_role("link", name="Reload")).to_have_count(0)


def test_an_asset_is_scanned_again(anyone, stage):
    scan = stage.queue_scan(f"again-{anyone.javascript}")
    stage.finish_scan(scan)
    page = signed_in(anyone)
    page.goto(f"/scans/{scan}")
    page.get_by_role("button", name="Scan again").click()
    expect(page.locator("#state")).to_have_text("Queued")
    assert not page.url.endswith(scan)
    stage.finish_scan(page.url.rpartition("/")[2])


# --- controls -----------------------------------------------------------------------------------------------------


def test_a_control_is_evaluated(anyone):
    page = signed_in(anyone)
    page.goto("/compliance")
    page.locator("tbody tr", has_text="vuln.cadence").get_by_role("rowheader").get_by_role("link").click()
    expect(page).to_have_url(re.compile("/compliance/vuln.cadence$"))
    history = page.get_by_role("region", name="History, table").locator("tbody tr")
    before = history.count()
    page.get_by_role("button", name="Evaluate now").click()
    expect(page.get_by_role("status").filter(has_text="Evaluated:")).to_be_visible()
    expect(history).to_have_count(before + 1)
    history.last.get_by_role("link").click()
    page.get_by_role("link", name="The newest result").click()
    expect(page.get_by_role("heading", name="Rows behind the newest result")).to_be_visible()


# --- the trail ----------------------------------------------------------------------------------------------------


def test_an_entry_unfolds(anyone):
    page = signed_in(anyone)
    page.goto("/trail?event=accounts:created")
    entry = page.locator("tbody a[data-expand]").first
    entry.click()
    if anyone.javascript:
        expect(entry).to_have_attribute("aria-expanded", "true")
        expect(page.locator("tr.exp")).to_contain_text("MAC")
        entry.click()
        expect(page.locator("tr.exp")).to_have_count(0)
        expect(entry).to_have_attribute("aria-expanded", "false")
    else:
        expect(page).to_have_url(re.compile(r"/trail/[0-9a-f-]{36}$"))
        expect(page.get_by_role("region", name="Entry")).to_contain_text("MAC")


def test_the_trail_is_narrowed_by_a_value_of_a_row(anyone):
    page = signed_in(anyone)
    page.goto("/trail")
    page.get_by_role("link", name="accounts:created", exact=True).first.click()
    expect(page.get_by_text("What: accounts:created")).to_be_visible()
    assert set(page.locator("tbody tr td:nth-child(4)").all_inner_texts()) == {"accounts:created"}
    page.get_by_role("link", name="Remove filter What").click()
    expect(page).to_have_url(re.compile(r"/trail\??$"))


def test_the_trail_is_asked_for_a_person_a_day_and_a_file(anyone):
    page = signed_in(anyone)
    page.goto("/trail")
    page.locator("summary", has_text="Actor").click()
    page.get_by_label("Actor").fill("nobody@example.org")
    anyone.watch.allow(400)
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("alert")).to_contain_text("No account is called nobody@example.org")
    page.get_by_role("link", name="Remove filter Actor").click()
    page.get_by_text("view as table").click()
    page.get_by_role("region", name="Trail entries per day").get_by_role("link").last.click()
    expect(page).to_have_url(re.compile(r"\?since=(\d{4}-\d\d-\d\d)&until=\1$"))
    expect(page.locator("table.trail > tbody > tr").first).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename.endswith(".csv")
    page.goto("/trail?event=trail:exported")
    expect(page.locator("table.trail > tbody > tr").first).to_contain_text("trail:exported")


# --- the frame ----------------------------------------------------------------------------------------------------


def test_the_theme_stays(anyone):
    page = signed_in(anyone)
    page.goto("/scans?state=failed")
    here = page.url

    def ground() -> str:
        return page.locator("body").evaluate("(body) => getComputedStyle(body).backgroundColor")

    light = ground()
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html[data-theme=dark]")).to_have_count(1)
    assert page.url == here
    dark = ground()
    assert dark != light
    expect(page.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")
    page.goto("/admin/")
    assert ground() != "rgb(255, 255, 255)"
    page.goto("/trail")
    assert ground() == dark
    page.get_by_role("button", name="Follow the system").click()
    expect(page.locator("html[data-theme]")).to_have_count(0)
    page.reload()
    assert ground() == light


def test_times_are_told_in_the_readers_zone(anyone):
    page = signed_in(anyone)
    page.goto("/my-security")
    zone = "America/St Johns" if anyone.javascript else "UTC"
    expect(page.get_by_role("navigation", name="Main")).to_contain_text(zone)


def test_the_menu_of_a_narrow_screen(anyone):
    page = signed_in(anyone)
    resize(page, NARROW)
    page.goto("/")
    rail = page.get_by_role("navigation", name="Main")
    expect(rail).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    rail.get_by_role("link", name="Audit trail").click()
    heading(page, "Audit trail")


def test_errors_say_what_to_do(anyone):
    page = signed_in(anyone, "eve@example.org")
    anyone.watch.allow(403, 404)
    page.goto("/nowhere")
    heading(page, "Nothing here")
    expect(page.locator("main")).to_contain_text(re.compile(r"Request\s*[0-9a-f]{32}"))
    page.get_by_role("link", name="To the start page").click()
    heading(page, "My security")
    page.goto("/trail")
    heading(page, "Not allowed")
    expect(page.locator("main")).to_contain_text("trail:read")


def test_the_api_guide(anyone):
    page = signed_in(anyone, "eve@example.org")
    page.goto("/my-security")
    page.get_by_role("link", name="API", exact=True).click()
    heading(page, "API")
    operation = page.locator("details", has_text="/api/v1/findings").first
    expect(operation.get_by_role("table").first).to_be_hidden()
    operation.locator("summary").click()
    expect(operation.get_by_role("table").first).to_be_visible()
    address = page.get_by_role("link", name="OpenAPI 3.1 file").get_attribute("href")
    assert page.request.get(address).json()["openapi"].startswith("3.1")


# --- the admin ----------------------------------------------------------------------------------------------------


def test_an_asset_is_added_in_the_admin_after_step_up(anyone, stage):
    person, page = stage.person(f"Asta{anyone.javascript}", "officer"), anyone.page
    name = f"billing-{anyone.javascript}".lower()
    anyone.holds(stage.session(person["email"], step_up=False))
    page.goto("/")
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Admin").click()
    heading(page, "Your second step again")
    page.get_by_label("6-digit code").fill(code(person["secret"]))
    page.get_by_role("button", name="Continue").click()
    heading(page, "Configuration and exact records")

    page.get_by_role("link", name="Add to Assets").click()
    page.get_by_label("Name:", exact=True).fill(name)
    page.get_by_label("Location").fill(f"/srv/{name}")
    page.get_by_label("Unit").select_option(label="Organisation")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("was added successfully")).to_be_visible()

    page.locator("#result_list").get_by_role("link", name=name).click()
    page.get_by_role("link", name="History in the trail").click()
    heading(page, f"History of {name}")
    change = page.locator("table.trail > tbody > tr")
    expect(change).to_have_count(2)  # with what it changed
    expect(change.first).to_contain_text("asset:create")
    expect(change.first).to_contain_text(person["email"])
    expect(change.last).to_contain_text(f"/srv/{name}")
    assert stage.newest_entry(name) == {"what": "asset:create", "actor": person["email"]}


def test_the_admins_calendar_opens(visitor: Visitor, stage: Stage):
    page = signed_in(visitor)
    page.goto("/admin/rbac/roleassignment/add/")
    page.get_by_role("link", name="Choose a Date").first.click()
    expect(page.locator(".calendarbox").first).to_be_visible()
    page.get_by_role("link", name="Today").first.click()
    expect(page.get_by_label("Valid from, date")).not_to_have_value("")


# --- imports ------------------------------------------------------------------------------------------------------


def test_a_report_is_tried_refused_taken_in_and_taken_back(anyone, stage):
    page, js = signed_in(anyone), anyone.javascript
    anyone.watch.allow(400)
    good = {
        "tool": f"tool-{js}",
        "findings": [{"rule": "ONE", "title": "One of it", "severity": "low", "path": "a.py"}],
    }

    def choose(content: bytes) -> None:
        page.get_by_label("Report", exact=True).set_input_files(
            {"name": f"{js}.json", "mimeType": "", "buffer": content}
        )

    page.goto("/imports/new")
    page.get_by_label("Asset", exact=True).select_option(label="reports (Organisation)")
    choose(b"<html>")
    page.get_by_role("button", name="Try it first").click()
    expect(page.locator("#id_file-error")).to_contain_text("XML or HTML")
    choose(json.dumps(good).encode())
    page.get_by_role("button", name="Try it first").click()
    expect(page.get_by_role("heading", name="What would come of it on reports")).to_be_visible()
    expect(page.get_by_text("One of it")).to_be_visible()
    expect(page.locator("#id_file-error")).to_be_empty()
    if not js:
        choose(json.dumps(good).encode())
    page.get_by_role("button", name="Take it in").click()
    expect(page).to_have_url(re.compile("/imports/[0-9a-f-]{36}$"))
    expect(page.get_by_text("The report is taken in.")).to_be_visible()
    page.get_by_role("button", name="Undo this import").click()
    expect(page.get_by_text("1 findings went, 0 are as before, 0 stay.")).to_be_visible()
