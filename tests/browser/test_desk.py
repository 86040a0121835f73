"""The queue as a desk: deciding beside it, its keys, and views that are kept."""

import re
from typing import Any

import pytest

from tests.browser.conftest import AXE, WIDE, Visitor, resize
from tests.browser.test_pages import LOOK, RULES, THEMES, follow
from tests.browser.test_walks import rows, signed_in

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make browser").expect


@pytest.fixture
def queue(visitor: Visitor, stage: Any, request: Any) -> tuple[Any, str]:
    """A page with four findings of an asset of its own, and the asset."""
    page, asset = signed_in(visitor), stage.make_queue(request.node.name[:60], 4)
    page.goto(f"/findings?asset={asset}")
    expect(rows(page)).to_have_count(4)
    return page, asset


def label(page: Any, number: int) -> str:
    return rows(page).nth(number).locator(".mono").first.inner_text()


def current(page: Any) -> int:
    return rows(page).evaluate_all("(all) => all.findIndex((row) => row.ariaCurrent === 'true')")


def form_of(page: Any) -> Any:
    return page.locator("#panel form.decide")


def opens(page: Any, name: str) -> None:
    expect(page.locator("#panel > header")).to_contain_text(name)


def test_a_decision_in_the_panel_takes_the_row_away_and_opens_the_next(queue, stage, visitor):
    page, asset = queue
    first, second = label(page, 0), label(page, 1)
    rows(page).first.get_by_role("link").click()
    opens(page, first)
    page.locator("#panel").get_by_role("link", name="Decide").click()
    form = form_of(page)
    expect(form.get_by_label("It is")).to_be_focused()
    form.get_by_label("It is").select_option("false_positive")
    visitor.watch.allow(400)
    form.get_by_role("button", name="Decide").click()
    expect(form.get_by_text("Give a reason")).to_be_visible()
    expect(form.get_by_label("Why")).to_be_focused()
    expect(form.get_by_label("It is")).to_have_value("false_positive")
    expect(rows(page)).to_have_count(4)
    form.get_by_label("Why").fill("Not reachable from outside")
    form.get_by_label("Why").press("Enter")

    opens(page, second)
    expect(rows(page)).to_have_count(3)
    expect(page.locator("#panel .note")).to_contain_text(f"Your decision about {first} is kept: False positive.")
    expect(page.locator("#said")).to_contain_text(f"Your decision about {first} is kept")
    expect(page.get_by_text("3 left on this page")).to_be_visible()
    expect(rows(page).first.get_by_role("link")).to_be_focused()
    assert current(page) == 0
    assert re.search(rf"asset={asset}&open=[0-9a-f-]+$", page.url)
    assert stage.states_of(asset) == ["false_positive", "open", "open", "open"]
    page.reload()
    opens(page, second)


def test_a_row_that_stays_shows_its_new_state_and_the_last_one_stays_open(queue, stage):
    page, asset = queue
    page.keyboard.press("j")
    page.keyboard.press("t")
    expect(form_of(page).get_by_role("button", name="Decide")).to_be_focused()
    page.keyboard.press("Enter")
    opens(page, label(page, 1))
    expect(rows(page).first).to_contain_text("Triaged")
    expect(rows(page)).to_have_count(4)
    rows(page).last.get_by_role("link").click()
    last = label(page, 3)
    opens(page, last)
    page.keyboard.press("f")
    expect(form_of(page).get_by_label("Why")).to_be_focused()
    page.keyboard.type("jkx?")  # letters of a reason, and no keys
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_count(3)
    opens(page, last)
    expect(page.locator("#panel")).to_be_focused()
    expect(page.locator("#panel .kv").first).to_contain_text("False positive")
    assert stage.states_of(asset) == ["triaged", "open", "open", "false_positive"]


