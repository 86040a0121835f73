"""Lists of the trail at size: milliseconds for a page of 50, through search, console, API and admin, and an export.

`trail_lists.py [ENTRIES]`, by default 5 million, which takes 5 to 10 minutes and 6 GB of disk to write. Wanted: 50 ms
at most for each page, also of filters that match nothing (!) and of ones that no index serves together; such a page
says how far it looked. Of the figures, the first is of the first time, when the data may be in no cache, the next the
median, and CPU that of this process: on a busy machine it tells more, and on SQLite it has the database in it.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ["DJANGO_SETTINGS_MODULE"] = "opssight.settings.test"
os.environ.setdefault("OPSSIGHT_API_REQUESTS_PER_MINUTE", "1000000")
os.environ.setdefault("OPSSIGHT_LOG_LEVEL", "WARNING")

import django

django.setup()

from django.db import connection
from django.test import Client
from history import keep
from trail_data import CREATE, DELETE, READ, trail_of

from accounts.models import User
from accounts.tokens.services import issue_token
from audit import export
from audit.models import AuditEntry, AuditPersonal
from audit.search import ORDER, Conditions, Search
from opssight.kernel.pagination import _Place
from rbac.services import assign_role
from tests.browser.stage import session

ENTRIES, ROUNDS, WANTED = 5_000_000, 5, 50
DAY = timedelta(days=1)


def cases(users: list[User]) -> dict[str, Conditions]:
    """By name; "!" marks those that match nothing."""
    busy, quiet = users[0].pk, users[-1].pk
    newest = AuditEntry.objects.exclude(request_id="").order_by("-timestamp")[0]
    oldest = AuditEntry.objects.order_by("timestamp")[0].timestamp
    day = oldest + (newest.timestamp - oldest) / 2
    month = newest.timestamp - 31 * DAY
    rare = AuditEntry.objects.filter(success=False).order_by("timestamp")[0].pk
    seldom = AuditPersonal.objects.get(pk=rare).address or ""
    common = AuditPersonal.objects.filter(entry__actor=busy)[0].address or ""
    return {
        "actor, busiest": Conditions(actor=busy),
        "actor, quietest": Conditions(actor=quiet),
        "actor !": Conditions(actor=10**9),
        "actor kind !": Conditions(actor_kind="command"),
        "event, common": Conditions(event="sessions:started"),
        "event, rare": Conditions(event="policies:changed"),
        "event !": Conditions(event="nothing:happened"),
        "action": Conditions(actions=frozenset([CREATE])),
        "actions": Conditions(actions=frozenset([CREATE, READ])),
        "action, rare": Conditions(actions=frozenset([DELETE])),
        "failed": Conditions(success=False),
        "type of object": Conditions(resource_type="rbac.role"),
        "type of object !": Conditions(resource_type="no.type"),
        "object": Conditions(resource_type="accounts.user", resource_id="00000006-0000-7000-8000-000000000001"),
        "object !": Conditions(resource_type="accounts.user", resource_id="none"),
        "id of an object": Conditions(resource_id="00000006-0000-7000-8000-000000000001"),
        "id of an object !": Conditions(resource_id="none"),
        "request": Conditions(request_id=newest.request_id),
        "request !": Conditions(request_id="none"),
        "address, common": Conditions(address=common),
        "address, rare": Conditions(address=seldom),
        "address !": Conditions(address="192.0.2.1"),
        "a day": Conditions(since=day, until=day + DAY),
        "a day, failed": Conditions(since=day, until=day + DAY, success=False),
        "a day, type !": Conditions(since=day, until=day + DAY, resource_type="no.type"),
        "action and result !": Conditions(actions=frozenset([DELETE]), success=False),
        "action and type !": Conditions(actions=frozenset([DELETE]), resource_type="scanning.finding"),
        "actor and rare event": Conditions(actor=busy, event="policies:changed"),
        "actor and event !": Conditions(actor=busy, event="scans:finished"),
        "actor and object": Conditions(
            actor=quiet, resource_type="accounts.user", resource_id="00000006-0000-7000-8000-000000000001"
        ),
        "address, event, result !": Conditions(address=common, event="sessions:started", success=False),
        "text": Conditions(text="finding 1", since=month),
        "text !": Conditions(text="zebra crossing", since=month),
        "text and actor !": Conditions(text="zebra crossing", since=month, actor=busy),
        "all at once !": Conditions(
            actor=busy, event="scans:finished", success=True, address=common, since=month, text="zebra crossing",
            actions=frozenset([CREATE]), resource_type="scanning.scan",
        ),
    }  # fmt: skip


def measured(ask: Callable[[], Any]) -> tuple[float, float, float]:
    """Milliseconds: the first time, the median of the next, and of those the median of this process's CPU."""
    spans, busy = [], []
    for _ in range(1 + ROUNDS):
        began, ran = time.perf_counter(), time.process_time()
        ask()
        spans.append((time.perf_counter() - began) * 1000)
        busy.append((time.process_time() - ran) * 1000)
    return spans[0], statistics.median(spans[1:]), statistics.median(busy[1:])


