"""Real workers on each broker: killed in the middle of a job, given a message twice, several at once.

The workers run with production's settings and the command lines of `manage.py up`, on SQLite or, as the role app, on
PostgreSQL: whichever the suite runs on. What a broker forgets or repeats must never show in the rows.
"""

import json
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from django.conf import settings

from opssight import up
from opssight.guardian import end_sessions
from opssight.settings.env import BASE_DIR
from scanning.scanners import toolbox
from scanning.scanners.base import QUICK
from tests import services
from tests.opssight.conftest import clean_environment

BROKERS = {
    "files": lambda: "",
    "redis": lambda: services.address("OPSSIGHT_TEST_REDIS_URL", "redis://127.0.0.1:6379/0"),
    "rabbitmq": lambda: services.address("OPSSIGHT_TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//"),
}
ONCE = {"scan:create": 1, "scans:requested": 1, "scans:started": 1, "scans:finished": 1}
# In bandit's place: one finding per file, and no answer while a file `hold` stands beside b.py (a minute at most).
SCANNER = """#!{python} -IS
import json, os, sys, time
files = [name for name in sys.argv[1:] if name.startswith("./")]
with open("{log}", "a") as log:
    log.write(json.dumps([os.getppid(), os.getcwd(), files]) + "\\n")
end = time.monotonic() + 60
while "./b.py" in files and os.path.exists("hold") and time.monotonic() < end:
    time.sleep(0.02)
found = [{{"code": "1 x\\n", "line_range": [1], "test_id": "B999", "issue_text": "Weak.", "issue_severity": "LOW",
          "issue_confidence": "HIGH", "filename": name, "line_number": 1}} for name in files]
report = {{"results": found, "errors": [], "metrics": {{name: {{}} for name in files}}}}
with open(sys.argv[sys.argv.index("-o") + 1], "w") as file:
    json.dump(report, file)
sys.exit(1)
"""


