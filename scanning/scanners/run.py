"""Run a tool on some files: the one place that starts a scanner process."""

import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from scanning.scanners.base import BadReport, Report, Scanner

HEARTBEAT = 10.0  # seconds between calls of `alive` while the tool works


class ToolFailed(Exception):
    """The tool ended without doing its work; the message holds its exit code and last words."""


class ToolTimedOut(Exception):
    pass


def run(scanner: Scanner, root: Path, files: list[str], *, deadline: float, alive: Callable[[], None]) -> Report:
    """The report on `files` under `root`. `deadline` is a time.monotonic() value; `alive` is called while waiting.

    Raises ToolFailed, ToolTimedOut, BadReport, and whatever `alive` raises (then the tool is ended).
    """
    with tempfile.TemporaryDirectory(prefix="opssight-scan-") as folder:
        report, words = Path(folder, "report"), Path(folder, "words")
        with words.open("wb") as said:
            process = subprocess.Popen(
                scanner.command(files, report), cwd=root, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
            try:
                code = _wait(process, deadline, alive)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        last_words = words.read_text(errors="replace").strip()[-500:]
        if code not in scanner.ok_codes:
            raise ToolFailed(f"{scanner.name} ended with exit code {code}: {last_words or 'it said nothing'}")
        if not report.exists():
            raise BadReport(f"{scanner.name} left no report: {last_words or 'it said nothing'}")
        return scanner.read(report.read_bytes())


def _wait(process: subprocess.Popen[bytes], deadline: float, alive: Callable[[], None]) -> int:
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise ToolTimedOut
        try:
            return process.wait(min(HEARTBEAT, left))
        except subprocess.TimeoutExpired:
            alive()
