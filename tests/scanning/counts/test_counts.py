"""What findings come to is kept right by whatever writes them: held against a naive count after every change."""

import random
from collections import Counter, defaultdict
from datetime import date, timedelta
from io import BytesIO, StringIO
from itertools import pairwise
from threading import Barrier, Thread

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from rbac.services import assign_role, create_unit, root_unit
from scanning import findings
from scanning.counts import services, triggers
from scanning.counts.models import StateCount, WeekCount
from scanning.imports.services import import_report, undo
from scanning.inventory import asset_at, change_asset
from scanning.models import Finding, Scan, Severity, Status
from scanning.reports.base import RawFinding
from scanning.services import request_scan
from scanning.triage import services as triage
from scanning.triage.models import Decision
from tests.conftest import make_person, put
from tests.rows import untold
from tests.scanning.imports.test_imports import report
from tests.scanning.triage.conftest import WHY, scanned

pytestmark = pytest.mark.django_db
OPEN = Status.unresolved()


def monday(moment) -> date:
    return (moment - timedelta(days=moment.weekday())).date()


class Naive:
    """Remembers every finding as it was, and counts by hand what became of each."""

    def __init__(self) -> None:
        self.seen: dict[int, tuple[int, int, str]] = {}
        self.weeks: dict[tuple[int, date, int], list[int]] = defaultdict(lambda: [0, 0, 0])

    def look(self) -> None:
        now = {row.pk: row for row in Finding.objects.all()}
        this = monday(timezone.now())
        for pk, row in now.items():
            was = self.seen.get(pk)
            if was is None:
                self.weeks[row.asset_id, monday(row.first_seen_at), row.severity][0] += 1
                was = (row.asset_id, row.severity, "open")
            is_now = (row.asset_id, row.severity, row.status)
            if was[2] in OPEN and row.status == "fixed":
                self.weeks[*was[:1], monday(row.fixed_at), was[1]][1] += 1
            elif was[2] in OPEN and row.status not in OPEN:
                self.weeks[was[0], this, was[1]][2] -= 1
            elif was[2] not in OPEN and row.status in OPEN:
                self.weeks[row.asset_id, this, row.severity][0] += 1
            elif was[2] in OPEN and was[:2] != is_now[:2]:
                self.weeks[was[0], this, was[1]][2] -= 1
                self.weeks[row.asset_id, this, row.severity][2] += 1
            self.seen[pk] = is_now
        for pk in self.seen.keys() - now.keys():
            asset, severity, status = self.seen.pop(pk)
            if status in OPEN:
                self.weeks[asset, this, severity][2] -= 1

    def agrees(self) -> None:
        counted: Counter[tuple[int, int, str]] = Counter()
        for row in StateCount.objects.all():
            counted[row.asset_id, row.severity, row.status] += row.n
        assert {key: n for key, n in counted.items() if n} == Counter(self.seen.values())
        weeks: dict[tuple[int, date, int], list[int]] = defaultdict(lambda: [0, 0, 0])
        for week in WeekCount.objects.all():
            for part, more in enumerate((week.opened, week.fixed, week.other)):
                weeks[week.asset_id, week.week, week.severity][part] += more
        assert {key: told for key, told in weeks.items() if any(told)} == {
            key: told for key, told in self.weeks.items() if any(told)
        }


@pytest.fixture
def people(db):
    return make_person("Ana", "officer"), make_person("Bea", "officer")


@pytest.mark.parametrize("seed", range(6))
def test_the_counts_are_the_naive_ones_after_every_change(seed, people, tmp_path):
    ana, bea = people
    dice = random.Random(seed)
    assets = [asset_at(tmp_path / str(n)) for n in range(3)]
    naive, imports = Naive(), []

    def scan() -> None:
        run = Scan.claim(request_scan(dice.choice(assets), dispatch=False).pk)
        findings.record(run, [
            RawFinding("B1", "rule", "", dice.choice(list(Severity)), "shop.py", line, flagged=f"call({line})")
            for line in dice.sample(range(30), 12)
        ])  # fmt: skip
        if dice.random() < 0.7:
            findings.close_missing(run)
        run.finish("completed")

    def take() -> None:
        places = [f"shop.py:{line}" for line in dice.sample(range(20), 6)]
        content = report(*places, severity=dice.choice(["HIGH", "LOW"]))
        imports.append(import_report(dice.choice(assets), BytesIO(content), format="bandit").row)

    def take_back() -> None:
        if imports:
            undo(imports.pop(dice.randrange(len(imports))))

    def decide() -> None:
        for row in Finding.objects.order_by("?")[:4]:
            status = dice.choice(sorted(triage.FOLLOWS[row.status]))
            if status == Status.DUPLICATE or Decision.objects.waiting().filter(finding=row).exists():
                continue
            until = timezone.now() + timedelta(days=9)
            decision = triage.decide(row, status, by=ana, reason=WHY, until=until)
            if status == Status.ACCEPTED:
                triage.answer(decision, approve=dice.random() < 0.8, by=bea, reason=WHY)

    def wake() -> None:
        put(Decision.objects.in_force()[:2], decided_at=timezone.now() - timedelta(9), until=timezone.now())
        triage.wake()

    def age() -> None:
        """As if it were of an earlier week: new ones then."""
        with untold():
            Finding.objects.bulk_create(
                Finding(
                    asset=dice.choice(assets), scanner="old", fingerprint=f"{seed}-{dice.random()}", rule="r",
                    title="t",
                    severity=dice.choice(list(Severity)), path="p", first_seen_at=then, last_seen_at=then,
                    first_scan=run, last_scan=run, status=dice.choice(Status.values), fixed_at=then,
                )
                for run in Scan.objects.all()[:1]
                for then in [timezone.now() - timedelta(days=dice.randrange(300))]
            )  # fmt: skip

    def move() -> None:
        change_asset(dice.choice(assets), name=f"renamed {dice.random()}")

    def fold() -> None:
        services.fold()

    for _ in range(25):
        dice.choice([scan, scan, take, take_back, decide, wake, age, move, fold])()
        naive.look()
        naive.agrees()
    assert services.agrees()
    before = dict(services.totals(ana))
    assert before == {level: Finding.objects.unresolved().filter(severity=level).count() for level in Severity}
    services.rebuild()
    assert services.agrees()
    assert services.totals(ana) == before