def test_keys_act_on_the_finding_that_is_current_however_fast(queue):
    page, _ = queue
    names = [label(page, number) for number in range(4)]
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    opens(page, names[0])
    page.keyboard.press("j")  # no waiting for the panel in between
    page.keyboard.press("a")
    form = form_of(page)
    expect(form).to_have_attribute("aria-label", f"Decide about {names[1]}")
    expect(form.get_by_label("It is")).to_have_value("accepted")
    opens(page, names[1])
    page.keyboard.press("Escape")
    expect(form).to_have_count(0)
    expect(page.locator("[data-decide]")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#panel")).to_be_hidden()
    page.keyboard.press("x")
    expect(rows(page).nth(1).get_by_role("checkbox")).to_be_checked()
    page.keyboard.press("x")
    expect(rows(page).nth(1).get_by_role("checkbox")).not_to_be_checked()
    page.keyboard.press("c")
    expect(page.locator("#panel textarea")).to_be_focused()
    page.keyboard.type("dtfaxjk?")
    expect(page.locator("#panel textarea")).to_have_value("dtfaxjk?")
    assert current(page) == 1


def test_keys_are_nobodys_while_typing_with_a_modifier_or_when_switched_off(queue):
    page, _ = queue
    dialog = page.locator("#keys")
    page.keyboard.press("?")
    expect(dialog).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    for key in ("Control+j", "Alt+j", "Meta+d"):
        page.keyboard.press(key)
    assert current(page) == -1
    page.get_by_role("searchbox").focus()
    page.keyboard.type("dtf")
    page.get_by_role("searchbox").fill("")
    expect(page.locator("#panel")).to_be_hidden()
    page.get_by_role("heading", level=1).click()
    page.keyboard.press("j")
    assert current(page) == 0

    page.get_by_role("button", name="All keys").click()
    dialog.get_by_label("Single keys work in this browser").uncheck()
    dialog.get_by_role("button", name="Close").click()
    page.reload()
    for key in ("j", "x", "d", "?", "/"):
        page.keyboard.press(key)
    assert current(page) == -1
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("searchbox")).not_to_be_focused()
    page.get_by_role("button", name="All keys").click()
    dialog.get_by_label("Single keys work in this browser").check()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    assert current(page) == 0


def test_a_view_is_kept_opened_and_removed(anyone, stage):
    page, name = signed_in(anyone), f"High <b>{anyone.javascript}"
    page.goto("/findings?severity=high&due=soon")
    page.locator("summary", has_text="Save view").click()
    page.get_by_label("Name for these filters").fill(name)
    follow(page.get_by_role("button", name="Save", exact=True))
    assert page.url.endswith("/findings?severity=high&due=soon")
    views = page.get_by_role("navigation", name="Saved views")
    expect(views.get_by_role("link", name=name)).to_have_attribute("aria-current", "true")
    follow(views.get_by_role("link", name="Overdue"))
    assert page.url.endswith("?due=over")
    expect(views.get_by_role("link", name="Overdue")).to_have_attribute("aria-current", "true")
    follow(views.get_by_role("link", name=name))
    assert page.url.endswith("/findings?severity=high&due=soon")
    page.locator("summary", has_text="Save view").click()
    follow(page.get_by_role("button", name=f"Remove the view {name}"))
    expect(views.get_by_role("link", name=name)).to_have_count(0)


def test_without_scripts_deciding_is_a_page(windows, stage, request):
    with windows[False].of_nobody() as plain:
        page, asset = signed_in(plain), stage.make_queue(request.node.name, 2)
        page.goto(f"/findings?asset={asset}")
        expect(page.get_by_role("button", name="All keys")).to_be_hidden()
        follow(rows(page).first.get_by_role("link"))
        follow(page.get_by_role("link", name="Decide"))
        page.get_by_label("It is").select_option("triaged")
        follow(page.get_by_role("button", name="Decide"))
        expect(page.get_by_text("is kept: Triaged")).to_be_visible()
        assert stage.states_of(asset) == ["triaged", "open"]


@pytest.mark.parametrize("part", ["form", "refusal", "keys", "views"])
def test_its_parts_in_both_themes(browser, stage, queue, part, visitor):
    page, _ = queue
    if not AXE.exists():
        pytest.skip("axe is not there: make axe")
    visitor.watch.allow(400)
    match part:
        case "keys":
            page.keyboard.press("?")
            expect(page.locator("#keys")).to_be_visible()
        case "views":
            page.locator("summary", has_text="Save view").click()
        case _:
            page.keyboard.press("f")
            expect(form_of(page).get_by_label("Why")).to_be_focused()
    if part == "refusal":
        page.keyboard.press("Enter")
        expect(form_of(page).get_by_text("Give a reason")).to_be_visible()
    visitor.watch.check()
    page.evaluate(AXE.read_text())
    for theme, rules in THEMES:
        page.emulate_media(color_scheme=theme)
        resize(page, WIDE)
        assert page.evaluate(LOOK, [rules or RULES, False]) == []
    visitor.watch.forget()
