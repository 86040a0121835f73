"""A real server, a real browser. What a page does wrong behind its looks fails the test that visits it.

Either missing is a skip with a reason, and a failure where OPSSIGHT_REQUIRE_SERVICES=1 says that it must be there.
"""

import asyncio
import base64
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django_otp.oath import totp

from opssight.settings.env import BASE_DIR, generated_secrets
from tests.accounts.sso.real import real_provider
from tests.services import missing

CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [  # root can have no sandbox, and no page but our own is opened
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
]  # fmt: skip
AXE = Path(os.environ.get("OPSSIGHT_AXE") or BASE_DIR / "var/tools/node_modules/axe-core/axe.min.js")
WIDE, NARROW = (1440, 900), (320, 640)
PATIENCE = 10_000  # ms; on a busy machine a page may take its time

# What was blocked, and which rule did it; the browser's own words in the console name only the rule.
TELL_VIOLATIONS = """addEventListener("securitypolicyviolation", (e) =>
  console.error(`CSP: ${e.violatedDirective} blocked ${e.blockedURI} in ${e.sourceFile}:${e.lineNumber}`))"""


# --- the event loop -----------------------------------------------------------------------------------------------

_loop: asyncio.AbstractEventLoop | None = None


@contextmanager
def in_the_browsers_loop() -> Iterator[None]:
    """Playwright leaves its loop marked as running between calls, and Django then refuses every query of this thread.

    So the mark is set only while a test of this folder runs: between those the loop stands still anyway.
    """
    global _loop
    asyncio._set_running_loop(_loop)
    try:
        yield
    finally:
        _loop = asyncio._get_running_loop()
        asyncio._set_running_loop(None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    if Path(__file__).parent not in item.path.parents:
        return (yield)
    with in_the_browsers_loop():
        return (yield)


# --- the server ---------------------------------------------------------------------------------------------------


class Stage:
    """The server. Any other attribute is a function of stage.py: `stage.link_for("Ida")`."""

    def __init__(self, port: int, process: subprocess.Popen[str], log: Path) -> None:
        self.url, self.process, self.log = f"http://localhost:{port}", process, log

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(*positional: Any, **named: Any) -> Any:
            self.process.stdin.write(json.dumps([name, positional, named]) + "\n")
            self.process.stdin.flush()
            return self.hear()

        return ask

    def hear(self) -> Any:
        line = self.process.stdout.readline()
        assert line, f"the server is gone:\n{self.log.read_text()[-4000:]}"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer.get("value")


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    home = tmp_path_factory.mktemp("home")
    log = home / "log"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OPSSIGHT_", "DJANGO_"))}
    with a_database() as database, log.open("w") as file:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.browser.server", str(port)],
            cwd=BASE_DIR, env={**inherited, **database, "OPSSIGHT_HOME": str(home)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True,
        )  # fmt: skip
        with server as process:
            stage = Stage(port, process, log)
            stage.hear()
            yield stage
            process.stdin.close()  # the end, for it
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def a_database() -> Iterator[dict[str, str]]:
    """SQLite in the server's own folder, or a database beside the suite's own, which the suite's tests empty."""
    url = os.environ.get("OPSSIGHT_DATABASE_URL")
    if not url:
        yield {}
        return
    import psycopg

    name = f"opssight_browser_{secrets.token_hex(4)}"
    with psycopg.connect(urlsplit(url)._replace(path="/postgres").geturl(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            here = urlsplit(url)._replace(path=f"/{name}").geturl()
            yield {"OPSSIGHT_DATABASE_URL": here, **generated_secrets()}
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def provider(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real OpenID provider, which the server knows as Real ID: its second factor counts as an app."""
    with real_provider(stage.url, tmp_path_factory.mktemp("oidc") / "log") as issuer:
        stage.knows_provider(issuer)
        yield issuer


@pytest.fixture(scope="session")
def objects(stage: Stage) -> dict[str, Any]:
    return stage.objects()


# --- the browser --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def browser(django_db_setup: None) -> Iterator[Any]:
    """Opened after the suite's database, so that it's closed before it: while the loop is marked, Django drops none."""
    try:
        from playwright.sync_api import expect, sync_playwright
    except ImportError:
        missing("playwright is not installed: make browser")
    program = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if program is None:
        missing("there is no Chromium on the path; on Debian: apt install chromium-headless-shell")
    expect.set_options(timeout=PATIENCE)
    playwright = sync_playwright().start()
    browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
    yield browser
    # The last test of the session may be one of another folder.
    with in_the_browsers_loop():
        browser.close()
        playwright.stop()


class Watch:
    """Keeps what went wrong in a context: errors, blocked content, calls to elsewhere, refused and failed requests."""

    def __init__(self, context: Any, stage: Stage) -> None:
        self.context, self.stage = context, stage
        self.allowed: set[int] = set()
        self.elsewhere: tuple[str, ...] = ()
        self.problems: list[str] = []
        context.on("console", self._said)
        context.on("weberror", lambda error: self.problems.append(f"error: {error.error}"))
        context.on("request", self._asked)
        context.on("requestfailed", self._failed)
        context.on("response", self._answered)

    def allow(self, *statuses: int) -> None:
        """These answers are what the test is about."""
        self.allowed |= set(statuses)

    def visit(self, *origins: str) -> None:
        """The test goes there as well; what those pages do is not ours to judge."""
        self.elsewhere = tuple(f"{origin}/" for origin in origins)

    def _is_ours(self, url: str) -> bool:
        return not (self.elsewhere and url.startswith(self.elsewhere))

    def _said(self, message: Any) -> None:
        if not self._is_ours(message.location.get("url", "")):
            return
        told = message.type == "error" or "Content Security Policy" in message.text
        if told and not message.text.startswith("Failed to load resource"):  # an answer, judged as one
            self.problems.append(f"console: {message.text}")

    def _asked(self, request: Any) -> None:
        if self._is_ours(request.url) and not request.url.startswith((self.stage.url + "/", "data:")):
            self.problems.append(f"asked another host: {request.url}")

    def _failed(self, request: Any) -> None:
        if self._is_ours(request.url) and request.failure != "net::ERR_ABORTED":  # by going on to the next page
            self.problems.append(f"failed: {request.method} {request.url}: {request.failure}")

    def _answered(self, response: Any) -> None:
        if not self._is_ours(response.url):
            return
        if response.status >= 500:
            self.problems.append(f"{response.status}: {response.url}\n{self.stage.log.read_text()[-4000:]}")
        elif response.status >= 400 and response.status not in self.allowed:
            self.problems.append(f"{response.status}: {response.url}")

    def forget(self) -> list[str]:
        for page in self.context.pages:
            page.title()  # everything said before its answer has arrived by then
        problems, self.problems = self.problems, []
        return problems

    def check(self) -> None:
        problems = self.forget()
        assert not problems, "\n" + "\n".join(problems)


class Visitor:
    """A browser window. Tests share windows, since opening one costs more than most tests, and start over in each."""

    def __init__(self, browser: Any, stage: Stage, *, javascript: bool = True) -> None:
        self.stage, self.javascript = stage, javascript
        self.context = browser.new_context(
            base_url=stage.url,
            java_script_enabled=javascript,
            reduced_motion="reduce",
            timezone_id="America/St_Johns",  # half an hour off, so that no time is right by accident
        )
        self.context.set_default_timeout(PATIENCE)
        self.context.add_init_script(TELL_VIOLATIONS)
        self.watch = Watch(self.context, stage)
        self.page = self.context.new_page()

    @contextmanager
    def of_nobody(self) -> Iterator["Visitor"]:
        """For one test: signed out, on a wide screen; at its end nothing may have gone wrong unseen."""
        self.page.goto("about:blank")  # the last test's page may ask for news, which nobody is refused
        self.context.clear_cookies()
        resize(self.page, WIDE)
        self.page.emulate_media(color_scheme="light")
        self.watch.allowed.clear()
        self.watch.visit()
        yield self
        self.watch.check()

    def holds(self, session: str) -> None:
        """Signs in, or halfway in, behind the scenes."""
        self.context.clear_cookies(name="session")
        self.context.add_cookies([{"name": "session", "value": session, "url": self.stage.url}])


def resize(page: Any, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})


def code(secret: str) -> str:
    """What the app on the phone shows now."""
    return str(totp(base64.b32decode(secret))).zfill(6)


@pytest.fixture(scope="session")
def windows(browser: Any, stage: Stage) -> dict[bool, Visitor]:
    """With scripts and without."""
    return {javascript: Visitor(browser, stage, javascript=javascript) for javascript in (True, False)}


@pytest.fixture
def visitor(windows: dict[bool, Visitor]) -> Iterator[Visitor]:
    with windows[True].of_nobody() as visitor:
        yield visitor


@pytest.fixture(params=[True, False], ids=["scripts", "plain"])
def anyone(windows: dict[bool, Visitor], request: pytest.FixtureRequest) -> Iterator[Visitor]:
    """A visitor with JavaScript, and one without."""
    with windows[request.param].of_nobody() as visitor:
        yield visitor
