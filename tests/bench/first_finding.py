"""How long from a clean clone to the first finding on the screen, and what the idle server then costs.

Does what a new user does: clones, says `make run`, follows the set-up link, enrols a second factor, opens the
findings. Standard library only. Prints each step and appends one line to var/bench-history.jsonl.
"""

import argparse
import base64
import contextlib
import hmac
import http.cookiejar
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin
from urllib.request import HTTPCookieProcessor, ProxyHandler, build_opener  # noqa: TID251  (a bench is a browser)

from history import keep

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
BUDGET = 60.0  # seconds from clone to first finding, on two cores
IDLE = 20.0  # seconds over which the idle server is watched

PERSON = {"email": "olga@example.org", "name": "Olga", "password": "a long enough passphrase"}
PERSON["again"] = PERSON["password"]
CSRF = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
SECRET = re.compile(r'id="secret">([A-Z2-7 ]+)<')  # base32, shown in groups of four
FINDING = re.compile(r'href="/findings/[0-9a-f-]{36}')
FINDINGS_PAGE, SCANS = "/findings", "/api/v1/scans"
SCAN_IS_OVER = {"completed", "completed_with_errors", "failed", "timed_out", "not_installed"}

STEP = re.compile(r"^  (\S.*?)\s{2,}(?:\S.*?\s{2,})?([0-9.]+) s$")  # as make and `up` print them


class Browser:
    def __init__(self, base: str) -> None:
        self.base, self.page = base, ""
        cookies = HTTPCookieProcessor(http.cookiejar.CookieJar())
        self.opener = build_opener(cookies, ProxyHandler({}))

    def get(self, address: str, fields: dict[str, str] | None = None) -> str:
        data = urlencode(fields).encode() if fields else None
        try:
            with self.opener.open(urljoin(self.base, address), data, timeout=30) as answer:
                self.base, self.page = answer.url, answer.read().decode()
        except HTTPError as error:
            raise SystemExit(f"{error.url} answers {error.code}:\n{error.read().decode()[:3000]}") from None
        return self.page

    def post(self, **fields: str) -> str:
        """Fill in the form of the page we are on."""
        token = CSRF.search(self.page)
        assert token, f"no form on {self.base}"
        return self.get(self.base, {"csrfmiddlewaretoken": token[1], **fields})


class Run:
    """`make run` in a clone, with what it says and what it costs."""

    def __init__(self, clone: Path, port: int) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("OPSSIGHT_", "DJANGO_", "MAKE"))}
        environment["OPSSIGHT_HOME"] = str(clone / "var")
        self.process = subprocess.Popen(
            ["make", "run", f"PORT={port}"],
            cwd=clone,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def find(self, pattern: str) -> str | None:
        for line in list(self.lines):
            if match := re.search(pattern, line):
                return match[1]
        if self.process.poll() is not None:
            raise SystemExit("`make run` ended:\n" + "\n".join(self.lines))
        return None

    def processes(self) -> list[int]:
        parents = {}
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):  # just ended
                parents[int(entry)] = int(Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[1])
        found = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return sorted(found)

    def cpu(self) -> float:
        """Seconds of CPU so far, with those of ended children that were waited for."""
        total = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                total += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
        return total / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Megabytes of all processes; what they share is counted once (PSS)."""
        total = 0
        for pid in self.processes():
            try:
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            total += int(re.search(r"^Pss:\s+(\d+)", rollup, re.M)[1])  # type: ignore[index]
        return total / 1024

    def stop(self) -> None:
        """As Ctrl-C does, which reaches the whole foreground group."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(timeout=30)


def wait_for(look: Callable[[], T | None], *, seconds: float) -> T:
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise SystemExit("this did not happen in time")
        time.sleep(0.1)
    return found


def totp(secret: str) -> str:
    """RFC 6238, as an authenticator app computes it."""
    digest = hmac.digest(base64.b32decode(secret), struct.pack(">Q", int(time.time()) // 30), "sha1")
    offset = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[offset : offset + 4])[0] & 0x7FFFFFFF) % 10**6:06}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def sign_in(link: str) -> Browser:
    browser = Browser(link)
    browser.get(link)
    browser.post(**PERSON)
    secret = SECRET.search(browser.page)
    assert secret, f"no secret to enrol on {browser.base}"
    browser.post(code=totp(secret[1].replace(" ", "")))
    return browser


def scan_is_over(browser: Browser) -> bool | None:
    scans = json.loads(browser.get(SCANS))["results"]
    return True if scans and all(scan["state"] in SCAN_IS_OVER for scan in scans) else None


def measure(folder: Path) -> dict[str, object]:
    steps: dict[str, float] = {}
    began = last = time.monotonic()

    def done(step: str) -> None:
        nonlocal last
        steps[step], last = round(time.monotonic() - last, 2), time.monotonic()

    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder / "clone")], check=True)
    done("clone")
    run = Run(folder / "clone", free_port())
    try:
        wait_for(lambda: run.find("^(Stop with)"), seconds=300)
        link = run.find(r"(http://\S+/set-up/\S+)")
        assert link, "no set-up link was printed"
        done("make run, until ready")
        within = {match[1].split("  ")[0]: float(match[2]) for line in run.lines if (match := STEP.match(line))}
        browser = sign_in(link)
        done("sign-in with enrolment")
        wait_for(lambda: True if FINDING.search(browser.get(FINDINGS_PAGE)) else None, seconds=300)
        done("first finding")
        total, cpu, load = time.monotonic() - began, run.cpu(), os.getloadavg()[0]

        wait_for(lambda: scan_is_over(browser), seconds=600)
        done("scan over, after")
        cpu_before = run.cpu()
        time.sleep(IDLE)  # watching it idle is the measurement
        idle = (run.cpu() - cpu_before) / IDLE * 100
        memory = run.memory()
    finally:
        run.stop()
    return {
        "first_finding_s": round(total, 1),
        "cpu_s": round(cpu, 1),
        "load": round(load, 1),
        "steps": steps,
        "within_make_run": within,
        "pss_mb": round(memory),
        "idle_cpu_percent": round(idle, 1),
    }


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    folder = Path(tempfile.mkdtemp(prefix="opssight-bench-"))
    try:
        result = measure(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for name in ("steps", "within_make_run"):
        print(name.replace("_", " "))
        for step, seconds in result[name].items():  # type: ignore[attr-defined]
            print(f"  {step:<24}{seconds:6.1f} s")
    print(f"first finding after {result['first_finding_s']} s (budget {BUDGET:.0f} s)")
    print(f"CPU {result['cpu_s']} s, load average {result['load']}")
    print(f"then idle: {result['pss_mb']} MB (PSS), {result['idle_cpu_percent']} % of a core")
    keep("first finding", **result)
    return 0 if float(str(result["first_finding_s"])) <= BUDGET else 1


if __name__ == "__main__":
    sys.exit(main())
