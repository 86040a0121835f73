"""`manage.py up`: all that OpsSight needs on one machine, ready together and stopped together.

No Django and no Celery in here: this process only starts the others, passes their words on and ends them.

How nothing is left behind. Every child leads a session of its own, and what it starts inherits that session:
granian's worker, Celery's pool, a scanner. When a child ends, for whatever reason, its session is ended with it.
When this process ends, for whatever reason, a tiny second one (the guardian) ends the sessions that remain.
So whatever a worker starts must stay in its session: `process_group=0`, never `start_new_session=True`.
"""

import argparse
import contextlib
import fcntl
import http.client
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import urlsplit

from opssight.settings import env

READY_WITHIN = 60.0
STOP_WITHIN = 10.0
# A scan may run for minutes. It is a row with a lease, so a worker gets this long to finish and is then cut short.
WARM_WITHIN = 3.0
LONGEST_BACKOFF = 30.0
SETTLED_AFTER = 60.0  # a child that ran this long starts its backoff anew
SAME_SIGNAL = 0.5  # one Ctrl-C can arrive twice: from the terminal, and from what started us
LOCK_WITHIN = 3.0  # how long the guardian of a killed predecessor may need

# Each child tells the guardian its session before it becomes what it is, so none can be missed.
LAUNCH = ["/bin/sh", "-c", 'echo $$ >&0; exec "$@" </dev/null', "up"]


CELERY = [sys.executable, "-m", "celery", "-q", "-A", "opssight.celery"]
WORKERS = {
    "scans": ["-Q", "scans", "--pool", "prefork", "-c", "1"],
    "default": ["-Q", "detect,seal,default", "--pool", "threads", "-c", "4"],
}


def worker_command(name: str, *options: str) -> list[str]:
    command = [*CELERY, "worker", "-n", f"{name}@%h", "-l", "WARNING", *options]
    return [*command, "--without-gossip", "--without-mingle", "--without-heartbeat"]


class Failed(Exception):
    """Why `up` stops, in words for the terminal."""

    def __init__(self, problem: str, *, code: int = 3) -> None:
        super().__init__(problem)
        self.code = code


class Stopped(Exception):
    """Somebody asked for the end."""


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
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True)
    for line in listing.stdout.splitlines():
        pid, parent, state = line.split()[:3]
        try:
            if not state.startswith("Z"):
                yield Process(int(pid), int(parent), os.getsid(int(pid)))
        except OSError:
            continue


def end_sessions(sessions: set[int]) -> None:
    """Kill all that belongs to these sessions, and what has left them but still has a parent inside."""
    deadline = time.monotonic() + STOP_WITHIN
    while sessions and time.monotonic() < deadline:  # again and again, for what was being forked meanwhile
        listing = list(_processes())
        found = {process.pid for process in listing if process.session in sessions}
        while more := {process.pid for process in listing if process.parent in found} - found:
            found |= more
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
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


@dataclass
class Child:
    """One program that `up` keeps running."""

    name: str
    command: list[str]
    ready: Callable[[], bool]
    # Celery warns on standard error and chats on standard output; granian does both on standard output.
    speaks_on_stdout: bool = False
    # What cuts the work in hand short, where a program needs telling twice.
    cut_short: signal.Signals | None = None
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    backoff: float = 0.0
    again_at: float | None = None
    unfinished: bytes = field(default=b"", repr=False)


