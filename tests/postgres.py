"""Runs a command with a PostgreSQL server to test on: `python tests/postgres.py COMMAND [ARG…]`.

With OPSSIGHT_DATABASE_URL set, that server is used. Without, one is made for this command alone: in a folder of its
own, on a free port of the loopback address, as the user postgres (or nobody) where we are root. However the command or
this program ends, a second process that waits for the end of this one stops the server and removes the folder.
"""

import glob
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

OLDEST = 15
FOLDERS = [
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # Red Hat
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
]
CONFIGURATION = """
listen_addresses = '127.0.0.1'
unix_socket_directories = '{folder}'
logging_collector = off
fsync = off  # what is lost in a crash is not missed
synchronous_commit = off
full_page_writes = off
"""
LONGEST_FOLDER = 80  # the path of a socket in it has room for 103 bytes on some systems


class Failed(Exception):
    """Why there is no server, in words for the terminal."""


def programs() -> Path:
    """The folder of initdb and pg_ctl: the newest there is."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += [Path(folder) for pattern in FOLDERS for folder in glob.glob(pattern)]
    found = [(version_of(folder), folder) for folder in folders if (folder / "pg_ctl").exists()]
    version, newest = max(found, default=(0, Path()))
    if version < OLDEST:
        older = f" (only {version} is here)" if version else ""
        raise Failed(
            f"There is no PostgreSQL {OLDEST} or newer on this machine{older}. Install it (Debian: apt install "
            "postgresql; macOS: brew install postgresql@17), or name a server in OPSSIGHT_DATABASE_URL."
        )
    return newest


def version_of(folder: Path) -> int:
    said = ""
    with suppress(OSError, subprocess.TimeoutExpired):
        said = subprocess.run([folder / "initdb", "--version"], capture_output=True, text=True, timeout=10).stdout
    number = re.search(r"\d+", said)
    return int(number[0]) if number else 0


def unprivileged() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise Failed("This is root, and there is neither a user postgres nor nobody to run PostgreSQL as.")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Cluster:
    """A server of our own, with the superuser `opssight`."""

    def __init__(self) -> None:
        self.programs, self.user = programs(), unprivileged()
        # Root's own TMPDIR may be closed to the user that the server runs as.
        elsewhere = self.user or len(tempfile.gettempdir()) > LONGEST_FOLDER
        self.folder = Path(tempfile.mkdtemp(prefix="opssight-pg-", dir="/tmp" if elsewhere else None))
        self.password = secrets.token_hex(16)  # anybody on this machine can reach the port
        self.port = 0
        if self.user:
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)

    @property
    def url(self) -> str:
        return f"postgresql://opssight:{self.password}@127.0.0.1:{self.port}/opssight"

    def start(self) -> None:
        data, log, secret = (self.folder / name for name in ("data", "log", "password"))
        secret.write_text(self.password)  # the folder is ours alone
        secret.chmod(0o644)
        locale = "C.UTF-8" if sys.platform == "linux" else "en_US.UTF-8"
        self._run("initdb", "-D", data, "-U", "opssight", "-A", "scram-sha-256", "--pwfile", secret, "--no-sync",
                  "--encoding=UTF8", f"--locale={locale}")  # fmt: skip
        with (data / "postgresql.conf").open("a") as file:
            file.write(CONFIGURATION.format(folder=self.folder))
        for last in (False, True):  # the port was free a moment ago
            self.port = free_port()
            try:
                self._run("pg_ctl", "-D", data, "-l", log, "-w", "-t", "60", "-o", f"-p {self.port}", "start")
                break
            except Failed as problem:
                if last:
                    raise Failed(f"{problem}\n{log.read_text() if log.exists() else ''}") from None

    def remove(self) -> None:
        with suppress(Failed):
            self._run("pg_ctl", "-D", self.folder / "data", "-m", "immediate", "-w", "-t", "20", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: object) -> None:
        other = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if self.user else {}
        words = self.folder / "words"  # a pipe would never end: the server inherits it
        with words.open("wb") as said:
            done = subprocess.run(
                [self.programs / program, *map(str, arguments)],
                cwd=self.folder,
                env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                **other,
            )
        if done.returncode:
            raise Failed(f"{program} failed: {words.read_text(errors='replace').strip()}")


@contextmanager
def removed_at_the_end(cluster: Cluster) -> Iterator[None]:
    """Even where this process is killed: the one that removes it waits for the end of a pipe."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(write)
            os.setsid()  # Ctrl-C is not for this one
            for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(ignored, signal.SIG_IGN)
            os.read(read, 1)
            cluster.remove()
        finally:
            os._exit(0)
    os.close(read)
    try:
        yield
    finally:
        for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_IGN)
        os.close(write)
        os.waitpid(pid, 0)


def run(command: list[str], url: str) -> int:
    """The command decides what Ctrl-C means, which it hears itself; another signal is passed on as one."""
    process = subprocess.Popen(command, env={**os.environ, "OPSSIGHT_DATABASE_URL": url})
    signal.signal(signal.SIGINT, lambda number, frame: None)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: process.send_signal(signal.SIGINT))
    code = process.wait()
    return code if code >= 0 else 128 - code


def main(command: list[str]) -> int:
    if not command:
        print("usage: python tests/postgres.py COMMAND [ARG…]", file=sys.stderr)
        return 2
    if os.environ.get("OPSSIGHT_DATABASE_URL"):
        os.execvp(command[0], command)
    try:
        cluster = Cluster()
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, frame: sys.exit(128 + number))
        with removed_at_the_end(cluster):
            cluster.start()
            print(f"PostgreSQL {version_of(cluster.programs)} on port {cluster.port}, for these tests", flush=True)
            return run(command, cluster.url)
    except Failed as problem:
        print(problem, file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
