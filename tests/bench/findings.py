"""Findings at size, for people with a role in a few units: lists by API and console, severity totals, the year's chart.

`findings.py [FINDINGS…]`, by default 20,000 and 1,000,000 of 500 assets in 50 units. The reader sees three units, so
6 %; the other one a unit with 40 findings, all old: what a walk along an index finds last. Wanted: 150 ms and 20
queries at most for a list of 100, also of filters that match nothing (!); 50 ms for totals and chart. Of the figures,
the first is of the first time, when the data may be in no cache, the next the median of five, the last the best of
them, which others on the machine disturbed least.
"""

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ["DJANGO_SETTINGS_MODULE"] = "opssight.settings.test"
os.environ.setdefault("OPSSIGHT_API_REQUESTS_PER_MINUTE", "1000000")
os.environ.setdefault("OPSSIGHT_LOG_LEVEL", "WARNING")

import django

django.setup()

from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext, setup_databases, teardown_databases
from django.utils import timezone
from history import keep
from trail_data import _bare

from accounts.models import User
from accounts.tokens.services import issue_token
from rbac.services import assign_role
from rbac.units import create_unit, root_unit
from scanning.counts import services as counts
from scanning.models import Asset, Finding, Scan, ScanState
from tests.browser.stage import session
from tests.rows import untold

SIZES, UNITS, PER_UNIT, FEW, ROUNDS = (20_000, 1_000_000), 50, 10, 40, 5
LIST_MS, FIGURE_MS, QUERIES = 150, 50, 20
# The same words on both databases, but for these.
WORDS = {
    "postgresql": {
        "uid": "gen_random_uuid()",
        "ago": "now() - make_interval(secs => {})",
        "none": "NULL::timestamptz",
    },
    "sqlite": {
        "uid": "lower(hex(randomblob(16)))",
        "ago": "strftime('%Y-%m-%d %H:%M:%S', 'now', -({}) || ' seconds')",
        "none": "NULL",
    },
}
# i is the number of the finding, turn and mix are what it is spread by: 40 % wait, half are fixed.
ROWS = """
WITH RECURSIVE n(i) AS (SELECT CAST(1 AS bigint) UNION ALL SELECT i + 1 FROM n WHERE i < {count}),
spread AS (
  SELECT i, i * 7919 % 100003 % 100 AS mix, i * 104729 % 1000003 % 100 AS turn,
    31536000 - CAST(i * 31536000.0 / {count} AS integer) AS age,
    {first} + CASE WHEN i <= {few} THEN {last} ELSE i % {last} END AS asset
  FROM n)
INSERT INTO scanning_finding (uid, asset_id, scanner, fingerprint, rule, title, description, severity, confidence, cwe,
  path, line, code, help_url, status, first_seen_at, last_seen_at, first_scan_id, last_scan_id, due_at, fixed_at)
SELECT {uid}, asset, CASE WHEN i % 10 < 7 THEN 'semgrep' ELSE 'bandit' END, '1:' || i,
  'python.lang.security.rule-' || i % 400, 'Possible injection through text that is put together, case ' || i % 5000,
  'Words about what is wrong here, why it matters and how it is made good, as rules have them. Rule ' || i % 400,
  CASE WHEN turn < 2 THEN 4 WHEN turn < 15 THEN 3 WHEN turn < 60 THEN 2 WHEN turn < 95 THEN 1 ELSE 0 END, 'high', 89,
  'src/service_' || i % 37 || '/module_' || i % 911 || '/handlers.py', i % 900,
  '12 def handler(request):' || chr10 || '13     return run(request.GET["name"])', 'https://rules.example/' || i % 400,
  CASE WHEN mix < 30 THEN 'open' WHEN mix < 36 THEN 'triaged' WHEN mix < 40 THEN 'in_progress'
    WHEN mix < 90 THEN 'fixed' WHEN mix < 94 THEN 'false_positive' WHEN mix < 98 THEN 'accepted' ELSE 'duplicate' END,
  {seen}, {now}, {scan}, {scan}, {due}, CASE WHEN mix BETWEEN 40 AND 89 THEN {fixed} ELSE {none} END
FROM spread ORDER BY i
"""