class Supervisor:
    def __init__(self, *, bind: str, port: int, url: str) -> None:
        self.bind, self.port, self.url = bind, port, url
        self.environment = {**os.environ, "OPSSIGHT_URL": url}
        self.children = self._children()
        self.stopping = False
        self.signals, self.signalled = 0, float("-inf")
        self.selector = selectors.DefaultSelector()
        self.guardian = Guardian()
        self._hear_signals()

    def _children(self) -> list[Child]:
        python = sys.executable
        web = [python, "-m", "granian", "--interface", "wsgi", "--workers", "1", "--blocking-threads", "4"]
        # 64 requests wait for a thread at most; more stay in the socket's queue, where they cost nothing.
        web += ["--host", self.bind, "--port", str(self.port), "--no-ws", "--backpressure", "64"]
        web += ["--log-level", "warning", "--no-access-log", "opssight.wsgi:application"]

        def worker(name: str) -> Child:
            command = worker_command(name, *WORKERS[name])
            return Child(name, command, self._ready_file(name).exists, cut_short=signal.SIGQUIT)

        schedule = str(env.HOME / "run" / "beat-schedule")
        return [
            Child("web", web, self._web_answers, speaks_on_stdout=True),
            *map(worker, WORKERS),
            Child("beat", [*CELERY, "beat", "-l", "WARNING", "-s", schedule], lambda: True),
        ]

    @staticmethod
    def _ready_file(name: str) -> Path:
        """Written by the worker itself (opssight/celery.py)."""
        return env.HOME / "run" / f"{name}.ready"

    def _web_answers(self) -> bool:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.bind, self.bind)
        connection = http.client.HTTPConnection(host, self.port, timeout=0.5)
        try:
            connection.request("GET", "/healthz", headers={"Host": urlsplit(self.url).netloc})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _hear_signals(self) -> None:
        """Count signals, and wake the selector for each of them and for each child that ends."""
        wake, woken = socket.socketpair()
        for end in (wake, woken):
            end.setblocking(False)
        self.selector.register(wake, selectors.EVENT_READ, lambda: wake.recv(4096))
        self._woken = woken  # kept, or it would be closed
        signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)

        def count(number: int, frame: object) -> None:
            if time.monotonic() > self.signalled + SAME_SIGNAL:
                self.signals, self.signalled = self.signals + 1, time.monotonic()

        signal.signal(signal.SIGINT, count)
        signal.signal(signal.SIGTERM, count)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup asks for it to be ignored
            signal.signal(signal.SIGHUP, count)

    def run(self, target: str | None) -> int:
        try:
            link = self._prepare(target)
            self._start_all()
            print(f"OpsSight is ready: {self.url}")
            if link:
                print(f"Set up the first account here, once: {link}")
            print("Stop with Ctrl-C", flush=True)
            while True:
                self._turn()
        except Stopped:
            return 0
        except Failed as problem:
            if str(problem):
                complain(problem)
            return problem.code
        finally:
            self._stop()

    def _prepare(self, target: str | None) -> str | None:
        """Bring the database up to date and ask for the first scan; returns the one-time set-up link, if any."""
        began = time.monotonic()
        command = [sys.executable, "manage.py", "prepare", *(["--target", target] if target else [])]
        process = self._launch(command, stdout=subprocess.PIPE, stderr=None)
        assert process.stdout
        said = bytearray()
        self._listen(process.stdout, said.extend)
        while process.poll() is None:
            self._turn()
        while self._hear(process.stdout, said.extend):
            pass
        self.guardian.end(process.pid)
        if process.returncode == 2:
            raise Failed("", code=2)  # a setting that stops every start; prepare has said which
        if process.returncode:
            raise Failed(f"the database could not be prepared ({ending(process.returncode)})")
        report(f"database   {'migrated':<12}", since=began)
        answer = json.loads(said.decode().strip().rpartition("\n")[2])
        if answer["scan"]:
            print(f"  scan       requested    {target or 'of OpsSight itself'}")
        if answer["target_error"]:
            print(f"  scan       {answer['target_error']}")
        sys.stdout.flush()
        link: str | None = answer["setup_link"]
        return link

    def _start_all(self) -> None:
        began = time.monotonic()
        for child in self.children:
            self._start(child)
        waiting = list(self.children)
        while waiting:
            self._turn(0.1)
            for child in [child for child in waiting if child.ready()]:
                waiting.remove(child)
                report(f"{child.name:<10} {'ready':<12}", since=began)
            if time.monotonic() > began + READY_WITHIN:
                names = ", ".join(child.name for child in waiting)
                raise Failed(f"{names} not ready after {READY_WITHIN:.0f} s")
        for child in self.children:  # from here on, an end is an accident and not a failed start
            child.backoff = 1.0

    def _start(self, child: Child) -> None:
        self._ready_file(child.name).unlink(missing_ok=True)
        if child.speaks_on_stdout:
            child.process = self._launch(child.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        else:
            child.process = self._launch(child.command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        child.started, child.again_at = time.monotonic(), None
        words = child.process.stdout or child.process.stderr
        assert words
        self._listen(words, lambda data: self._pass_on(child, data))

    def _launch(self, command: list[str], *, stdout: int | None, stderr: int | None) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [*LAUNCH, *command],
            stdin=self.guardian.pipe,
            stdout=stdout,
            stderr=stderr,
            cwd=env.BASE_DIR,
            env=self.environment,
            start_new_session=True,
        )
        self.guardian.watch(process.pid)
        return process

    def _turn(self, timeout: float | None = None) -> None:
        """Wait for the next thing to happen, and deal with it."""
        due = [child.again_at for child in self.children if child.again_at is not None]
        if due:
            wait = max(0.0, min(due) - time.monotonic())
            timeout = wait if timeout is None else min(timeout, wait)
        for key, _ in self.selector.select(timeout):
            key.data()
        self.guardian.check()
        for child in self.children:
            if child.process and child.process.poll() is not None:
                self._ended(child)
        if self.stopping:
            return
        if self.signals:
            raise Stopped
        for child in self.children:
            if child.again_at is not None and child.again_at <= time.monotonic():
                self._start(child)

    def _ended(self, child: Child) -> None:
        assert child.process
        code, session = child.process.returncode, child.process.pid
        self.guardian.end(session)
        words = child.process.stdout or child.process.stderr
        while words and self._hear(words, lambda data: self._pass_on(child, data)):
            pass
        child.process = None
        if self.stopping:
            return
        if not child.backoff:
            raise Failed(f"{child.name} did not start ({ending(code)})")
        if time.monotonic() - child.started > SETTLED_AFTER:
            child.backoff = 1.0
        complain(f"{child.name} ended ({ending(code)}); starting it again in {child.backoff:.0f} s")
        child.again_at = time.monotonic() + child.backoff
        child.backoff = min(child.backoff * 2, LONGEST_BACKOFF)

    def _listen(self, words: IO[bytes], to: Callable[[bytes], None]) -> None:
        os.set_blocking(words.fileno(), False)
        self.selector.register(words, selectors.EVENT_READ, lambda: self._hear(words, to))

    def _hear(self, words: IO[bytes], to: Callable[[bytes], None]) -> bool:
        """Take what was said; False when there is nothing more for now."""
        if words.closed:
            return False
        try:
            data = os.read(words.fileno(), 65536)
        except BlockingIOError:
            return False
        if data:
            to(data)
        else:
            self.selector.unregister(words)
            words.close()
        return bool(data)

    def _pass_on(self, child: Child, data: bytes) -> None:
        *lines, child.unfinished = (child.unfinished + data).split(b"\n")
        for line in lines:
            if line.strip():
                print(f"{child.name}: {line.decode(errors='replace')}", file=sys.stderr, flush=True)

    def _stop(self) -> None:
        """Ask all at once, then insist; a further signal ends everything there and then."""
        self.stopping = True
        began, before = time.monotonic(), self.signals
        running = [child for child in self.children if child.process]
        try:
            if running:
                print("\nStopping", flush=True)
            for child in running:
                if child.process:
                    child.process.terminate()
            patient = True
            while any(child.process for child in running) and self.signals == before:
                if time.monotonic() > began + STOP_WITHIN:
                    break
                if patient and time.monotonic() > began + WARM_WITHIN:
                    patient = False
                    for child in running:
                        if child.process and child.cut_short:
                            child.process.send_signal(child.cut_short)
                self._turn(0.2)
        finally:
            self.guardian.close()  # ends what is still there, even if this very function failed
        if running:
            report(f"{'stopped':<23}", since=began)


def ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"ended by {signal.Signals(-code).name}"


def report(step: str, *, since: float) -> None:
    print(f"  {step} {time.monotonic() - since:6.1f} s", flush=True)


def complain(problem: object) -> None:
    print(f"opssight: {problem}", file=sys.stderr, flush=True)


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="manage.py up", description="Run OpsSight on this machine.")
    parser.add_argument("--bind", default="127.0.0.1", metavar="ADDRESS", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, help="port to listen on (that of OPSSIGHT_URL, or 8000)")
    parser.add_argument("--target", metavar="PATH", help="folder for the first scan")
    args = parser.parse_args(argv)
    if args.port is not None and not 1 <= args.port <= 65535:
        parser.error(f"argument --port: {args.port} is not between 1 and 65535")
    return args


