"""Every page a person can reach: accessible in both themes and on a narrow screen, and quiet behind its looks."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest

from accounts.sso.walk import MOST_BEGUN_HERE
from tests.architecture.test_url_map import ADDRESSES
from tests.browser.conftest import AXE, NARROW, WIDE, Stage, Visitor, code, resize
from tests.services import missing

# An address that is no page: it answers a machine, or leads on to a page that is looked at by itself.
NO_PAGE = {
    "healthz", "readyz", "^api(?:/.*)?$", ".well-known/jwks.json", "trail/export", "findings/export", "verify.py",
    "client/opssight-ci.py", "client/opssight-ci.py.sha256",
    "sign-in/with/<slug:slug>/logout",
}  # fmt: skip
NO_ADMIN_PAGE = tuple(f"admin/{kind}" for kind in ("login/", "logout/", "autocomplete/", "jsi18n/", "r/", "(?P<url>"))
# Looked at below, in each state in which they show themselves.
SOLO = {
    "sign-in", "sign-in/second-step", "sign-in/enrol", "sign-in/enrol/passkey", "sign-in/enrol/message/<str:channel>",
    "sign-in/forgotten", "sign-in/passkey", "sign-in/passkey/options/<str:use>", "sign-in/message/<str:channel>",
    "set-up/<str:token>", "step-up", "my-security/factors/<uuid:uid>/remove", "my-security/factors/<uuid:uid>/name",
    "not-me/<str:token>", "sign-in/with/<slug:slug>", "sign-in/with/<slug:slug>/back", "signed-out",
    "my-security/links/<slug:slug>/new", "my-security/links/confirm", "my-security/links/<uuid:uid>/remove",
    "step-up/with/<slug:slug>", "bulk-actions", "assets/<uuid:uid>/retire-tool",
}  # fmt: skip


def is_admin_page(address: str) -> bool:
    leads_on = address.endswith(("/history/", "/<path:object_id>/"))
    return address.startswith("admin/") and not address.startswith(NO_ADMIN_PAGE) and not leads_on


UNKNOWN = "01a20bd9-1d59-7949-b8ec-209801f0f979"
CONSOLE = [a for a in ADDRESSES if not a.startswith(("api/", "admin/")) and a not in NO_PAGE | SOLO]
ADMIN = [a for a in ADDRESSES if is_admin_page(a)]


def follow(link: Any) -> None:
    """Clicks on it, and waits for the page that it leads to."""
    with link.page.expect_navigation():
        link.click()


def test_nothing_on_the_lists_is_gone():
    assert ADDRESSES.keys() >= NO_PAGE | SOLO


# --- looking ------------------------------------------------------------------------------------------------------

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
# All that another theme of the same page can change is its colours.
THEMES = (("light", RULES), ("dark", ["color-contrast", "link-in-text-block"]))
# What is long repeats itself: a dozen rows of a table are looked at, and three of a section's parts that unfold; rows
# that an open menu partly covers are looked at without it.
LOOK = """async ([rules, preload]) => {
  document.getAnimations().forEach((animation) => animation.finish());
  const {violations} = await axe.run(
    {exclude: [["tbody tr:nth-child(n + 13)"], ["section details:nth-of-type(n + 4)"],
      ["body:has(details.pick[open]) tbody"]]},
    {runOnly: rules, preload, resultTypes: ["violations"]});
  return violations.flatMap(({id, nodes}) => nodes.map((n) => `${id}: ${n.target.join(" ")}: ${n.failureSummary}`));
}"""
TOO_WIDE = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
SHEETS = "() => [...document.styleSheets].map((sheet) => sheet.href).join()"
Look = Callable[[], None]


@pytest.fixture(scope="module")
def window(browser: Any, stage: Stage) -> Visitor:
    window = Visitor(browser, stage)
    if AXE.exists():
        window.context.add_init_script(path=AXE)
    return window


@pytest.fixture(scope="module")
def known_sheets() -> set[str]:
    """Axe fetches style sheets for the one rule about them: once for each set of sheets will do."""
    return set()


@pytest.fixture
def look(window: Visitor, known_sheets: set[str]) -> Iterator[Look]:
    """Judges the page that is open now."""
    page = window.page

    def judge() -> None:
        found, sheets = defaultdict(list), page.evaluate(SHEETS)
        for size in (NARROW, WIDE):
            resize(page, size)
            if (over := page.evaluate(TOO_WIDE)) > 0:
                found[f"the page is {over} px too wide"].append(f"{size[0]} px")
        window.watch.check()  # before axe, which does things that the policy forbids
        for size, (theme, rules) in product((WIDE, NARROW), THEMES if AXE.exists() else ()):
            resize(page, size)
            page.emulate_media(color_scheme=theme)
            for problem in page.evaluate(LOOK, [rules, sheets not in known_sheets]):
                found[problem].append(f"{size[0]} px {theme}")
            known_sheets.add(sheets)
        window.watch.forget()
        assert not found, "\n".join(f"{', '.join(modes)}: {problem}" for problem, modes in found.items())
        if not AXE.exists():
            missing(f"the page is quiet, but {AXE} is not there to judge how accessible it is: make browser")

    with window.of_nobody():
        yield judge


@pytest.fixture
def olga(look: Look, window: Visitor, stage: Stage) -> Any:
    """The page of somebody who may see everything."""
    window.holds(stage.session("olga@example.org"))
    return window.page


@pytest.fixture
def nobody(look: Look, window: Visitor) -> Any:
    return window.page


def test_what_is_wrong_is_seen(nobody, look, window):
    nobody.goto("/sign-in")
    nobody.evaluate("""() => {
      document.querySelector("label").remove();
      document.body.append(Object.assign(document.createElement("div"), {className: "wide"}));
      document.querySelector(".wide").style.width = "1500px";
    }""")
    with pytest.raises(AssertionError, match="px too wide") as seen:
        look()
    assert ("1440 px light, 320 px light: label: #id_username" in str(seen.value)) == AXE.exists()
    for wrong, told in [
        ("document.body.setAttribute('style', 'color: red')", "CSP: style-src-attr"),
        ("fetch('http://other.example/').catch(() => 0)", "CSP: connect-src"),
        ("setTimeout(() => { throw new Error('broken'); })", "broken"),
        ("fetch('/static/nothing.css')", "404: "),
        ("console.error('said')", "said"),
    ]:
        nobody.goto("/sign-in")
        nobody.evaluate(f"() => {{ {wrong}; return new Promise((after) => setTimeout(after, 50)); }}")
        assert told in "\n".join(window.watch.forget()), wrong


# --- each address -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", CONSOLE, ids=lambda address: address or "overview")
def test_console(address, olga, look, objects):
    place = re.sub("<[^>]+>", objects.get(address, UNKNOWN), "/" + address)
    status = olga.request.get(place).status
    if status == 405:
        return  # it answers a form
    assert status == 200, f"{address}: say in stage.objects() what there is to look at"
    olga.goto(place)
    assert olga.url.endswith(place)
    look()


@pytest.mark.parametrize("address", ADMIN)
def test_admin(address, olga, look, objects, window):
    if "<path:object_id>" in address:
        app, model = address.split("/")[1:3]
        address = address.replace("<path:object_id>", str(objects["admin"][f"{app}.{model}"]))
    window.watch.allow(403)  # not everything may be added or deleted here; how a refusal looks is seen below
    place = "/" + re.sub(r"\^\(.*", "scanning/", address)
    if olga.goto(place).ok:
        assert olga.url.endswith(place)
        look()


# --- what addresses alone don't show ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "findings?open={opened}",
        "findings?severity=high&due=over&q=nothing",
        "findings?owner=me&tag=needs-review",
        "bulk-actions?finding={opened}",
        "bulk-actions?all=yes&query=status%3Dopen",
        "scans?state=timed_out",
        "coverage?state=failed&tool=bandit",
        "coverage?state=running",
        "assets/new?kind=git",
        "assets/new?kind=archive",
        "assets/{packed}",
        "assets/{packed}/retire-tool?tool=bandit",
        "trail?event=nothing:happened",
        "trail/report?framework=SOC2&start={day}&end={day}",
        "trail/report?framework=all&start=2023-01-01&end={day}",
        "trail?resource_type=scanning.finding&resource_id={opened}",
        "scans/{states[failed]}",
        "scans/{states[completed_with_errors]}",
        "admin/scanning/finding/?q=nothing",
    ],
)
def test_other_content(address, olga, look, objects):
    day = datetime.now(UTC).date()
    olga.goto("/" + address.format(opened=objects["findings/<uuid:uid>"], day=day, **objects))
    look()


@pytest.mark.parametrize(
    ("address", "part"),
    [
        ("findings", "details.pick >> nth=1 >> summary"),
        ("trail?event=accounts:created", "a[data-expand] >> nth=0"),
        ("trail", "details.pick >> nth=0 >> summary"),
        ("trail?success=false", "details.pick >> nth=2 >> summary"),
        ("scans", "[popovertarget=account]"),
    ],
)
def test_unfolded(address, part, olga, look):
    olga.goto("/" + address)
    olga.click(part)
    olga.wait_for_selector("details.pick[open], tr.exp, :popover-open")
    look()


def test_the_menu_of_a_narrow_screen(olga, look):
    resize(olga, NARROW)
    olga.goto("/scans")
    olga.click("[popovertarget=nav]")
    look()


@pytest.mark.parametrize("address", ["", "api-guide"])
def test_tables_behind_charts_and_headings(address, olga, look):
    olga.goto("/" + address)
    olga.evaluate("() => [...document.querySelectorAll('main details')].slice(0, 3).forEach((d) => { d.open = true; })")
    look()


def test_a_running_scan(olga, look, stage):
    scan = stage.queue_scan("looked-at")
    try:
        for address in (f"/scans/{scan}?still", "/?still"):
            olga.goto(address)
            look()
            if address.startswith("/scans"):
                stage.start_scan(scan, parts=3)
                stage.read_part(scan, name="src", new=2)
    finally:
        stage.finish_scan(scan)


def test_what_an_employee_sees(window, look, stage):
    window.holds(stage.session("eve@example.org"))
    window.page.goto("/")
    assert window.page.url.endswith("/my-security")
    look()
    window.watch.allow(403)
    assert window.page.goto("/trail").status == 403
    look()


# --- the way in ---------------------------------------------------------------------------------------------------


def test_sign_in(nobody, look, window):
    nobody.goto("/sign-in")
    look()
    window.watch.allow(400, 429)
    for _ in range(5):
        nobody.goto("/sign-in")
        nobody.fill("[name=username]", "nobody.at.all@example.org")
        nobody.fill("[name=password]", "wrong")
        follow(nobody.locator("main button").first)
    assert nobody.title().startswith("Locked")
    look()


def test_a_wrong_password(nobody, look, window):
    window.watch.allow(400)
    nobody.goto("/sign-in")
    nobody.fill("[name=username]", "nobody@example.org")
    nobody.fill("[name=password]", "wrong")
    follow(nobody.locator("main button").first)
    assert nobody.is_visible("[role=alert]")
    look()


def test_set_up(nobody, look, window, stage):
    nobody.goto(stage.link_for("Sven"))
    look()
    window.watch.allow(400)
    nobody.fill("[name=password]", "password")
    nobody.fill("[name=again]", "another")
    follow(nobody.locator("main button").first)
    look()


def test_a_link_that_was_used(nobody, look, window):
    window.watch.allow(404)
    nobody.goto("/set-up/nothing")
    look()


def test_nothing_here(nobody, look, window):
    window.watch.allow(404)
    nobody.goto("/nowhere")
    look()


def test_enrolment(window, look, stage):
    window.holds(stage.halfway("Enno", is_enrolled=False))
    window.page.goto("/sign-in/enrol")
    look()


@pytest.mark.parametrize("query", ["", "?recovery"])
def test_the_second_step(query, window, look, stage):
    window.holds(stage.halfway(f"Tove{len(query)}", is_enrolled=True))
    window.page.goto(f"/sign-in/second-step{query}")
    look()


@pytest.mark.parametrize(
    "address", ["/sign-in/enrol/passkey", "/sign-in/enrol/message/sms", "/sign-in/enrol/message/email"]
)
def test_other_kinds_of_factor(address, window, look, stage):
    window.holds(stage.halfway(f"Other{address[-5:]}", is_enrolled=False))
    window.page.goto(address)
    look()
    if address.endswith("email"):
        window.page.get_by_role("button", name="Send a code").click()
        window.page.wait_for_selector("#code")
        look()


def test_a_sign_in_through_a_provider_that_did_not_work_and_the_way_out(nobody, window, look):
    window.watch.allow(400)
    nobody.goto("/sign-in/with/with-provider/back?state=unknown")
    assert nobody.is_visible("text=did not work")
    look()
    nobody.goto("/signed-out")
    look()


def test_too_many_sign_ins_through_a_provider(nobody, window, look, stage):
    window.watch.allow(400, 429)
    try:
        for _ in range(2 * MOST_BEGUN_HERE):  # a minute may end in between
            if nobody.request.get("/sign-in/with/with-provider").status == 429:
                break
        nobody.goto("/sign-in/with/with-provider")
        assert nobody.is_visible("text=Too many sign-ins for now")
        look()
    finally:
        stage.rates_begin_anew()


def test_a_link_to_a_provider_and_the_step_up_by_it(window, look, stage, provider):
    window.watch.visit(provider)
    window.holds(stage.session(stage.person("Lina")["email"]))
    page = window.page
    page.goto("/my-security")
    follow(page.get_by_role("link", name="Link Real ID"))
    sign_in_there(page, "lina-over-there")
    assert page.is_visible("text=Link Real ID to your account?")
    assert page.url.endswith("/my-security/links/confirm")
    look()
    follow(page.get_by_role("button", name="Link it"))
    assert page.is_visible("text=it signs you in from now on")
    look()
    window.context.clear_cookies()
    page.goto("/sign-in")
    look()
    follow(page.get_by_role("link", name="Sign in with Real ID"))
    sign_in_there(page, "lina-over-there")
    page.goto("/step-up")
    assert page.is_visible("text=Sign in there again")
    look()
    window.context.clear_cookies()
    page.goto("/sign-in/with/real")
    sign_in_there(page, "nobody-yet")
    page.goto("/step-up")
    assert page.is_visible("text=Sign in with Real ID again")
    look()
    follow(page.get_by_role("link", name="Sign in with Real ID again"))
    window.watch.allow(400)
    sign_in_there(page, "lina-over-there")
    assert page.is_visible("text=did not work")
    look()


def sign_in_there(page: Any, name: str) -> None:
    """On the provider's page, with a second factor; then back here."""
    page.fill("[name=login]", name)
    page.check("[name=factor]")
    with page.expect_navigation(url=re.compile("^http://localhost")):
        page.click("button")