def told(name: str, first: float, median: float, busy: float, more: str = "") -> None:
    keep("trail_lists", case=name, database=connection.vendor, first_ms=first, ms=median, cpu_ms=busy)
    over = "   over" if median > WANTED else ""
    print(f"  {name:<32} first {first:7.1f}   then {median:6.1f}   CPU {busy:5.1f}   {more}{over}", flush=True)


def searches(users: list[User]) -> None:
    rows = AuditEntry.objects.select_related("personal", "leaf")
    oldest = AuditEntry.objects.order_by("timestamp")[0]
    deepest = _Place(ORDER).cursor([oldest.timestamp + DAY, oldest.pk], True)
    asked = [("newest", Conditions(), None), ("deepest page", Conditions(), deepest)]
    asked += [("deepest page of an actor", Conditions(actor=users[0].pk), deepest)]
    asked += [(name, conditions, None) for name, conditions in cases(users).items()]
    for name, conditions, cursor in asked:
        search = Search(rows, conditions)
        spans = measured(lambda s=search, c=cursor: s.page(c, 50))
        page = search.page(cursor, 50)
        assert not (page.rows and name.endswith("!")), name
        reached = f", looked back to {page.reached[0]:%Y-%m-%d}" if page.reached else ""
        told(name, *spans, f"{len(page.rows):3} entries{reached}")


def doors(reader: User) -> None:
    """Whole requests, with all that stands around the list."""
    client = Client(HTTP_HOST="localhost")
    client.cookies["session"] = session(reader.email)
    for address in ("/trail", "/trail?success=false", "/trail?event=nothing:happened", "/admin/audit/auditentry/"):
        told(address, *measured(lambda a=address: answer(client, a)))
    caller = Client(HTTP_HOST="localhost", headers={"authorization": f"Bearer {token_of(reader)}"})
    for address in ("/api/v1/trail", "/api/v1/trail?success=false", "/api/v1/trail?event=nothing:happened"):
        told(address, *measured(lambda a=address: answer(caller, a)))


def token_of(reader: User) -> str:
    return issue_token(reader, name="bench", scopes=["trail:read"])[1]


def answer(client: Client, address: str) -> None:
    response = client.get(address)
    assert response.status_code == 200, (address, response.status_code)


def exported(reader: User) -> None:
    """10,000 entries as CSV, to the last line."""
    export.LIMIT = 10_000
    caller = Client(HTTP_HOST="localhost", headers={"authorization": f"Bearer {token_of(reader)}"})
    began = time.perf_counter()
    response = caller.get("/api/v1/trail/export?format=csv")
    ready = (time.perf_counter() - began) * 1000
    lines = sum(part.count(b"\r\n") for part in response.streaming_content)
    took = (time.perf_counter() - began) * 1000
    keep("trail_lists", case="export of 10,000", database=connection.vendor, first_ms=ready, ms=took)
    print(f"  {'export of 10,000':<32} first byte {ready:.0f} ms, all {lines - 1:,} rows {took:.0f} ms")


def main() -> None:
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else ENTRIES
    with trail_of(entries) as users:
        reader = User.objects.create(email="reader@example.org")
        assign_role(reader, "officer", reason="bench")
        print(f"{connection.vendor}: ms a page of 50 among {entries:,} entries, wanted {WANTED} at most")
        searches(users)
        doors(reader)
        exported(reader)


if __name__ == "__main__":
    main()
