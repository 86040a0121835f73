"""Run a tool on some files: the one place that starts a scanner process.

The tool gets a time, an amount of memory, a home and an environment of its own, no network where this machine can take
it away, and a process group, which ends with it.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import IO

from django.conf import settings

from scanning.scanners import osv_server
from scanning.scanners.base import BadReport, Report, Scanner
from scanning.scanners.log import last_words
from scanning.sources.base import scratch_folder

HEARTBEAT = 10.0  # seconds between calls of `alive` while the tool works
MOST_WRITTEN = 1_000  # megabytes of one file; a report that has no end must not fill the disk
# A shell sets the limits and becomes the tool: a thousandth of a second, where an interpreter takes twenty.
LIMITS = 'ulimit -c 0; ulimit -d "$1"; ulimit -f "$2"; shift 2; exec "$@"'
KEPT = ("LANG", "LC_ALL", "TZ")
KEPT_WITH_NETWORK = (
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
)  # fmt: skip
OUT_OF_MEMORY = ("MemoryError", "out of memory", "Cannot allocate memory", "too much memory")


class ToolFailed(Exception):
    """The tool ended without doing its work; the message holds its exit code and last words."""


class ToolTimedOut(Exception):
    pass


def run(
    scanner: Scanner, root: Path, files: list[str], *, deadline: float, alive: Callable[[], None],
    heard: Callable[[str], None] = lambda said: None,
) -> Report:  # fmt: skip
    """The report on `files` under `root`. `deadline` is a time.monotonic() value; `alive` is called while waiting.

    `heard` is told what the tool has said so far: before each `alive`, and at the end, however that comes about.

    Raises ToolFailed, ToolTimedOut, BadReport, and whatever `alive` raises (then the tool is ended).
    """
    with scratch_folder() as own:
        report, words, unread = own / "report", own / "words", {}
        if scanner.staged:
            unread = _stage(root, files, own / "target")
            root = own / "target"
        told = partial(last_words, words, root, own, hidden=scanner.hidden)

        def beat() -> None:
            heard(told())
            alive()

        with words.open("wb") as said, (own / "printed").open("wb") as printed:
            try:
                code = _code(scanner, root, files, own, report, said, printed, deadline, beat)
            finally:
                heard(told())
        if scanner.prints:
            report = own / "printed"
        why = told(most=500) or "it said nothing"
        if any(sign in why for sign in OUT_OF_MEMORY):
            why += f"\nIt may have no more than {settings.SCAN_MEMORY} MB (OPSSIGHT_SCAN_MEMORY)."
        if code not in scanner.ok_codes:
            ended = f"{scanner.name} ended with exit code {code}{_signal(code)}: {why}"
            raise ToolFailed(scanner.trouble(why) or ended)
        if not report.exists() or not report.stat().st_size:
            raise BadReport(f"{scanner.name} left no report: {why}")
        with report.open("rb") as stream:
            read = scanner.read(stream, files, root)
        return Report(read.findings, read.files - unread.keys(), {**read.errors, **unread}, read.revision)


def _code(
    scanner: Scanner, root: Path, files: list[str], own: Path, report: Path, said: IO[bytes], printed: IO[bytes],
    deadline: float, alive: Callable[[], None],
) -> int:  # fmt: skip
    """Start the tool and wait: its exit code. Nothing of its process group is left."""
    command = scanner.command(files, report)
    process = subprocess.Popen(
        [*limits(network=scanner.network, loopback=scanner.loopback), *command],
        cwd=root,
        env=_environment(scanner, Path(command[0]), own / "home"),
        stdin=subprocess.DEVNULL,
        stdout=printed if scanner.prints else said,
        stderr=said,
        process_group=0,
    )
    try:
        return _wait(process, deadline, alive)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS refuses where only zombies are left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _signal(code: int) -> str:
    """What ended it, where that was a signal."""
    if code >= 0:
        return ""
    why = f": it wrote a file of more than {MOST_WRITTEN} MB" if code == -signal.SIGXFSZ else ""
    return f" ({signal.Signals(-code).name}{why})"


def limits(*, network: bool, loopback: bool = False) -> list[str]:
    """What stands in front of the tool's command."""
    alone = [] if network or (loopback and not has_loopback()) else without_network()
    memory, written = settings.SCAN_MEMORY * 1024, MOST_WRITTEN * 2048  # kilobytes, and blocks of 512 bytes
    return ["/bin/sh", "-c", LIMITS, "limits", str(memory), str(written), *alone]


@cache
def without_network() -> list[str]:
    """The command that takes the network away from another; empty where this machine allows it to nobody like us."""
    unshare = shutil.which("unshare")
    for options in (["-n"], ["-c", "-n"]):  # as root, or as root of a name space of our own
        command = [unshare or "", *options, "--"]
        if unshare and subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            return command
    return []


@cache
def has_loopback() -> bool:
    """Whether a process without the network can still reach itself."""
    asked = [*without_network(), sys.executable, osv_server.__file__, "--probe"]
    return subprocess.run(asked, capture_output=True).returncode == 0


def _environment(scanner: Scanner, program: Path, home: Path) -> dict[str, str]:
    """None of our secrets, and none of the habits of whoever started us."""
    home.mkdir()
    kept = (*KEPT, *KEPT_WITH_NETWORK) if scanner.network else KEPT
    return {
        "PATH": f"{program.parent}{os.pathsep}{os.defpath}",
        "HOME": str(home),
        "TMPDIR": str(home),
        "PYTHONSAFEPATH": "1",  # the target stands in no import path
        "PYTHONUTF8": "1",
        **{name: os.environ[name] for name in kept if name in os.environ},
        **scanner.environment,
    }


def _stage(root: Path, files: list[str], to: Path) -> dict[str, str]:
    """Copy the files, for a tool that takes a folder; what can't be copied, with the reason."""
    unread = {}
    to.mkdir()
    for name in files:
        place = to / name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(root / name, place)
        except OSError as error:
            unread[name] = error.strerror or "can't be copied"
    return unread


def _wait(process: subprocess.Popen[bytes], deadline: float, alive: Callable[[], None]) -> int:
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise ToolTimedOut
        try:
            return process.wait(min(HEARTBEAT, left))
        except subprocess.TimeoutExpired:
            alive()
