"""A large report taken in, repeated, and followed by another: CPU seconds, queries and memory.

`imports.py [FINDINGS]`, by default 10,000 of semgrep's, made by the generator in the shared data (OPSSIGHT_SHARED).
Wanted: the first 10 s of CPU, 200 queries and 300 MB at most; the same again 3 s, 100 queries and no change; with a
tenth gone and a twentieth new 5 s. OWASP DefectDojo 3.2.0 took 98 s, 40,466 queries and 368 MB; 24 s, 313; 46 s.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ["DJANGO_SETTINGS_MODULE"] = "opssight.settings.test"
os.environ.setdefault("OPSSIGHT_LOG_LEVEL", "WARNING")

import django

django.setup()

from django.db import connection
from django.test.utils import CaptureQueriesContext, setup_databases, teardown_databases
from history import keep

from accounts.models import User
from rbac.services import assign_role
from scanning.imports import services
from scanning.inventory import asset_at

GENERATOR = Path(os.environ.get("OPSSIGHT_SHARED", "")) / "tools" / "gen_report.py"


def generated(folder: Path, name: str, number: str, *options: str) -> Path:
    file = folder / name
    command = [sys.executable, str(GENERATOR), "--format", "semgrep", "--n", number, *options, "-o", str(file)]
    subprocess.run(command, check=True)
    return file


def measured(name: str, take: Callable[[], services.Diff]) -> None:
    with CaptureQueriesContext(connection) as queries:
        began, ran = time.perf_counter(), time.process_time()
        diff = take()
        span, busy = time.perf_counter() - began, time.process_time() - ran
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = diff.counts()
    keep("imports", case=name, database=connection.vendor, cpu_s=busy, s=span, queries=len(queries), mb=memory, **told)
    counts = ", ".join(f"{number} {word}" for word, number in told.items() if number)
    print(f"  {name:<12} CPU {busy:5.1f} s  {span:5.1f} s  {len(queries):4} queries  {memory:4.0f} MB  {counts}")


def main() -> None:
    number = sys.argv[1] if len(sys.argv) > 1 else "10000"
    old = setup_databases(verbosity=0, interactive=False)
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            first = generated(folder, "first.json", number)
            second = generated(folder, "second.json", number, "--drop", "0.1", "--new", "0.05")
            user: Any = User.objects.create(email="ci@example.org")
            assign_role(user, "developer", reason="bench")
            asset = asset_at(folder)
            print(f"{connection.vendor}, {number} findings, {first.stat().st_size / 1e6:.0f} MB")
            for what, file in (("first", first), ("again", first), ("next", second)):
                with file.open("rb") as report:
                    measured(what, lambda r=report: services.import_report(asset, r, by=user))
    finally:
        teardown_databases(old, verbosity=0)


if __name__ == "__main__":
    main()