def test_a_forgotten_password(nobody, look):
    nobody.goto("/sign-in/forgotten")
    look()
    nobody.fill("[name=email]", "nobody@example.org")
    follow(nobody.locator("main button").first)
    assert "Look into your mailbox" in nobody.title() or nobody.is_visible("text=Look into your mailbox")
    look()


def test_ones_own_factors(window, look, stage):
    person = stage.person("Fritz")
    window.holds(stage.session(person["email"]))
    page = window.page
    page.goto("/my-security/password")
    look()
    page.goto("/my-security")
    follow(page.get_by_role("link", name="Take off authenticator app"))
    look()
    window.watch.allow(409)
    follow(page.get_by_role("button", name="Take it off"))
    assert page.is_visible("[role=alert]")
    look()
    page.goto("/step-up?level=passkey")
    look()


def test_where_one_is_signed_in(window, look, stage):
    person = stage.person("Sina")
    window.holds(stage.session(person["email"]))
    page, link = window.page, stage.signed_in_elsewhere(person["email"])
    stage.has_a_token(person["email"])
    page.goto("/my-security")
    assert page.locator("[aria-label='Open sessions'] tbody tr").count() == 2
    assert page.locator("[aria-label='Your API tokens'] tbody tr").count() == 1
    look()
    page.goto(link)
    assert page.is_visible("text=Somebody else was in?")
    look()