def check_settings() -> None:
    """Every secret is there and strong; env stops with one line that names the one that is not."""
    env.ensure_home()
    for name in ("OPSSIGHT_SECRET_KEY", "OPSSIGHT_HASH_KEY", "OPSSIGHT_TRAIL_KEY"):
        env.secret(name)
    env.field_keys("OPSSIGHT_FIELD_KEYS")


def lock_home() -> IO[str]:
    """One `up` for each data folder. The lock is the open file; the guardian inherits it."""
    path = env.HOME / "run" / "up.lock"
    file = path.open("a+")
    deadline = time.monotonic() + LOCK_WITHIN
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Failed(f"OpsSight is already running on {env.HOME} (process {path.read_text()})") from None
            time.sleep(0.1)
        else:
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            return file


def check_port(bind: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(bind, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As the server does it: a connection that is just closing does not count as a listener.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise Failed(f"port {port} on {bind} can't be used ({error.strerror}); choose another with --port") from None


def main(argv: list[str]) -> int:
    args = arguments(argv)
    began = time.monotonic()
    port = args.port or urlsplit(env.URL).port or 8000
    # Links must lead to where we listen, unless somebody has said what the address is.
    url = env.URL if os.environ.get("OPSSIGHT_URL") or port == 8000 else f"http://localhost:{port}"
    try:
        check_settings()
        lock = lock_home()
        check_port(args.bind, port)
    except Failed as problem:
        complain(problem)
        return problem.code
    report(f"settings   {'checked':<12}", since=began)
    with lock:
        target = os.path.abspath(args.target) if args.target else None
        return Supervisor(bind=args.bind, port=port, url=url).run(target)
