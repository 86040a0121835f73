"""Verifying the trail: the database, and a bundle of it. Wanted on both databases: 25,000 entries a second or more.

200,000 entries of the usual size, with their side rows, sealed by the sealer. The floor of the same run is what any
verifier has to do: canonical JSON and two hashes for each entry, in memory.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ["DJANGO_SETTINGS_MODULE"] = "opssight.settings.test"
os.environ.setdefault("OPSSIGHT_LOG_LEVEL", "WARNING")

import django

django.setup()

from django.db import connection
from django.test.utils import setup_databases, teardown_databases
from history import keep

from audit import guard, verify
from audit.models import AuditEntry, AuditPersonal
from audit.sealing import exporting, keys
from audit.sealing.sealer import seal
from audit.sealing.verification import verify_log
from opssight.kernel.actor import Actor, acting

ENTRIES, BATCH, ROUNDS = int(os.environ.get("N", 200_000)), 5_000, 3
WANTED = 25_000
ALONE = """
import sys, verify
verify.main(sys.argv[1:])
print(*(line.strip() for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def build() -> None:
    actor = Actor(kind="user", label="someone@example.org", address="198.51.100.7", user_agent="Mozilla/5.0 " * 8)
    for first in range(0, ENTRIES, BATCH):
        entries, sides = [], []
        for n in range(first, first + BATCH):
            changes = {"status": ["open", "triaged"], "reason": ["None", f"seen in review {n}"], "owner": ["None", "7"]}
            entry = AuditEntry(
                event="findings:raised", resource_type="scanning.finding", object_pk=str(n), changes=changes
            )
            with acting(actor):
                sides.append(entry.prepare())
            entries.append(entry)
        AuditEntry.objects.bulk_create(entries)
        for entry, side in zip(entries, sides, strict=True):
            side.entry = entry
        AuditPersonal.objects.bulk_create(sides)


def rate(act: Callable[[], int]) -> tuple[float, float]:
    """Entries a second by the clock and by the CPU of this process, the median of some rounds."""
    wall, cpu = [], []
    for _ in range(ROUNDS):
        began, worked = time.perf_counter(), time.process_time()
        done = act()
        wall.append(done / (time.perf_counter() - began))
        cpu.append(done / (time.process_time() - worked))
    return statistics.median(wall), statistics.median(cpu)


def floor() -> int:
    rows = list(AuditEntry.objects.order_by("pk")[:20_000])
    began = [row.covered() for row in rows]
    contents = [side.content() for side in AuditPersonal.objects.order_by("pk")[:20_000]]
    start = time.perf_counter()
    for entry, content in zip(began, contents, strict=False):
        verify.leaf_hash(verify.canonical(entry))
        verify.personal_digest("00" * 16, content)
    return int(len(began) / (time.perf_counter() - start))


def live() -> int:
    report, _ = verify_log(anchors=[], receipts=[])
    assert report.verdict == "ok", report.problems[:3]
    return report.checked


def main() -> None:
    old = setup_databases(verbosity=0, interactive=False)
    try:
        build()
        began = time.perf_counter()
        seal()
        sealed = ENTRIES / (time.perf_counter() - began)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
        print(f"{connection.vendor}: entries a second, median of {ROUNDS}; wanted: {WANTED:,} or more")
        bare = floor()
        print(f"  canonical JSON and hashes alone, in memory {bare:>9,}")
        print(f"  sealing                                    {sealed:>9,.0f}")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "bundle.zip"
            began = time.perf_counter()
            part = exporting.part()
            exporting.write_bundle(part, path)
            print(f"  export                                     {part.count / (time.perf_counter() - began):>9,.0f}   "
                  f"({path.stat().st_size / 1e6:.0f} MB)")  # fmt: skip
            evidence = verify.Evidence([keys.public_key()])

            def bundle() -> int:
                report = verify.check(str(path), evidence)
                assert report.verdict == "ok", report.error or report.problems[:3]
                return report.checked

            for name, act in (("the database", live), ("a bundle", bundle)):
                wall, cpu = rate(act)
                keep("trail_verify", case=name, database=connection.vendor, rate=wall, cpu_rate=cpu, floor=bare)
                told = f"(of its own CPU time {cpu:,.0f}; {wall / bare:.2f} of the floor)"
                print(f"  verify {name:<35} {wall:>9,.0f}   {told}", flush=True)
            # The peak of a process of its own, as on an auditor's machine.
            done = subprocess.run(
                [sys.executable, "-c", ALONE, path],
                cwd=Path(verify.__file__).parent,
                capture_output=True,
                text=True,
                check=True,
            )
            print(f"  verify.py alone: {done.stdout.splitlines()[-1]}")
    finally:
        guard.remove(connection)
        teardown_databases(old, verbosity=0)


if __name__ == "__main__":
    main()