def test_my_security_with_all_there_can_be(window, look, stage):
    person = stage.person("Wilma")
    stage.has_everything(person["email"])
    window.holds(stage.session(person["email"]))
    page = window.page
    page.goto("/my-security")
    assert page.locator("[aria-label='Your registered devices'] tbody tr").count() == 3
    assert page.is_visible("text=Unreadable: set it up anew")
    look()
    follow(page.get_by_role("link", name="See and change your own details"))
    follow(page.get_by_role("button", name="Show in full"))
    assert page.is_visible("text=65070803F018")
    look()
    window.watch.allow(400)
    page.fill("[name=name]", "me@example.org")
    follow(page.get_by_role("button", name="Save"))
    assert page.is_visible("text=It has no @")
    look()


def test_revealing_a_number(olga, window, look, stage):
    details = stage.has_everything(stage.person("Walter")["email"])
    olga.goto(f"/personal-details/{details}/reveal?field=ssn")
    look()
    window.watch.allow(400)
    olga.fill("[name=reason]", "too short")
    olga.evaluate("() => document.querySelector('main form').setAttribute('novalidate', '')")
    follow(olga.get_by_role("button", name="Reveal it"))
    assert olga.is_visible("text=at least 10")
    look()
    olga.fill("[name=reason]", "Payroll asks for it.")
    follow(olga.get_by_role("button", name="Reveal it"))
    assert olga.is_visible("text=65070803F018")
    look()


