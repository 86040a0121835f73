"""The figures of the overview, and why a list is empty. Each figure links to exactly the rows it counts."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Case, Count, IntegerField, When
from django.urls import reverse
from django.utils import timezone

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
    """An asset as the worst of its tools leaves it, and how many findings wait.

    `runs` holds the newest ended run of each tool, worst first; `going` is one under way.
    """

    asset: Asset
    runs: list[Scan]
    going: Scan | None
    unresolved: int
    is_hidden: bool = False  # this person may not see the runs of this asset

    @property
    def scan(self) -> Scan | None:
        """What to show of it: what runs now, else the worst. None: never scanned, or `is_hidden`."""
        return self.going or (self.runs[0] if self.runs else None)

    @property
    def is_known(self) -> bool:
        """Whether every tool's run says how it is: none that failed, missed files or is too old."""
        return bool(self.runs) and self.going is None and all(run.is_known for run in self.runs)

    @property
    def is_running(self) -> bool:
        return self.going is not None

    @property
    def culprit(self) -> str:
        """The tool that keeps it from being known, where others can be mistaken for it."""
        return self.runs[0].scanner if len(self.runs) > 1 and not self.going and not self.is_known else ""


def standings(user: Any, limit: int = 200) -> list[Standing]:
    """Three queries: assets, newest runs, those that go on. What is not known comes first, then most findings."""
    assets: list[Any] = list(with_standing(Asset.objects.permitted(user, "assets:read"))[:limit])
    ids, runs = [asset.pk for asset in assets], Scan.objects.permitted(user, "scans:read")
    ended: dict[int, list[Scan]] = defaultdict(list)
    for run in runs.newest_ended(at=timezone.now(), assets=ids):
        ended[run.asset_id].append(run)
    going = {run.asset_id: run for run in runs.unfinished().filter(asset__in=ids)}
    found = []
    for asset in assets:
        mine = sorted(ended[asset.pk], key=lambda run: (-run.trouble, run.scanner))
        hidden = asset.was_scanned and not mine and asset.pk not in going
        found.append(Standing(asset, mine, going.get(asset.pk), asset.unresolved, hidden))
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
    if any(one.is_running for one in known):
        return Emptiness("running", known)
    if not any(one.scan or one.is_hidden for one in known):
        return Emptiness("never", known)
    if not all(one.is_known for one in known):
        return Emptiness("unknown", known)
    # Tools read the same files; how many there are, the one that read most of an asset says best.
    return Emptiness("clean", known, files=sum(max(run.files_read for run in one.runs) for one in known))
