"""Millions of trail entries for benches: a year of 500 people, in the shape that the application writes.

40 kinds of entries about 8 types of objects, 2 % refused or failed, fewer at weekends, ids nearly but not strictly in
the order of time. Digests and MACs are random, so nothing here verifies. Set-based: COPY on PostgreSQL, executemany on
SQLite, triggers off and indexes built at the end.
"""

import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import accumulate, islice
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.db.models import Model
from django.test.utils import setup_databases, teardown_databases

from accounts.models import User
from audit.models import AuditEntry, AuditPersonal
from audit.sealing.models import Leaf, Pending
from audit.tags import VERSION, tags_of
from tests.rows import untold

BATCH = 20_000
USERS = 500
CREATE, UPDATE, DELETE, READ = 0, 1, 2, 3
TYPES = {  # type of object: how many there are, and how often each is created, changed, deleted and read
    "scanning.finding": (300_000, (60, 180, 0, 90)),
    "scanning.scan": (60_000, (30, 90, 0, 20)),
    "compliance.result": (40_000, (90, 0, 0, 10)),
    "tokens.token": (3_000, (3, 3, 2, 4)),
    "scanning.asset": (2_000, (2, 30, 1, 40)),
    "rbac.roleassignment": (2_000, (3, 4, 2, 3)),
    "accounts.user": (USERS, (2, 20, 1, 30)),
    "rbac.role": (40, (1, 2, 1, 3)),
}
EVENTS = {  # event: type of object, how often, the share that fails
    "sessions:started": ("accounts.user", 60, 0),
    "sessions:ended": ("accounts.user", 50, 0),
    "sessions:refused": ("", 9, 1),
    "mfa:refused": ("accounts.user", 3, 1),
    "mfa:stepped_up": ("accounts.user", 8, 0),
    "access:denied": ("scanning.asset", 5, 1),
    "scans:started": ("scanning.scan", 30, 0),
    "scans:finished": ("scanning.scan", 29, 0),
    "scans:failed": ("scanning.scan", 1, 1),
    "findings:fixed": ("scanning.finding", 20, 0.02),
    "controls:evaluated": ("compliance.result", 40, 0.01),
    "tokens:issued": ("tokens.token", 2, 0),
    "policies:changed": ("rbac.role", 0.02, 0.1),
}
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"


def fill(count: int, *, days: int = 365, leaves: bool = True, until: datetime | None = None) -> list[User]:
    """Write `count` entries that end at `until` (now), with side rows and leaves; the users, the busiest first.

    For a database of tests alone: what the migrations left in the trail goes, and nothing refuses or seals these rows.
    """
    with untold():
        users = User.objects.bulk_create(User(email=f"person{n}@example.org", name=f"Person {n}") for n in range(USERS))
    made = _rows(count, users, days, until or datetime.now(UTC), random.Random(7))
    models: list[type[Model]] = [AuditEntry, AuditPersonal, *([Leaf] if leaves else [])]
    with _bare(models):
        _empty([Pending, AuditPersonal, AuditEntry])
        while batch := list(islice(made, BATCH)):
            with transaction.atomic():
                for model, rows in zip(models, zip(*batch, strict=True), strict=False):
                    _write(model, rows)
        with connection.cursor() as cursor:
            for model in models if connection.vendor == "postgresql" else []:
                table, key = model._meta.db_table, model._meta.pk.column  # type: ignore[union-attr]
                cursor.execute(
                    f"SELECT setval(s, (SELECT max({key}) FROM {table})) FROM pg_get_serial_sequence(%s, %s) s"
                    " WHERE s IS NOT NULL",
                    [table, key],
                )
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")
    return users