def test_a_second_step_that_can_not_be_read(window, look, stage):
    window.holds(stage.halfway("Ulf", is_enrolled=True, is_readable=False))
    page = window.page
    page.goto("/sign-in/second-step")
    window.watch.allow(400)
    page.fill("[name=code]", "123456")
    follow(page.locator("main button").first)
    assert page.is_visible("text=can't be read any more")
    look()


def test_a_new_token(window, look, stage):
    window.holds(stage.session(stage.person("Tobi")["email"]))
    page = window.page
    page.goto("/my-security/tokens/new")
    page.fill("[name=name]", "nightly scan")
    page.fill("[name=addresses]", "the office")
    window.watch.allow(400)
    follow(page.get_by_role("button", name="Make the token"))
    assert page.is_visible("text=is no network")
    assert page.is_visible("text=Tick at least one")
    look()
    page.fill("[name=addresses]", "10.2.0.0/16")
    page.check("[value='me:read']")
    follow(page.get_by_role("button", name="Make the token"))
    assert page.locator("#token li").inner_text().startswith("ops_")
    look()


def test_step_up_and_fresh_codes(window, look, stage):
    person = stage.person("Stine", "officer")
    window.holds(stage.session(person["email"], step_up=False))
    page = window.page
    page.goto("/admin/")
    assert page.title().startswith("Your second step again")
    look()
    page.goto("/my-security/recovery-codes")
    page.fill("[name=code]", code(person["secret"]))
    follow(page.locator("main button").first)
    assert page.locator("#codes li").count() == 10
    look()
