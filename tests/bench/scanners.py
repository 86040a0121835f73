"""bandit through OpsSight beside bandit alone: seconds of the same files, in turns, and their ratio.

`scanners.py [FOLDER [RUNS]]`, by default Django's own db package and 5 runs of each. Alone is one run of the tool with
the same report; through OpsSight is a whole scan: listing, parts, findings into rows with their entries, closing. Rows
are there from a run before, so that both look at what has not changed. The best run of each counts, since whatever else
the machine does only adds. Wanted: at most 1.15.
"""

import os
import resource
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

from django.conf import settings
from django.db import connection
from django.test.utils import setup_databases, teardown_databases
from history import keep

from scanning.inventory import asset_at
from scanning.models import Asset, Scan, ScanState
from scanning.scanners import toolbox
from scanning.scanners.bandit import NO_EXCLUSION
from scanning.scanners.base import registry
from scanning.services import request_scan, run_scan
from scanning.targets import survey

WANTED = 1.15


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and of CPU, ours and our children's."""
    began, before = time.perf_counter(), _cpu()
    work()
    return time.perf_counter() - began, _cpu() - before


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def through(asset: Asset) -> Scan:
    scan = request_scan(asset, dispatch=False)
    run_scan(scan.pk)
    scan.refresh_from_db()
    if scan.state != ScanState.COMPLETED:
        raise SystemExit(f"the scan ended as {scan.state}: {scan.reason}")
    return scan


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(django.__file__).parent / "db").resolve()
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    toolbox.env.HOME = Path(os.environ.get("OPSSIGHT_SCANNERS_HOME") or settings.BASE_DIR / "var")
    old = setup_databases(verbosity=0, interactive=False)
    try:
        asset = asset_at(folder)
        files = [f"./{name}" for part in survey(asset, registry["bandit"]).parts for name in part.files]
        with tempfile.TemporaryDirectory() as own:
            program, report = str(toolbox.program("bandit")), f"{own}/report.json"
            command = [program, "-q", "-f", "json", "-o", report, "-x", NO_EXCLUSION, *files]
            first = through(asset)
            alone, ours = list[tuple[float, float]](), list[tuple[float, float]]()
            for _ in range(runs):
                alone.append(timed(lambda: subprocess.run(command, cwd=folder, capture_output=True)))
                ours.append(timed(lambda: through(asset)))
        (clock, cpu), (our_clock, our_cpu) = (
            [min(column) for column in zip(*rows, strict=True)] for rows in (alone, ours)
        )
        ratio = our_clock / clock
        keep(
            "scanners", tool="bandit", database=connection.vendor, files=len(files), findings=first.new,
            parts=first.parts_total, alone_s=clock, through_s=our_clock, alone_cpu_s=cpu, through_cpu_s=our_cpu,
            ratio=ratio,
        )  # fmt: skip
        print(
            f"bandit, {len(files)} files, {first.parts_total} parts, {first.new} findings, {connection.vendor}\n"
            f"  alone     {clock:6.2f} s  CPU {cpu:6.2f} s\n"
            f"  OpsSight  {our_clock:6.2f} s  CPU {our_cpu:6.2f} s\n"
            f"  ratio     {ratio:6.3f}    CPU {our_cpu / cpu:6.3f}    wanted {WANTED}"
        )
    finally:
        teardown_databases(old, verbosity=0)


if __name__ == "__main__":
    main()
