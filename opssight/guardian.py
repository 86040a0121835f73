"""Leaves no process behind: ends whole sessions, and does so even when the supervisor itself is killed.

Every child of `up` leads a session of its own, and what it starts inherits that session: granian's worker, Celery's
pool, a scanner. So a worker starts its tools with `process_group=0` at most, never with `start_new_session=True`.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

END_WITHIN = 10.0  # the kernel may hold a process in the middle of a slow disk

# Goes in front of the command of a child whose standard input is the guardian's pipe: the child tells its session
# before it becomes what it is, so none can be missed.
LAUNCH = ["/bin/sh", "-c", 'echo $$ >&0; exec "$@" </dev/null', "up"]


class Process(NamedTuple):
    pid: int
    parent: int
    session: int


def _processes() -> Iterable[Process]:
    """Every living process of this machine."""
    if Path("/proc/self/stat").exists():
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                # 12 (name) S parent group session …: the name may hold anything, so count from its last bracket.
                state, parent, _, session = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[:4]
            except (OSError, ValueError):
                continue  # no process, or one that just ended
            if state not in "ZX":
                yield Process(int(entry), int(parent), int(session))
        return
    listing = subprocess.run(["/bin/ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True)
    for line in listing.stdout.splitlines():
        pid, parent, state = line.split()[:3]
        try:
            if not state.startswith("Z"):
                yield Process(int(pid), int(parent), os.getsid(int(pid)))
        except OSError:
            continue


def end_sessions(sessions: set[int]) -> None:
    """Kill all that belongs to these sessions, and what has left them but still has a parent inside."""
    deadline = time.monotonic() + END_WITHIN
    while sessions and time.monotonic() < deadline:  # again and again, for what was being forked meanwhile
        listing = list(_processes())
        found = {process.pid for process in listing if process.session in sessions}
        while more := {process.pid for process in listing if process.parent in found} - found:
            found |= more
        if not found:
            return
        for number in (signal.SIGSTOP, signal.SIGKILL):  # halted first, so that no parent replaces a killed child
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        time.sleep(0.01)


class Guardian:
    """A forked copy of this process that waits for its end and then ends the sessions left over.

    It reads a pipe whose other end only the supervisor keeps open: even SIGKILL closes that. The pipe carries the
    sessions: `12` began, `-12` is over. The copy also holds the lock of the data folder until all is ended.
    """

    def __init__(self) -> None:
        self.sessions: set[int] = set()
        self._fork()

    def _fork(self) -> None:
        read, self.pipe = os.pipe()
        self.pid = os.fork()  # safe: this program has one thread
        if self.pid == 0:
            try:
                os.close(self.pipe)
                self._wait(read)
            finally:
                os._exit(0)
        os.close(read)

    def _wait(self, read: int) -> None:
        os.setsid()  # Ctrl-C is for the supervisor
        for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_IGN)
        with open(read) as lines:
            for number in map(int, lines):
                if number > 0:
                    self.sessions.add(number)
                else:
                    self.sessions.discard(-number)
        end_sessions(self.sessions)

    def check(self) -> None:
        """Replace a guardian that somebody ended."""
        if os.waitpid(self.pid, os.WNOHANG) != (0, 0):
            os.close(self.pipe)
            self._fork()

    def watch(self, session: int) -> None:
        self.sessions.add(session)  # the child has told the guardian itself

    def end(self, session: int) -> None:
        """End what is left of a session, and forget it."""
        end_sessions({session})
        self.sessions.discard(session)
        with contextlib.suppress(BrokenPipeError):
            os.write(self.pipe, b"-%d\n" % session)

    def close(self) -> None:
        end_sessions(self.sessions)
        os.close(self.pipe)
        os.waitpid(self.pid, 0)
