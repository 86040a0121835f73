"""`manage.py up` with real processes: ready together, stopped together, nothing left over however it ends."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from opssight.guardian import end_sessions
from opssight.settings.env import BASE_DIR


def wait_until(condition: Callable[[], object], *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "this did not happen in time"
        time.sleep(0.05)  # the pace of looking, not a synchronisation


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """`manage.py up` on a data folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.home, self.log, self.target = folder / "home", folder / "log", folder / "target"
        self.target.mkdir()
        (self.target / "app.py").write_text("import subprocess\n\nsubprocess.call('ls', shell=True)\n")
        self.port = free_port()
        inherited = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE" and "OPSSIGHT_" not in k}
        self.environment = {**inherited, "OPSSIGHT_HOME": str(self.home)}
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, **options: object) -> list[str]:
        options = {"port": self.port, "target": self.target, **options}
        return [sys.executable, "manage.py", "up", *(f"--{name}={value}" for name, value in options.items())]

    def refused(self, environment: dict[str, str] | None = None, **options: object) -> subprocess.CompletedProcess[str]:
        """Run it where it can't start."""
        environment = {**self.environment, **(environment or {})}
        return subprocess.run(
            self.command(**options), cwd=BASE_DIR, env=environment, capture_output=True, text=True, timeout=30
        )

    def launch(self) -> None:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=BASE_DIR, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def start(self) -> None:
        if self.process and self.process.poll() is None:
            return
        self.launch()
        wait_until(lambda: "Stop with" in self.said() or self.process.poll() is not None, seconds=90)
        assert self.process.poll() is None, self.said()

    def said(self) -> str:
        return self.log.read_text()

    def answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/healthz", headers={"Host": "localhost"})
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def processes(self) -> list[psutil.Process]:
        """All living ones that work on this data folder, whoever their parent is now."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("OPSSIGHT_HOME") == str(self.home):
                    found.append(process)
            except psutil.Error:
                pass  # a zombie, or just ended
        return found

    def main_process(self, *words: str) -> psutil.Process:
        [found] = [
            child
            for child in self.processes()
            if child.ppid() == self.process.pid and all(word in child.cmdline() for word in words)
        ]
        return found

    def kill(self) -> None:
        """However a test ends, its processes end too."""
        for process in self.processes():
            process.kill()
        if self.process:
            self.process.wait()


WORKER = ("scans@%h",)
WEB = ("granian",)


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("up"))
    yield server
    server.kill()


@pytest.fixture
def server(shared_server) -> Server:
    """A server that is ready; started again only where the test before has ended it."""
    shared_server.start()
    return shared_server


@pytest.fixture
def cold(tmp_path) -> Iterator[Server]:
    """A server that is not started."""
    server = Server(tmp_path)
    yield server
    server.kill()


def test_ready_means_that_it_answers(server):
    assert server.answers()
    assert f"OpsSight is ready: http://localhost:{server.port}" in server.said()


def test_ctrl_c_stops_all_and_leaves_nothing(server):
    server.process.send_signal(signal.SIGINT)

    assert server.process.wait(timeout=15) == 0
    assert server.processes() == []


def test_a_signal_while_starting_leaves_nothing(cold):
    cold.launch()
    wait_until(lambda: "migrated" in cold.said())

    cold.process.send_signal(signal.SIGTERM)

    assert cold.process.wait(timeout=15) == 0
    assert cold.processes() == []


def test_a_killed_supervisor_takes_everything_with_it(server):
    server.process.kill()

    wait_until(lambda: not server.processes(), seconds=5)


@pytest.mark.parametrize(("program", "name"), [(WEB, "web"), (WORKER, "scans")])
def test_a_killed_child_takes_its_own_with_it_and_comes_back(server, program, name):
    main = server.main_process(*program)
    below = main.children(recursive=True)
    assert below, "granian's worker, or Celery's pool"

    main.kill()

    psutil.wait_procs(below, timeout=5)
    assert [process for process in below if process in server.processes()] == []
    wait_until(lambda: f"{name} ended (ended by SIGKILL); starting it again" in server.said())
    wait_until(server.answers if program == WEB else (server.home / "run" / "scans.ready").exists)
    assert server.main_process(*program) != main


def test_only_one_runs_on_a_data_folder(server):
    second = server.refused(port=free_port())

    assert second.returncode == 3
    assert f"already running on {server.home} (process {server.process.pid})" in second.stderr


def test_a_port_in_use_is_named(cold):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = cold.refused(port=port)

    assert refused.returncode == 3
    assert f"port {port} on 127.0.0.1 can't be used (Address already in use)" in refused.stderr
    assert "--port" in refused.stderr


@pytest.mark.parametrize("port", [0, 65536, -1, "web"])
def test_a_port_that_cannot_be_is_a_usage_error(cold, port):
    refused = cold.refused(port=port)

    assert refused.returncode == 2
    assert "argument --port" in refused.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPSSIGHT_URL", "ops.example"),
        ("OPSSIGHT_SECRET_KEY", "short"),
        ("OPSSIGHT_FIELD_KEYS", "k1:" + "no-key-but-long-enough-to-be-taken-for-one"),
        ("OPSSIGHT_HOME", "/dev/null/home"),
        ("OPSSIGHT_LOGIN_FAILURE_LIMIT", "many"),  # read by the settings, so found by the first child
    ],
)
def test_a_broken_setting_stops_with_a_line_that_names_it(cold, name, value):
    refused = cold.refused({name: value})

    assert refused.returncode == 2
    assert refused.stderr.startswith(f"opssight: {name}: ")
    assert "Traceback" not in refused.stderr


def test_ending_a_session_ends_what_it_started():
    """A shell that leads a session, a child in a group of its own, and one that went into another session."""
    script = "setsid sleep 600 & set -m; sleep 600 & echo started; wait"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True) as shell:
        assert shell.stdout.readline() == b"started\n"
        leader = psutil.Process(shell.pid)
        wait_until(lambda: [p.name() for p in leader.children()] == ["sleep", "sleep"])
        below = leader.children()

        end_sessions({shell.pid})

        _, alive = psutil.wait_procs(below, timeout=5)
        assert alive == []
    assert shell.returncode == -signal.SIGKILL