@contextmanager
def trail_of(count: int, **how: Any) -> Iterator[list[User]]:
    """A database of its own with so many entries, as the servers have it; gone afterwards. Prints how long it took."""
    folder = tempfile.mkdtemp(prefix="opssight-bench-")
    name = f"bench_trail_{os.getpid()}"
    embedded = connection.vendor == "sqlite"
    settings.DATABASES["default"]["TEST"]["NAME"] = os.path.join(folder, name) if embedded else name
    old = setup_databases(verbosity=0, interactive=False)
    try:
        if embedded:
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA journal_mode=WAL")
                cursor.execute("PRAGMA synchronous=OFF")
                cursor.execute("PRAGMA cache_size=-20000")
        began = time.perf_counter()
        users = fill(count, **how)
        print(f"{connection.vendor}: {count:,} entries written in {time.perf_counter() - began:.0f} s", flush=True)
        yield users
    finally:
        teardown_databases(old, verbosity=0)
        shutil.rmtree(folder, ignore_errors=True)


def moments(count: int, days: int, until: datetime, dice: random.Random) -> Iterator[datetime]:
    """Times in the order of ids, but for seconds where transactions overlap, and now and then minutes (a long one)."""
    first = (until - timedelta(days=days - 1)).replace(hour=0, minute=0, second=0, microsecond=0)
    starts = [first + timedelta(days=n) for n in range(days)]
    share = [dice.uniform(0.8, 1.2) * (0.15 if start.weekday() >= 5 else 1) for start in starts]
    shown = 0
    for start, reached in zip(starts, accumulate(share), strict=True):
        upto = round(count * reached / sum(share))
        whole = min(timedelta(days=1), until - start).total_seconds()
        for n in range(upto - shown):
            late = dice.random() * (600 if dice.random() < 0.0005 else 5)
            yield start + timedelta(seconds=max(0.0, whole * n / (upto - shown) - late))
        shown = upto


Rows = tuple[list[Any], list[Any], list[Any]]


def _rows(count: int, users: list[User], days: int, until: datetime, dice: random.Random) -> Iterator[Rows]:
    """An entry, its side row and its leaf, as columns in the order of the models."""
    kinds, weights = _kinds()
    busy = list(accumulate(1 / (n + 5) for n in range(len(users))))
    entry_of, side_of, leaf_of = (_template(model) for model in (AuditEntry, AuditPersonal, Leaf))
    inside = [f"10.{n // 200}.{n % 200}.{n % 7 + 10}" for n in range(400)]
    prepared = connection.ops.adapt_datetimefield_value
    request, in_request = "", 0
    for number, moment in enumerate(moments(count, days, until, dice), start=1):
        if number % BATCH == 1:
            chosen = dice.choices(kinds, cum_weights=weights, k=BATCH)
            actors = dice.choices(range(len(users)), cum_weights=busy, k=BATCH)
        kind, nth = chosen[number % BATCH], actors[number % BATCH]
        bits = dice.getrandbits(256)
        uid = f"{int(moment.timestamp() * 1000):012x}7{bits & 0xFFF:03x}8{bits >> 12 & 0xFFF_FFFF_FFFF_FFFF:015x}"
        if not in_request:
            request, in_request = uid, 1 + bits % 4
        in_request -= 1
        failed = kind["failing"] and (kind["failing"] == 1 or dice.random() < kind["failing"])
        about = kind["type"] and 1 + int(dice.random() ** 2 * kind["objects"])
        resource = about and f"{kind['code']:08x}-0000-7000-8000-{about:012x}"
        user = None if kind["system"] else users[nth]
        outside = failed and not kind["system"]
        address = f"203.0.{bits >> 8 & 127}.{bits & 255}" if outside else inside[(bits & 1) * 200 + nth % 200]
        random_hex = f"{bits:064x}"
        entry, side = entry_of(), side_of()
        entry.update(
            id=number,
            uid=uid,
            timestamp=prepared(moment),
            actor_id=user.pk if user else None,
            actor_kind="user" if user else "system",
            event=kind["event"],
            action=kind["action"],
            content_type_id=kind["content_type"],
            object_pk=str(about),
            object_id=about or None,
            resource_type=kind["type"],
            resource_id=resource,
            changes=kind["changes"],
            additional_data=kind["data"],
            compliance_tags=kind["tags"],
            tags_version=VERSION,
            success=not failed,
            error_message="You don't have the permission findings:triage." if failed else "",
            request_id="" if kind["system"] else request,
            personal_digest=random_hex,
            salt=random_hex[:32],
            mac=random_hex,
        )
        label = f"{kind['type'].partition('.')[2]} {about}" if about else "nobody@example.org"
        who, browser = (user.email, BROWSER) if user else ("OpsSight", "")
        side.update(
            entry_id=number,
            address=address if user else None,
            data=f'{{"actor": "{who}", "user_agent": "{browser}", "object": "{label}", "values": {{}}, "data": {{}}}}',
            salt=random_hex[32:],
        )
        leaf = leaf_of()
        leaf.update(position=number - 1, entry_id=number, hash=bits.to_bytes(32, "big"))
        yield list(entry.values()), list(side.values()), list(leaf.values())