def fill(count: int) -> tuple[User, User]:
    """The reader, and the one with the few old findings."""
    with untold():
        units = [create_unit(f"unit {n:02}", parent=root_unit()) for n in range(UNITS + 1)]
        assets = Asset.objects.bulk_create(
            Asset(name=f"asset {n:03}", location=f"/srv/{n}", unit=units[n // PER_UNIT])
            for n in range(UNITS * PER_UNIT + 1)
        )
        scan = Scan.objects.create(
            asset=assets[0], scanner="semgrep", state=ScanState.COMPLETED, finished_at=timezone.now()
        )
        reader, other = (User.objects.create(email=f"{name}@example.org") for name in ("reader", "other"))
    for unit in units[:3]:
        assign_role(reader, "analyst", unit=unit, reason="bench")
    assign_role(other, "analyst", unit=units[-1], reason="bench")
    words = WORDS[connection.vendor]
    ago = words["ago"].format
    sql = ROWS.replace("chr10", "chr(10)" if connection.vendor == "postgresql" else "char(10)").format(
        count=count, first=assets[0].pk, last=UNITS * PER_UNIT, few=FEW, scan=scan.pk, uid=words["uid"],
        none=words["none"], now=ago("0"), seen=ago("age"), due=ago("age - 2592000"), fixed=ago("age * (mix - 39) / 60"),
    )  # fmt: skip
    with _bare([Finding]), connection.cursor() as cursor:
        cursor.execute(sql)
    counts.rebuild()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")
    return reader, other


@contextmanager
def findings_of(count: int) -> Iterator[tuple[User, User]]:
    """A database of its own with so many findings; gone afterwards."""
    folder, name = tempfile.mkdtemp(prefix="opssight-bench-"), f"bench_findings_{os.getpid()}"
    embedded = connection.vendor == "sqlite"
    settings.DATABASES["default"]["TEST"]["NAME"] = os.path.join(folder, name) if embedded else name
    old = setup_databases(verbosity=0, interactive=False)
    try:
        if embedded:
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA journal_mode=WAL")
                cursor.execute("PRAGMA synchronous=OFF")
        began = time.perf_counter()
        people = fill(count)
        print(f"{connection.vendor}: {count:,} findings written in {time.perf_counter() - began:.0f} s", flush=True)
        yield people
    finally:
        teardown_databases(old, verbosity=0)
        shutil.rmtree(folder, ignore_errors=True)


def measured(ask: Callable[[], Any]) -> tuple[float, float, float, int]:
    """Milliseconds: the first time, the median of the next and the best of them; and the queries of one."""
    spans = []
    for _ in range(1 + ROUNDS):
        began = time.perf_counter()
        ask()
        spans.append((time.perf_counter() - began) * 1000)
    with CaptureQueriesContext(connection) as queries:
        ask()
    return spans[0], statistics.median(spans[1:]), min(spans[1:]), len(queries)


def told(size: int, name: str, wanted: int, ask: Callable[[], Any]) -> None:
    first, median, best, queries = measured(ask)
    figures = {"first_ms": first, "ms": median, "best_ms": best, "queries": queries}
    keep("findings", case=name, size=size, database=connection.vendor, **figures)
    over = "   over" if median > wanted or queries > QUERIES else ""
    print(
        f"  {name[:50]:<50} first {first:7.1f}   then {median:6.1f} of {wanted:3}   best {best:6.1f}"
        f"   {queries:2} queries{over}",
        flush=True,
    )


def lists(size: int, user: User) -> None:
    """First pages, filtered, searched, and deep inside, by both doors."""
    caller = Client(HTTP_HOST="localhost", headers={"authorization": f"Bearer {token_of(user)}"})
    browser = Client(HTTP_HOST="localhost")
    browser.cookies["session"] = session(user.email)
    asset = Finding.objects.permitted(user, "findings:read").order_by("id")[0].asset.uid
    asked = [
        "", "severity=high", "severity=critical", "status=open", "status=accepted", "status=fixed&severity=critical",
        f"asset={asset}", f"asset={asset}&severity=high", "severity=info&status=duplicate", "scanner=bandit",
        "scanner=trivy !", "q=case 123", "q=F-77", "q=zebra crossing !",
    ]  # fmt: skip
    for query in asked:
        told(size, f"API {query or 'first page'}", LIST_MS, lambda q=query: api(caller, f"limit=100&{q}"))
    for query in [*asked, "due=over", "due=soon", "fixed=7d"]:
        told(size, f"console {query or 'first page'}", LIST_MS, lambda q=query: page(browser, q))
    deep = api(caller, "limit=100")
    for _ in range(40):
        if deep["next"]:
            deep = answer(caller, deep["next"].partition("localhost")[2]).json()
    if deep["previous"]:
        told(size, "API, 40 pages in", LIST_MS, lambda: answer(caller, deep["previous"].partition("localhost")[2]))


def token_of(user: User) -> str:
    return issue_token(user, name="bench", scopes=["findings:read"])[1]


def api(caller: Client, query: str) -> Any:
    return answer(caller, f"/api/v1/findings?{query.removesuffix(' !')}").json()


def page(browser: Client, query: str) -> Any:
    return answer(browser, f"/findings?{query.removesuffix(' !')}")


def answer(client: Client, address: str) -> Any:
    response = client.get(address)
    assert response.status_code == 200, (address, response.status_code)
    return response


def figures(size: int, user: User, who: str) -> None:
    today = timezone.localdate()
    told(size, f"severity totals, {who}", FIGURE_MS, lambda: counts.totals(user))
    told(size, f"year's chart, {who}", FIGURE_MS, lambda: counts.year(user, today))


def main() -> None:
    for size in [int(word) for word in sys.argv[1:]] or SIZES:
        with findings_of(size) as (reader, other):
            officer = User.objects.create(email="officer@example.org")
            assign_role(officer, "officer", reason="bench")
            print(f"{connection.vendor}, {size:,} findings, of which the reader sees "
                  f"{Finding.objects.permitted(reader, 'findings:read').count():,}")  # fmt: skip
            lists(size, reader)
            print("one whose few findings are the oldest")
            lists(size, other)
            for user, who in ((reader, "reader"), (officer, "who sees everything")):
                figures(size, user, who)
            browser = Client(HTTP_HOST="localhost")
            browser.cookies["session"] = session(reader.email)
            told(size, "overview", LIST_MS, lambda: answer(browser, "/"))  # noqa: B023


if __name__ == "__main__":
    main()