def test_the_year_ends_with_what_is_open_and_adds_up(people, tmp_path):
    ana, _ = people
    asset = asset_at(tmp_path)
    scanned(asset, 1, 2, 3)
    now = timezone.now()
    old = Finding.objects.order_by("pk")
    triggers.remove(connection)
    put(old, first_seen_at=now - timedelta(weeks=10))
    put(old[:1], status=Status.FIXED, fixed_at=now - timedelta(weeks=4))
    triggers.install(connection)  # it finds that they were written without it
    weeks = services.year(ana, now.date())
    assert len(weeks) == 53
    assert [week.open[Severity.HIGH] for week in weeks[-12:]] == [0, 3, 3, 3, 3, 3, 3, 2, 2, 2, 2, 2]
    assert (weeks[-11].opened[Severity.HIGH], weeks[-5].fixed[Severity.HIGH]) == (3, 1)
    for before, after in pairwise(weeks):
        for level in Severity:
            grown = after.opened[level] - after.fixed[level] + after.other[level]
            assert after.open[level] - before.open[level] == grown


def test_everyone_counts_what_they_may_see(people, tmp_path):
    ana, _ = people
    mine, other = (create_unit(name, parent=root_unit()) for name in ("Mine", "Other"))
    for n, unit in enumerate((mine, other)):
        scanned(asset_at(tmp_path / str(n), unit=unit), *range(n + 1))
    dev, eve = make_person("Dev"), make_person("Eve")
    assign_role(dev, "developer", unit=mine, reason="test")
    today = timezone.now().date()
    for person, n in ((ana, 3), (dev, 1), (eve, 0)):
        assert services.totals(person)[Severity.HIGH] == n
        assert services.year(person, today)[-1].opened[Severity.HIGH] == n
    assert not StateCount.objects.permitted(dev, "scans:read").exists()


def test_an_asset_that_moves_takes_its_counts_along(people, tmp_path):
    mine, other = (create_unit(name, parent=root_unit()) for name in ("Mine", "Other"))
    asset = asset_at(tmp_path, unit=other)
    scanned(asset, 1)
    dev = make_person("Dev")
    assign_role(dev, "developer", unit=mine, reason="test")
    assert services.totals(dev)[Severity.HIGH] == 0
    change_asset(asset, unit=mine)
    assert services.totals(dev)[Severity.HIGH] == 1


def test_what_was_written_past_the_triggers_is_found_and_counted_anew(db, tmp_path):
    scanned(asset_at(tmp_path), 1, 2)
    StateCount.objects.update(n=7)
    out = StringIO()
    call_command("recount_findings", stdout=out)
    assert "Counted 2 findings; the counts by state were wrong." in out.getvalue()
    assert services.agrees()
    out = StringIO()
    call_command("recount_findings", stdout=out)
    assert "were right" in out.getvalue()


def test_a_server_without_the_triggers_is_not_ready(client, db):
    assert triggers.is_installed(connection)
    triggers.remove(connection)
    assert not triggers.is_installed(connection)
    assert "triggers are missing" in client.get("/readyz").content.decode()


@pytest.mark.skipif(connection.vendor == "sqlite", reason="the tests' database in memory is one connection")
@pytest.mark.django_db(transaction=True)
def test_parallel_writers_neither_wait_nor_lose_a_count(tmp_path):
    """Eight at once decide about and scan the same two assets, in opposite orders, while a ninth folds."""
    assets = [asset_at(tmp_path / str(n)) for n in range(2)]
    for asset in assets:
        scanned(asset, *range(20))
    gate, errors = Barrier(9), list[BaseException]()

    def work(number: int) -> None:
        try:
            gate.wait(timeout=20)
            for turn in range(6):
                if number == 8:
                    services.fold()
                    continue
                for asset in assets[:: 1 if number % 2 else -1]:
                    put(Finding.objects.filter(asset=asset, line__range=(number * 2, number * 2 + 1)),
                        status="triaged" if turn % 2 else "accepted", severity=turn % 5)  # fmt: skip
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [Thread(target=work, args=(n,)) for n in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert errors == []
    assert services.agrees()
    services.fold()
    assert services.agrees()
    assert not StateCount.objects.filter(lane__gt=0).exists()
