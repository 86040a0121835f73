"""Passkeys with Chromium's virtual authenticator: made, used beside and in place of the password, and to step up."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.conftest import Stage, Visitor, code
from tests.browser.test_walks import heading, sign_in, sign_out

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make browser").expect


class Authenticator:
    """A device with a fingerprint reader, as far as the browser can tell."""

    def __init__(self, page: Any) -> None:
        self.cdp = page.context.new_cdp_session(page)
        self.cdp.send("WebAuthn.enable")
        asked = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        self.id = self.cdp.send("WebAuthn.addVirtualAuthenticator", {"options": asked})["authenticatorId"]

    def credentials(self) -> list[dict[str, Any]]:
        return self.cdp.send("WebAuthn.getCredentials", {"authenticatorId": self.id})["credentials"]

    def verifies(self, is_verified: bool) -> None:
        self.cdp.send("WebAuthn.setUserVerified", {"authenticatorId": self.id, "isUserVerified": is_verified})

    def forget(self) -> None:
        self.cdp.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": self.id})
        self.cdp.send("WebAuthn.disable")
        self.cdp.detach()


@pytest.fixture
def device(visitor: Visitor) -> Iterator[Authenticator]:
    device = Authenticator(visitor.page)
    yield device
    device.forget()


def make_passkey(page: Any, name: str) -> None:
    heading(page, "Set up a passkey")
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Make a passkey").click()


def mine(page: Any, name: str) -> Any:
    return page.get_by_role("region", name="Your second factors").get_by_role("row", name=name)


def test_a_passkey_is_made_used_in_place_of_the_password_and_taken_off(visitor: Visitor, stage: Stage, device):
    person, page = stage.person("Paula"), visitor.page
    visitor.holds(stage.session(person["email"]))
    page.goto("/my-security")
    page.get_by_role("link", name="Add a passkey").click()
    make_passkey(page, "work laptop")
    heading(page, "Keep these recovery codes")  # the account had none yet
    page.get_by_role("link", name="I have saved them").click()
    expect(mine(page, "work laptop")).to_contain_text("a passkey")
    assert [credential["isResidentCredential"] for credential in device.credentials()] == [True]

    sign_out(page)
    page.get_by_role("button", name="Sign in with a passkey").click()
    heading(page, "My security")  # an employee's first page
    expect(mine(page, "work laptop")).not_to_contain_text("never")
    started = [entry for entry in stage.events_of(person["email"]) if entry == "sessions:started"]
    assert len(started) == 1

    mine(page, "work laptop").get_by_role("link").click()
    page.get_by_label("Name").fill("old laptop")
    page.get_by_role("button", name="Rename").click()
    mine(page, "old laptop").get_by_role("link").click()
    page.get_by_role("button", name="Take it off").click()
    heading(page, "Sign in")  # the session stood on it

    visitor.watch.allow(400)
    page.get_by_role("button", name="Sign in with a passkey").click()
    heading(page, "Passkey not accepted")


def test_a_passkey_is_the_second_step_and_the_step_up(visitor: Visitor, stage: Stage, device):
    person, page = stage.person("Pavel", "officer"), visitor.page
    visitor.holds(stage.session(person["email"]))
    page.goto("/sign-in/enrol/passkey")
    make_passkey(page, "")
    page.get_by_role("link", name="I have saved them").click()
    sign_out(page)

    sign_in(page, person)
    page.get_by_role("link", name="Use your passkey").click()
    page.get_by_role("button", name="Use your passkey").click()
    heading(page, "Overview")
    stage.steps_up_long_ago(person["email"])
    page.goto("/admin/")
    heading(page, "Your second step again")
    assert page.get_by_label("6-digit code").count() == 0  # the session stands on a passkey: nothing weaker does
    page.get_by_role("button", name="Use your passkey").click()
    heading(page, "Configuration and exact records")


def test_the_first_factor_may_be_a_passkey(visitor: Visitor, stage: Stage, device):
    page = visitor.page
    page.goto(stage.link_for("Pia"))
    page.get_by_label("Password", exact=True).fill("the kettle sings at seven")
    page.get_by_label("The same password again").fill("the kettle sings at seven")
    page.get_by_role("button", name="Continue").click()
    heading(page, "Set up your second step")
    page.get_by_role("link", name="Use a passkey").click()
    make_passkey(page, "phone")
    heading(page, "Keep these recovery codes")
    page.get_by_role("link", name="I have saved them").click()
    heading(page, "My security")


def test_who_cancels_or_is_not_verified_gets_a_sentence(visitor: Visitor, stage: Stage, device):
    person, page = stage.person("Petra"), visitor.page
    visitor.holds(stage.session(person["email"]))
    device.verifies(False)
    page.goto("/sign-in/enrol/passkey")
    page.get_by_role("button", name="Make a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("it was cancelled, or took too long")
    assert device.credentials() == []
    page.get_by_role("link", name="Use an authenticator app").click()
    heading(page, "Set up your second step")
    expect(page.get_by_text("You have an authenticator app already")).to_be_visible()


def test_without_scripts_the_other_ways_are_there(windows, stage: Stage):
    with windows[False].of_nobody() as visitor:
        page, person = visitor.page, stage.person("Pepe")
        page.goto("/sign-in")
        expect(page.get_by_role("button", name="Sign in with a passkey")).to_be_hidden()
        sign_in(page, person)
        page.get_by_label("6-digit code").fill(code(person["secret"]))
        page.get_by_role("button", name="Sign in").click()
        heading(page, "My security")
        page.get_by_role("link", name="Add a passkey").click()
        expect(page.get_by_text("A passkey needs JavaScript")).to_be_visible()
