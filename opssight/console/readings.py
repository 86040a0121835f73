"""The figures of the overview, and why a list is empty. Each figure links to exactly the rows it counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Case, Count, IntegerField, When
from django.urls import reverse

from accounts.mfa.services import enrolled
from accounts.models import User
from audit.models import AuditEntry
from opssight.console.counting import ask, figure
from opssight.console.navigation import Shell
from opssight.kernel.access import decide
from scanning.counts.services import with_standing
from scanning.models import Asset, Finding, Scan, ScanState, Severity

DAY, WEEK = timedelta(days=1), timedelta(days=7)
FAILURES = urlencode([("state", state) for state in ScanState.failures()])


@dataclass(frozen=True)
class Tile:
    """`alarm` marks a number that ought to be zero and is not."""

    key: str
    label: str
    value: str
    note: str
    address: str = ""
    unit: str = ""
    alarm: bool = False


def tiles(user: Any, shell: Shell, counts: Mapping[Severity, int], *, at: datetime) -> list[Tile]:
    """One query for all of them; only what this person may see. `counts` are their open findings by severity."""
    found = Finding.objects.permitted(user, "findings:read")
    runs = Scan.objects.permitted(user, "scans:read").filter(queued_at__gte=at - WEEK)
    people = User.objects.people().permitted(user, "users:read")
    entries = AuditEntry.objects.permitted(user, "trail:read").since(at - DAY)
    n = ask(
        user,
        arrived=found.unresolved().filter(first_seen_at__gte=at - DAY),
        over=found.overdue(at=at),
        soon=found.due_soon(at=at),
        fixed=found.fixed_since(at - WEEK),
        runs=runs,
        failed=runs.failed(),
        people=people,
        enrolled=people.filter(enrolled()),
        entries=entries,
        refused=entries.filter(success=False),
    )
    here, missing = reverse("findings"), n["people"] - n["enrolled"]
    critical, high = counts[Severity.CRITICAL], counts[Severity.HIGH]
    shown = [
        (
            shell.findings,
            Tile("open", "Open findings", figure(sum(counts.values())), f"{figure(n['arrived'])} new in 24 h", here),
        ),
        (
            shell.findings,
            Tile(
                "severe",
                "Critical and high",
                figure(critical + high),
                f"{figure(critical)} critical, {figure(high)} high",
                f"{here}?severity=critical&severity=high",
                alarm=critical > 0,
            ),
        ),
        (
            shell.findings,
            Tile(
                "over",
                "Past deadline",
                figure(n["over"]),
                f"{figure(n['soon'])} due in 3 days",
                f"{here}?due=over",
                alarm=n["over"] > 0,
            ),
        ),
        (
            shell.findings,
            Tile("fixed", "Fixed in 7 days", figure(n["fixed"]), "no longer reported", f"{here}?status=fixed&fixed=7d"),
        ),
        (
            shell.scans,
            Tile(
                "failed",
                "Scans failed in 7 days",
                figure(n["failed"]),
                f"of {figure(n['runs'])} run{'' if n['runs'] == 1 else 's'}",
                f"{reverse('scans')}?{FAILURES}&since=7d",
                alarm=n["failed"] > 0,
            ),
        ),
        (
            shell.users,
            Tile(
                "factor",
                "Second factor",
                figure(n["enrolled"]),
                f"{figure(missing)} to go" if missing else "everyone",
                f"{reverse('admin:accounts_user_changelist')}?kind=person&is_active__exact=1" if shell.admin else "",
                unit=f"/{figure(n['people'])}",
            ),
        ),
        (
            shell.trail,
            Tile(
                "entries",
                "Trail entries in 24 h",
                figure(n["entries"]),
                f"{figure(n['refused'])} refused or failed",
                f"{reverse('trail')}?since=24h",
            ),
        ),
    ]
    return [tile for may, tile in shown if may]


# --- deadlines ------------------------------------------------------------------------------------------------------

# Days until which a group reaches, its name, and its name where there is little room.
GROUPS = [
    (0, "Overdue", "over"),
    (1, "≤ 1 d", "1"),
    (2, "1 to 2 d", "2"),
    (3, "2 to 3 d", "3"),
    (7, "3 to 7 d", "7"),
    (14, "7 to 14 d", "14"),
    (30, "14 to 30 d", "30"),
    (90, "30 to 90 d", "90"),
]


def deadlines(user: Any, *, at: datetime) -> list[dict[Severity, int]]:
    """How many unresolved findings of each severity fall due in each of GROUPS."""
    edges = [When(due_at__lt=at + timedelta(days=days), then=index) for index, (days, _, _) in enumerate(GROUPS)]
    group = Case(*edges, default=len(GROUPS) - 1, output_field=IntegerField())
    found = Finding.objects.permitted(user, "findings:read").unresolved().exclude(due_at=None)
    rows = found.order_by().annotate(group=group).values_list("group", "severity").annotate(n=Count("pk"))
    counts: list[dict[Severity, int]] = [{} for _ in GROUPS]
    for index, severity, n in rows:
        counts[index][Severity(severity)] = n
    return counts


# --- how things stand ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """An asset with its latest run (None: never scanned, or `is_hidden`) and how many findings wait."""

    asset: Asset
    scan: Scan | None
    unresolved: int
    is_hidden: bool = False  # there was a run, which this person may not see

    @property
    def is_known(self) -> bool:
        """Whether its latest run says how it is: not one that never was, failed, missed files or is too old."""
        return self.scan is not None and self.scan.state == ScanState.COMPLETED and not self.scan.is_stale

    @property
    def is_running(self) -> bool:
        return self.scan is not None and not self.scan.is_finished


def standings(user: Any, limit: int = 200) -> list[Standing]:
    """Two queries: the assets, and their latest runs. What is not known comes first, then most findings."""
    assets = list(with_standing(Asset.objects.permitted(user, "assets:read"))[:limit])
    latest: list[int | None] = [asset.latest_scan for asset in assets]  # type: ignore[attr-defined]
    runs = Scan.objects.permitted(user, "scans:read").in_bulk([pk for pk in latest if pk])
    found = [
        Standing(asset, runs.get(pk or 0), asset.unresolved, bool(pk) and pk not in runs)  # type: ignore[attr-defined]
        for asset, pk in zip(assets, latest, strict=True)
    ]
    return sorted(found, key=lambda one: one.is_known)


@dataclass(frozen=True)
class Emptiness:
    """Why there is no finding to show: not shown, never run, running, not known, or clean. Only the last is good."""

    kind: str
    standings: list[Standing]
    files: int = 0
    missing: str = ""  # the permission without which nobody can tell

    @property
    def troubled(self) -> list[Standing]:
        return [one for one in self.standings if not one.is_known]


def emptiness(user: Any, known: list[Standing]) -> Emptiness:
    """What the latest runs allow to say, given that no finding is unresolved."""
    for permission in ("assets:read", "scans:read"):
        if not decide(user, permission).allowed:
            return Emptiness("hidden", known, missing=permission)
    runs = [one.scan for one in known if one.scan]
    if any(one.is_running for one in known):
        return Emptiness("running", known)
    if not runs and not any(one.is_hidden for one in known):
        return Emptiness("never", known)
    if not all(one.is_known for one in known):
        return Emptiness("unknown", known)
    return Emptiness("clean", known, files=sum(run.files_read for run in runs))
