"""The period report at size: from the figures that the sealer keeps, beside the naive query over the entries.

5 million entries of a year (or the number given), 500 accounts. Prints milliseconds (median), wanted: the yearly report
100 at most, distinct users 300 at most, both equal to the naive query; and what counting costs per sealed entry, of
the 50 microseconds that a sealer has which seals 20,000 a second.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ["DJANGO_SETTINGS_MODULE"] = "opssight.settings.test"
os.environ.setdefault("OPSSIGHT_LOG_LEVEL", "WARNING")

import django

django.setup()

from django.db import connection, transaction
from history import keep
from trail_data import trail_of

from audit.models import AuditEntry
from audit.rollups import services
from audit.sealing.recount import rebuild
from tests.audit.rollups.helpers import naive

COUNT, ROUNDS, BATCH, BATCHES = 5_000_000, 7, 20_000, 10
FRAMEWORKS = (services.ALL, "SOC2", "GDPR")


def timed(ask: Callable[[], Any], rounds: int = ROUNDS) -> tuple[float, Any]:
    """Milliseconds (median), and the answer."""
    spans, answer = [], ask()
    for _ in range(rounds):
        began = time.perf_counter()
        answer = ask()
        spans.append((time.perf_counter() - began) * 1000)
    return statistics.median(spans), answer


def counting() -> tuple[float, float]:
    """Microseconds per entry: of counting alone, and of canonical bytes, MAC and leaf beside it."""
    rows = AuditEntry.objects.order_by("-id")[: BATCH * BATCHES]
    entries = list(rows.iterator(chunk_size=BATCH))
    spans = []
    with transaction.atomic():
        for n in range(0, len(entries), BATCH):
            began = time.perf_counter()
            services.count(entries[n : n + BATCH])
            spans.append((time.perf_counter() - began) / BATCH * 1e6)
        transaction.set_rollback(True)
    return statistics.median(spans), max(spans)


def main(count: int) -> None:
    with trail_of(count):
        began = time.perf_counter()
        rebuild()
        took = time.perf_counter() - began
        print(f"  counted anew in {took:.0f} s, {count / took:,.0f} a second", flush=True)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
        end = datetime.now(UTC).date()
        start = end - timedelta(days=364)
        print(f"{connection.vendor}, {count:,} entries: ms, median of {ROUNDS}; wanted: days 100, distinct users 300")
        for framework in FRAMEWORKS:
            days_ms, days = timed(lambda f=framework: services.days(start, end, f))
            users_ms, users = timed(lambda f=framework: services.unique_users(start, end, f))
            naive_ms, (real, real_users) = timed(lambda f=framework: naive(start, end, f), rounds=1)
            figures = {str(day.day): {name: getattr(day, name) for name in services.COUNTS} for day in days}
            assert {day: row for day, row in figures.items() if row["total"]} == real
            assert users == real_users
            keep("trail_report", database=connection.vendor, entries=count, framework=framework, days_ms=days_ms,
                 users_ms=users_ms, naive_ms=naive_ms)  # fmt: skip
            print(
                f"  {framework:<10} days {days_ms:6.1f}  distinct users {users_ms:6.1f}  naive {naive_ms:9.1f}"
                f"  ratio {naive_ms / (days_ms + users_ms):6.0f}",
                flush=True,
            )
        usual, worst = counting()
        keep("trail_count", database=connection.vendor, entries=count, usual_us=usual, worst_us=worst)
        print(f"  counting a sealed entry: {usual:.2f} us, worst batch {worst:.2f} (of 50)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT)
