"""A process of one installation whose sealers are killed and whose writers roll back: one JSON line in, one out.

Each sealer and writer is a fork with connections of its own. In a sealer that is to die, every statement and every
commit is a step, and SIGKILL comes before the one that was asked for.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django

django.setup()

from django.conf import settings
from django.db import connections, transaction

for database in settings.DATABASES.values():
    database["OPTIONS"].pop("pool", None)  # it does not survive a fork

from audit.canonical import canonical
from audit.models import AuditEntry
from audit.sealing import anchors, sealer
from audit.sealing.models import Checkpoint, Leaf, Pending
from opssight.kernel.events import registry
from opssight.kernel.ids import new_uid

sealer.BATCH = anchors.BATCH = 3
EVENT = registry["findings:raised"]


def forked(work: Callable[[], None]) -> int:
    connections.close_all()
    if pid := os.fork():
        return pid
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def work() -> None:
    sealer.seal(wait=True)
    anchors.deliver()


def write(number: int) -> None:
    """So many entries, and one that is forged."""
    for n in range(number):
        EVENT.emit(number=n)
    names = [field.column for field in AuditEntry._meta.concrete_fields if field.column not in ("id", "uid")]
    with connections["default"].cursor() as cursor:
        cursor.execute(
            f"INSERT INTO audit_auditentry (uid, {', '.join(names)}) SELECT %s, {', '.join(names)}"
            " FROM audit_auditentry WHERE id = (SELECT max(id) FROM audit_auditentry)",
            [new_uid().hex],
        )


def killed_at(step: int) -> bool:
    """Whether a sealer was killed before its step of that number; False where it came to its end before."""

    def victim() -> None:
        seen = 0

        def count() -> None:
            nonlocal seen
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)

        for alias in settings.DATABASES:
            connection = connections[alias]
            connection.execute_wrappers.append(
                lambda execute, sql, params, many, context: (count(), execute(sql, params, many, context))[1]
            )
            connection.commit = lambda commit=connection.commit: (count(), commit())[1]
        work()

    _, status = os.waitpid(forked(victim), 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    return os.waitstatus_to_exitcode(status) != 0


def storm(seed: int, writers: int, transactions: int, folder: str) -> list[str]:
    """Writers that commit or roll back at random, and two sealers, now one and now the other killed. The uids that were
    committed."""
    draw = random.Random(seed)

    def writer(number: int) -> None:
        own = random.Random(seed * 1000 + number)
        with open(Path(folder) / f"writer-{number}", "w") as committed:
            for _ in range(transactions):
                uids = []
                try:
                    with transaction.atomic():
                        for _ in range(own.randint(1, 4)):
                            entry = AuditEntry(event="findings:raised", additional_data={"number": own.randint(0, 9)})
                            entry.save()
                            uids.append(str(entry.uid))
                            time.sleep(own.random() / 200)  # other work: transactions commit in another order
                        if own.random() < 0.4:
                            raise ZeroDivisionError
                except ZeroDivisionError:
                    continue
                committed.write("".join(f"{uid}\n" for uid in uids))

    def sealing() -> None:
        while True:
            work()

    writing = {forked(lambda number=number: writer(number)) for number in range(writers)}
    sealers = [forked(sealing), forked(sealing)]
    while writing:
        time.sleep(draw.random() / 10)
        one = draw.randrange(2)
        os.kill(sealers[one], signal.SIGKILL)
        os.waitpid(sealers[one], 0)
        sealers[one] = forked(sealing)
        for pid in list(writing):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                assert status == 0, f"a writer ended with {status}"
                writing.discard(pid)
    for pid in sealers:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return [uid for path in Path(folder).glob("writer-*") for uid in path.read_text().split()]


def finish() -> None:
    """What a sealer that nobody kills still does, also with what a killed one had begun to deliver."""
    anchors.timezone.now = lambda now=anchors.timezone.now: now() + 2 * anchors.LEASE
    while sealer.seal(wait=True) or anchors.deliver():
        pass


def state() -> dict[str, Any]:
    return {
        "entries": [
            [entry.pk, str(entry.uid), canonical(entry.covered()).decode(), entry.expected_mac() == entry.mac]
            for entry in AuditEntry.objects.order_by("pk")
        ],
        "leaves": [
            [leaf.position, leaf.entry_id, bytes(leaf.hash).hex(), leaf.quarantined]
            for leaf in Leaf.objects.order_by("position")
        ],
        "pending": list(Pending.objects.order_by("pk").values_list("pk", flat=True)),
        "checkpoints": [checkpoint.note for checkpoint in Checkpoint.objects.order_by("pk")],
        "told": [
            data["count"]
            for data in AuditEntry.objects.filter(event="trail:quarantined").values_list("additional_data", flat=True)
            if data
        ],
    }


def main() -> None:
    for line in sys.stdin:
        name, values = json.loads(line)
        print(json.dumps(globals()[name](*values)), flush=True)


if __name__ == "__main__":
    main()
