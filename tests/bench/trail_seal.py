"""What sealing costs those who write entries, and how fast the sealer is.

On PostgreSQL, 4 and 8 clients write entries with 5 ms of other work in the same transaction: unsealed (no outbox, no
sealer), sealed (a sealer at work every half second) and as a chain, in which an entry holds the head until its commit.
Transactions a second, median of 7 rounds in which the three take turns. Wanted: sealed 0.8 of unsealed and 2.5 of the
chain at least; the sealer 20,000 entries a second on either database, in its own CPU time where others use the machine.
"""

import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ["DJANGO_SETTINGS_MODULE"] = "opssight.settings.test"
os.environ.setdefault("OPSSIGHT_LOG_LEVEL", "WARNING")

import django

django.setup()

from django.conf import settings
from django.db import connection, connections, transaction
from django.test.utils import setup_databases, teardown_databases
from history import keep

from audit.guard import ENTRIES, OUTBOX
from audit.models import AuditEntry
from audit.sealing.models import Leaf
from audit.sealing.sealer import seal

ROUNDS, SECONDS, OTHER_WORK, PAUSE = 7, 1.5, 0.005, 0.5
BACKLOG = 20_000
fork = multiprocessing.get_context("fork")


def entry(number: int) -> AuditEntry:
    return AuditEntry(
        event="findings:fixed",
        action=AuditEntry.Action.UPDATE,
        resource_type="scanning.finding",
        resource_id=f"0192f0c0-1111-7000-8000-{number:012}",
        object_pk=str(number),
        changes={"status": ["open", "fixed"], "severity": ["3", "4"], "title": ["SQL in a query", "SQL in a view"]},
        additional_data={"reason": "patched", "count": number},
    )


# --- the sealer -----------------------------------------------------------------------------------------------------


def sealing() -> list[tuple[float, float]]:
    """Entries a second: by the clock, and by the CPU time of this process."""
    found = []
    for _ in range(ROUNDS):
        AuditEntry.objects.bulk_create(backlog(), batch_size=2000)
        wall, cpu = time.perf_counter(), time.process_time()
        assert seal() == BACKLOG
        found.append((BACKLOG / (time.perf_counter() - wall), BACKLOG / (time.process_time() - cpu)))
    assert not Leaf.objects.filter(quarantined=True).exists()
    return found


def backlog() -> list[AuditEntry]:
    entries = [entry(number) for number in range(BACKLOG)]
    for one in entries:
        one.prepare()
    return entries


# --- writers --------------------------------------------------------------------------------------------------------


def write(number: int) -> None:
    with transaction.atomic():
        entry(number).save()
        time.sleep(OTHER_WORK)


def write_chained(number: int) -> None:
    """The head of the chain is locked, so that each entry can cover the one before."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT head FROM bench_chain FOR UPDATE")
        [head] = cursor.fetchone()
        one = entry(number)
        one.save()
        cursor.execute("UPDATE bench_chain SET head = %s", [sha256(head.encode() + one.mac.encode()).hexdigest()])
        time.sleep(OTHER_WORK)


def client(work: Callable[[int], None], ready: Any, told: Any) -> None:
    connection.ensure_connection()
    ready.wait()
    done, end = 0, time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        work(done)
        done += 1
    told.put(done)
    connections.close_all()


def sealer(ready: Any, over: Any) -> None:
    connection.ensure_connection()
    ready.wait()
    while not over.wait(PAUSE):
        seal()
    connections.close_all()


def throughput(clients: int, work: Callable[[int], None], *, sealed: bool) -> float:
    """Transactions a second."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {ENTRIES} {'ENABLE' if sealed else 'DISABLE'} TRIGGER {OUTBOX}")
    connections.close_all()  # a connection survives no fork
    ready, over, told = fork.Barrier(clients + sealed), fork.Event(), fork.Queue()
    processes = [fork.Process(target=client, args=(work, ready, told)) for _ in range(clients)]
    sealers = [fork.Process(target=sealer, args=(ready, over))] if sealed else []
    for process in [*processes, *sealers]:
        process.start()
    total = sum(told.get(timeout=60) for _ in processes)
    over.set()
    for process in [*processes, *sealers]:
        process.join()
        assert process.exitcode == 0
    return total / SECONDS


def writing(clients: int) -> None:
    rounds = []
    for _ in range(ROUNDS):
        plain = throughput(clients, write, sealed=False)
        sealed = throughput(clients, write, sealed=True)
        chain = throughput(clients, write_chained, sealed=False)
        seal(wait=True)
        rounds.append((plain, sealed, chain, sealed / plain, sealed / chain))
    plain, sealed, chain, to_plain, to_chain = (statistics.median(side) for side in zip(*rounds, strict=True))
    keep("trail_seal", case="writers", clients=clients, unsealed=plain, sealed=sealed, chain=chain, ratio=to_plain,
         to_chain=to_chain)  # fmt: skip
    print(
        f"  {clients} clients: {plain:.0f} transactions/s unsealed, {sealed:.0f} sealed, {chain:.0f} as a chain;"
        f" sealed {to_plain:.2f} of unsealed (wanted: 0.8), {to_chain:.2f} of the chain (wanted: 2.5)",
        flush=True,
    )


def main() -> None:
    folder = tempfile.mkdtemp(prefix="opssight-bench-")
    name, embedded = f"bench_seal_{os.getpid()}", connection.vendor == "sqlite"
    settings.DATABASES["default"]["TEST"]["NAME"] = os.path.join(folder, name) if embedded else name
    old = setup_databases(verbosity=0, interactive=False)
    try:
        if embedded:
            for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "temp_store=MEMORY", "cache_size=-20000"):
                connection.cursor().execute(f"PRAGMA {pragma}")
        seal()
        wall, cpu = (statistics.median(side) for side in zip(*sealing(), strict=True))
        load = os.getloadavg()[0]
        keep("trail_seal", case="sealer", database=connection.vendor, wall=wall, cpu=cpu)
        print(
            f"{connection.vendor}: the sealer seals {wall:,.0f} entries/s, {cpu:,.0f} in a second of its CPU time",
            end="",
        )
        print(f" (wanted: 20,000; load of the machine {load:.1f})", flush=True)
        if not embedded:
            connection.cursor().execute("CREATE TABLE bench_chain AS SELECT ''::text AS head")
            for clients in (4, 8):
                writing(clients)
    finally:
        teardown_databases(old, verbosity=0)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
