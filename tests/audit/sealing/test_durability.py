"""A sealer killed before each of its steps, two at once, writers that roll back: the log stays what it promises.

Real processes, on a database of their own; on PostgreSQL with the roles app and sealer.
"""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from opssight.settings.env import BASE_DIR
from tests.audit.sealing.reference import root_of
from tests.opssight.conftest import clean_environment, postgres, server_database  # noqa: F401  (fixtures)

VICTIM = Path(__file__).parent / "victim.py"


class Installation:
    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.anchor, home = folder / "anchor.jsonl", folder / "home"
        home.mkdir()
        self.environment = {
            **clean_environment(),
            "DJANGO_SETTINGS_MODULE": "opssight.settings.prod",
            "PYTHONPATH": str(BASE_DIR),
            "OPSSIGHT_HOME": str(home),
            "OPSSIGHT_LOG_LEVEL": "ERROR",
            "OPSSIGHT_ANCHOR_FILE": str(self.anchor),
            **environment,
        }
        if not environment:
            self._run("manage.py", "migrate", "-v0")
        self.process = subprocess.Popen(
            [sys.executable, VICTIM], env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def _run(self, *command: str) -> None:
        subprocess.run([sys.executable, *command], cwd=BASE_DIR, env=self.environment, check=True, timeout=120)

    def ask(self, name: str, *values: object) -> Any:
        self.process.stdin.write(json.dumps([name, values]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def anchored(self) -> list[str]:
        return [json.loads(line)["note"] for line in self.anchor.read_text().splitlines() if line]


@pytest.fixture(scope="module")
def installation(request, tmp_path_factory) -> Iterator[Installation]:
    environment = {}
    if settings.DATABASES["default"]["ENGINE"].endswith("postgresql"):
        urls = request.getfixturevalue("server_database").urls
        environment = {"OPSSIGHT_DATABASE_URL": urls["app"], "OPSSIGHT_SEALER_DATABASE_URL": urls["sealer"]}
    installation = Installation(tmp_path_factory.mktemp("sealing"), environment)
    with installation.process:  # at the end its pipes are closed, and it ends with them
        yield installation


def size_and_root(note: str) -> tuple[int, bytes]:
    lines = note.split("\n")
    return int(lines[1]), base64.b64decode(lines[2])


def hold(state: dict[str, Any]) -> None:
    """What holds at every moment."""
    entries = {pk: (text, genuine) for pk, _, text, genuine in state["entries"]}
    leaves = state["leaves"]
    assert [position for position, *_ in leaves] == list(range(len(leaves))), "positions have no gaps"
    assert len({pk for _, pk, _, _ in leaves}) == len(leaves), "an entry is sealed once"
    for _, pk, digest, quarantined in leaves:
        text, genuine = entries[pk]  # no leaf without its entry
        assert digest == sha256(b"\x00" + text.encode()).hexdigest()
        assert quarantined == (not genuine)
    sealed = {pk for _, pk, _, _ in leaves}
    assert sealed.isdisjoint(state["pending"]), "sealed or waiting"
    assert sealed | set(state["pending"]) == entries.keys(), "nothing is forgotten"
    hashes = [bytes.fromhex(digest) for *_, digest, _ in leaves]
    sizes, previous = [], b""
    for note in state["checkpoints"]:
        size, root = size_and_root(note)
        assert root == root_of(hashes[:size])
        assert base64.b64decode(note.split("\n")[4].removeprefix("previous ")) == previous
        previous = sha256(note.encode()).digest()
        sizes.append(size)
    assert sizes == sorted(sizes)
    assert (sizes or [0])[-1] == len(leaves), "no leaf without a signature"


def published(anchored: list[str], state: dict[str, Any]) -> None:
    """What went outside is what is kept here, in its order, without a gap."""
    assert anchored == state["checkpoints"][: len(anchored)]


def test_killed_before_every_step(installation):
    installation.ask("finish")
    step, killed = 0, True
    while killed:
        step += 1
        installation.ask("write", 4)
        before = installation.ask("state")
        killed = installation.ask("killed_at", step)
        state = installation.ask("state")
        hold(state)
        published(installation.anchored(), state)
        assert len(state["leaves"]) >= len(before["leaves"])
        assert state["checkpoints"][: len(before["checkpoints"])] == before["checkpoints"]
    assert step > 30, "there are that many statements and commits"
    installation.ask("finish")
    state = installation.ask("state")
    hold(state)
    assert state["pending"] == []
    published(installation.anchored(), state)
    assert len(installation.anchored()) == len(state["checkpoints"])
    assert sum(state["told"]) >= sum(quarantined for *_, quarantined in state["leaves"]), "each forged one is told of"


@pytest.mark.parametrize("seed", [1, 2])
def test_two_sealers_and_writers_that_roll_back(installation, seed, tmp_path):
    installation.ask("finish")
    before = {uid for _, uid, _, _ in installation.ask("state")["entries"]}
    committed = installation.ask("storm", seed, 3, 25, str(tmp_path))
    hold(installation.ask("state"))
    installation.ask("finish")
    state = installation.ask("state")
    hold(state)
    assert state["pending"] == []
    now = {uid for _, uid, _, _ in state["entries"]} - before
    assert set(committed) == now, "what was rolled back left nothing, and what was committed is there"
    assert len(committed) > 20
    published(installation.anchored(), state)
    assert len(installation.anchored()) == len(state["checkpoints"])