def _kinds() -> tuple[list[dict[str, Any]], list[float]]:
    rows = [
        ("", action, kind, weight, 0.0)
        for kind, (_, by_action) in TYPES.items()
        for action, weight in enumerate(by_action)
        if weight
    ]
    rows += [(event, None, kind, weight, failing) for event, (kind, weight, failing) in EVENTS.items()]
    kinds = [
        {
            "event": event,
            "action": action,
            "type": kind,
            "code": list(TYPES).index(kind) if kind else 0,
            "objects": TYPES[kind][0] if kind else 0,
            "failing": failing,
            "system": event.startswith(("scans:", "controls:")) or kind == "compliance.result",
            "content_type": ContentType.objects.get_for_model(apps.get_model(kind)).pk if kind else None,
            "changes": json.dumps(_changes(action)) if action in (CREATE, UPDATE, DELETE) else None,
            "tags": json.dumps(tags_of(event, kind, action)),
            "data": json.dumps({"reason": "what people write as a reason, a line long"} if event else {}),
        }
        for event, action, kind, _, failing in rows
    ]
    return kinds, list(accumulate(weight for *_, weight, _ in rows))


def _changes(action: int) -> dict[str, list[str]]:
    if action == UPDATE:
        return {"status": ["open", "triaged"], "reason": ["None", "Confirmed by two of us"], "note": ["", "see ticket"]}
    old_and_new = {f"field_{n}": ["None", f"a value of middling length, {n}"] for n in range(8)}
    return old_and_new if action == CREATE else {name: [new, old] for name, (old, new) in old_and_new.items()}


def _template(model: type[Model]) -> Any:
    """A maker of rows {column: default}, in the order of the model's columns, whichever those are by now."""
    fields = {field.attname: field for field in model._meta.concrete_fields}
    plain = {name: field.get_db_prep_save(field.get_default(), connection) for name, field in fields.items()}
    return plain.copy


def _write(model: type[Model], rows: Any) -> None:
    columns = [field.column for field in model._meta.concrete_fields]
    table, names = model._meta.db_table, ", ".join(columns)
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({', '.join(['?'] * len(columns))})", rows)
            return
        with cursor.cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)


def _empty(models: list[type[Model]]) -> None:
    with connection.cursor() as cursor:
        for model in models:
            cursor.execute(f"DELETE FROM {model._meta.db_table}")


@contextmanager
def _bare(models: list[type[Model]]) -> Iterator[None]:
    """The tables without triggers and indexes; both come back at the end."""
    tables = [model._meta.db_table for model in models]
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA foreign_keys=OFF")
            cursor.execute(
                "SELECT 'DROP ' || type || ' ' || name, sql FROM sqlite_master WHERE type IN ('index', 'trigger')"
                f" AND sql IS NOT NULL AND tbl_name IN ({', '.join(['%s'] * len(tables))})",
                tables,
            )
        else:
            cursor.execute("SET session_replication_role = replica")
            cursor.execute(
                "SELECT 'DROP INDEX ' || indexname, indexdef FROM pg_indexes WHERE tablename = ANY(%s) AND NOT EXISTS"
                " (SELECT 1 FROM pg_constraint WHERE conname = indexname)",
                [tables],
            )
        parts = cursor.fetchall()
        for drop, _ in parts:
            cursor.execute(drop)
        yield
        for _, create in parts:
            cursor.execute(create)
        on = "PRAGMA foreign_keys=ON" if connection.vendor == "sqlite" else "SET session_replication_role = origin"
        cursor.execute(on)
