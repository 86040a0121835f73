"""`manage.py up`: all that OpsSight needs on one machine, ready together and stopped together.

No Django and no Celery in here: this process only starts the others, passes their words on and ends them.

When a child ends, for whatever reason, its session is ended with it. When this process ends, for whatever reason, the
guardian ends the sessions that remain (opssight/guardian.py).
"""

import argparse
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
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TextIO
from urllib.parse import urlsplit

from opssight.guardian import LAUNCH, Guardian
from opssight.settings import env

READY_WITHIN = 60.0
STOP_WITHIN = 10.0
# A scan may run for minutes. It is a row with a lease, so a worker gets this long to finish and is then cut short.
WARM_WITHIN = 3.0
LONGEST_BACKOFF = 30.0
SETTLED_AFTER = 60.0  # a child that ran this long starts its backoff anew
SAME_SIGNAL = 0.5  # one Ctrl-C can arrive twice: from the terminal, and from what started us
LOCK_WITHIN = 3.0  # how long the guardian of a killed predecessor may need


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
    backoff: float = 1.0
    again_at: float | None = None
    unfinished: bytes = field(default=b"", repr=False)


class Supervisor:
    def __init__(self, *, bind: str, port: int, url: str) -> None:
        self.bind, self.port, self.url = bind, port, url
        # The queue of files moves each message through the temporary folder: on one file system that is atomic.
        scratch = env.HOME / "run" / "tmp"
        scratch.mkdir(mode=0o700, exist_ok=True)
        # At a terminal people read along, and a line for each request would drown what matters to them.
        log = {"OPSSIGHT_LOG_FORMAT": "human", "OPSSIGHT_LOG_LEVEL": "WARNING"} if sys.stderr.isatty() else {}
        self.environment = {**log, **os.environ, "OPSSIGHT_URL": url, "TMPDIR": str(scratch)}
        self.children = self._children()
        self.all_ready = self.stopping = False
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
            say(f"OpsSight is ready: {self.url}")
            if link:
                say(f"Set up the first account here, once: {link}")
            say("Stop with Ctrl-C")
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
            say(f"  scan       requested    {target or 'of OpsSight itself'}")
        if answer["target_error"]:
            say(f"  scan       {answer['target_error']}")
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
        self.all_ready = True

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
        self._ready_file(child.name).unlink(missing_ok=True)  # a killed worker could not take its sign away
        words = child.process.stdout or child.process.stderr
        while words and self._hear(words, lambda data: self._pass_on(child, data)):
            pass
        self._pass_on(child, b"\n")
        child.process = None
        if self.stopping:
            return
        if not self.all_ready:
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
                say(f"{child.name}: {line.decode(errors='replace')}", file=sys.stderr)

    def _stop(self) -> None:
        """Ask all at once, then insist; a further signal ends everything there and then.

        Before all are ready nothing is worth waiting for (and granian's half-started worker hears no signal).
        """
        self.stopping = True
        began, before = time.monotonic(), self.signals
        running = [child for child in self.children if child.process and self.all_ready]
        try:
            if running:
                say("\nStopping")
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


def say(words: str, *, file: TextIO = sys.stdout) -> None:
    try:
        print(words, file=file, flush=True)
    except OSError:  # the terminal is gone, which is no reason to stop, or not to stop properly
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())


def report(step: str, *, since: float) -> None:
    say(f"  {step} {time.monotonic() - since:6.1f} s")


def complain(problem: object) -> None:
    say(f"opssight: {problem}", file=sys.stderr)


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
    env.seed("OPSSIGHT_TRAIL_SIGNING_KEY")


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