def wait_until(condition: Callable[[], object], *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "this did not happen in time"
        time.sleep(0.02)  # the pace of looking, not a synchronisation


@dataclass
class Installation:
    """A data folder with a scanner that waits when it is told to, and a database."""

    home: Path
    environment: dict[str, str]
    folders: int = 0

    def folder(self, *, parts: int = 1, hold: bool = False) -> Path:
        """Something to scan, in one or two parts; with `hold` the scan stays in the last one."""
        self.folders += 1
        target = self.home / f"target-{self.folders}"
        target.mkdir()
        (target / "b.py").touch()
        if parts == 2:
            (target / "a.py").write_bytes(b"#" * (QUICK.first + 1))
        if hold:
            (target / "hold").touch()
        return target

    def runs(self, *targets: Path) -> list[tuple[int, list[str]]]:
        """Each run of the scanner on these folders: the worker's process, and the files it was given."""
        log = self.home / "runs"
        lines = map(json.loads, log.read_text().splitlines() if log.exists() else [])
        return [(worker, files) for worker, folder, files in lines if folder in map(str, targets)]


@dataclass
class Broker:
    """A broker as one installation uses it: the process that asks for work, and the workers that do it."""

    kind: str
    installation: Installation
    url: str
    prefix: str = field(default_factory=lambda: f"opssight-test-{secrets.token_hex(4)}-")
    driver: subprocess.Popen[str] | None = None
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    started: int = 0

    def __post_init__(self) -> None:
        self.environment = {
            **self.installation.environment,
            "DJANGO_SETTINGS_MODULE": "tests.opssight.worker_settings",
            "OPSSIGHT_BROKER_URL": self.url,
            "OPSSIGHT_TEST_PREFIX": self.prefix,
        }

    def open(self) -> None:
        self.driver = subprocess.Popen(
            [sys.executable, "-m", "tests.opssight.driver"],
            cwd=BASE_DIR, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    def do(self, name: str, *values: object) -> Any:
        assert self.driver and self.driver.stdin and self.driver.stdout
        print(json.dumps([name, values]), file=self.driver.stdin, flush=True)
        answer = self.driver.stdout.readline()
        assert answer, f"the driver ended over {name}"
        return json.loads(answer)

    def have_workers(self, count: int) -> None:
        """As many of them are ready."""
        while len(self.workers) < count:
            self.started += 1
            name = f"{self.prefix}{self.started}"  # RabbitMQ refuses a second worker of the same name
            command = up.worker_command(name, *up.WORKERS["scans"])
            command[command.index("-Q") + 1] = f"{self.prefix}scans"
            with self.log(name).open("wb") as log:
                self.workers[name] = subprocess.Popen(
                    command, cwd=BASE_DIR, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    start_new_session=True,
                )  # fmt: skip
        for name, worker in self.workers.items():
            ready = self.installation.home / "run" / f"{name}.ready"
            wait_until(lambda ready=ready, worker=worker: ready.exists() or worker.poll() is not None)
            assert worker.poll() is None, self.log(name).read_text()

    def kill_workers(self) -> None:
        """SIGKILL to each with all that it started: its pool, and the scanner."""
        end_sessions({worker.pid for worker in self.workers.values()})
        for worker in self.workers.values():
            worker.wait()
        self.workers.clear()

    def log(self, name: str) -> Path:
        return self.installation.home / f"{name}.log"

    def finished(self, *scans: int) -> Callable[[], bool]:
        return lambda: not {"queued", "running"} & self.do("states", *scans).keys()

    def in_last_part(self, target: Path) -> Callable[[], bool]:
        return lambda: any("./b.py" in files for _, files in self.installation.runs(target))

    def close(self) -> None:
        """Nothing stays behind: no process, and nothing on a broker that others use too."""
        with ExitStack() as last:
            last.callback(self._forget_keys)
            if self.driver:
                last.callback(self._end_driver, self.driver)
            self.kill_workers()
            if self.url.startswith("amqp"):
                self.do("remove_queues")

    @staticmethod
    def _end_driver(driver: subprocess.Popen[str]) -> None:
        end_sessions({driver.pid})
        driver.wait()
        with suppress(BrokenPipeError), driver.stdin, driver.stdout:
            pass

    def _forget_keys(self) -> None:
        if self.url.startswith("redis"):
            with redis.Redis.from_url(self.url, socket_timeout=5) as client:
                for key in client.scan_iter(f"{self.prefix}*"):
                    client.delete(key)


@pytest.fixture(scope="module")
def installation(tmp_path_factory, request) -> Installation:
    home = tmp_path_factory.mktemp("workers")
    program = home / "scanners" / f"bandit-{toolbox.pinned('bandit')}" / "bin" / "bandit"
    program.parent.mkdir(parents=True)
    program.write_text(SCANNER.format(python=sys.executable, log=home / "runs"))
    program.chmod(0o755)
    (program.parent.parent / toolbox.COMPLETE).touch()
    (home / "queue").mkdir()
    environment = {**clean_environment(), "OPSSIGHT_HOME": str(home)}
    if settings.EMBEDDED:
        command = [sys.executable, "manage.py", "migrate", "-v", "0"]
        subprocess.run(command, cwd=BASE_DIR, env=environment, check=True, timeout=60)
    else:
        environment["OPSSIGHT_DATABASE_URL"] = request.getfixturevalue("server_database").urls["app"]
    return Installation(home, environment)


@pytest.fixture(scope="module", params=list(BROKERS))
def broker(installation, request) -> Iterator[Broker]:
    broker = Broker(request.param, installation, BROKERS[request.param]())
    try:
        broker.open()
        yield broker
    finally:
        broker.close()


def test_a_job_whose_worker_is_killed_is_run_once_more_and_nothing_is_lost_or_doubled(broker):
    target = broker.installation.folder(parts=2, hold=True)
    broker.have_workers(1)
    [scan] = broker.do("request", str(target))
    wait_until(broker.in_last_part(target))
    broker.kill_workers()
    row = broker.do("look", scan)
    assert (row["state"], row["attempts"], row["parts"], row["findings"]) == ("running", 1, [1, 2], ["a.py"])

    (target / "hold").unlink()
    broker.have_workers(1)
    broker.do("lapse", scan)
    assert broker.do("requeue") == 1
    wait_until(broker.finished(scan))

    row = broker.do("look", scan)
    assert (row["state"], row["reason"], row["attempts"], row["parts"]) == ("completed", "", 2, [2, 2])
    assert (row["findings"], row["raised"], row["new"], row["same"]) == (["a.py", "b.py"], 2, 2, 0)
    assert row["trail"] == ONCE | {"scans:started": 2}
    assert [files for _, files in broker.installation.runs(target)] == [["./a.py"], ["./b.py"]] * 2
    wait_until(lambda: broker.do("waiting") == 0)
    assert broker.do("requeue") == 0


def test_a_message_that_comes_twice_runs_its_job_once(broker):
    """The first job keeps one worker busy, so the other takes the messages in their order."""
    held, *rest = targets = [broker.installation.folder(hold=True), *(broker.installation.folder() for _ in range(2))]
    broker.have_workers(2)
    [first] = broker.do("request", str(held))
    wait_until(broker.in_last_part(held))
    broker.do("send_again", first)  # while it runs
    [second] = broker.do("request", str(rest[0]))
    wait_until(broker.finished(second))
    broker.do("send_again", second)  # when it is done
    [third] = broker.do("request", str(rest[1]))
    wait_until(broker.finished(third))
    assert broker.do("look", first)["state"] == "running"
    (held / "hold").unlink()
    wait_until(broker.finished(first))
    for scan, target in zip((first, second, third), targets, strict=True):
        row = broker.do("look", scan)
        assert (row["state"], row["attempts"], row["findings"]) == ("completed", 1, ["b.py"])
        assert row["trail"] == ONCE
        assert len(broker.installation.runs(target)) == 1


def test_two_workers_do_twenty_jobs_once_each_though_every_message_comes_twice(broker):
    targets = [broker.installation.folder() for _ in range(20)]
    broker.have_workers(2)
    scans = broker.do("request", *map(str, targets))
    broker.do("send_again", *scans)
    wait_until(broker.finished(*scans))
    rows = [broker.do("look", scan) for scan in scans]
    assert Counter(row["state"] for row in rows) == {"completed": 20}
    assert {row["attempts"] for row in rows} == {1}
    assert [row["trail"] for row in rows] == [ONCE] * 20
    assert [len(broker.installation.runs(target)) for target in targets] == [1] * 20
    assert all(worker.poll() is None for worker in broker.workers.values())
    wait_until(lambda: broker.do("waiting") == 0)


def test_a_killed_process_of_the_pool_leaves_no_worker_that_takes_jobs_and_does_nothing(broker):
    broker.have_workers(1)
    workers = broker.workers.values()
    for worker in workers:
        psutil.Process(worker.pid).children()[0].kill()
    if broker.kind == "files":  # such a worker can't be helped: it ends, and `up` starts another
        wait_until(lambda: all(worker.poll() is not None for worker in workers), seconds=10)
        broker.kill_workers()
        broker.have_workers(1)
    target = broker.installation.folder()
    [scan] = broker.do("request", str(target))
    wait_until(broker.finished(scan))
    assert broker.do("look", scan)["attempts"] == 1


def test_a_worker_that_is_asked_to_stop_does_so_within_seconds_and_had_no_complaint(broker):
    broker.kill_workers()  # those of other tests may have reason to complain
    broker.have_workers(1)
    name, worker = broker.workers.popitem()
    worker.terminate()
    assert worker.wait(timeout=6) == 0
    said = broker.log(name).read_text()
    assert not any(f'"level": "{level}"' in said for level in ("warning", "error", "critical")), said


def test_the_queues_of_rabbitmq_are_quorum_queues(broker):
    assert broker.do("queue_type") == ("quorum" if broker.kind == "rabbitmq" else "")
