"""The letter about deadlines: one to a person and run, with counts and the worst, however many findings there are."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db.models import F, QuerySet
from django.urls import reverse

from accounts.models import User
from accounts.notify.kinds import register
from accounts.notify.services import notify
from opssight.kernel.access import decide
from rbac.holders import nearest_holders
from scanning.deadlines.models import Stage, Warning
from scanning.models import Asset, Finding, Severity, Status

DEADLINE = register("finding-deadlines", "What is to be fixed by you or in your units is due soon or overdue")
NAMED = 10
WORDS = {Stage.OVER: "past the deadline", Stage.SOON: "due soon"}


@dataclass
class Digest:
    """How many findings by stage, and the worst few of them; digests add up."""

    counts: Counter[int] = field(default_factory=Counter)
    worst: list[tuple[int, int, Any, int]] = field(default_factory=list)

    def add(self, counts: Counter[int], worst: Iterable[tuple[int, int, Any, int]]) -> None:
        """`worst` are (-severity, -stage, due_at, finding), so that the least is the worst."""
        self.counts.update(counts)
        self.worst += worst
        if len(self.worst) > 20 * NAMED:
            self.cut()

    def cut(self) -> None:
        self.worst = sorted(self.worst)[:NAMED]


def tell(warnings: QuerySet[Warning]) -> None:
    """Write to the owner of each finding, or, where there is none who may see it, to those who may triage it in its
    unit or in the nearest one above."""
    owned, nobodys = _digests(warnings)
    mail: dict[User, dict[bool, Digest]] = defaultdict(lambda: {True: Digest(), False: Digest()})
    for owner in User.objects.people().filter(pk__in={owner for owner, _ in owned}):
        for seen in _seen(owner, [asset for whose, asset in owned if whose == owner.pk]):
            digest = owned.pop((owner.pk, seen))
            mail[owner][True].add(digest.counts, digest.worst)
    for (_, asset), digest in owned.items():  # who has lost sight of it can't be told
        nobodys[asset].add(digest.counts, digest.worst)
    units = dict(Asset.objects.filter(pk__in=nobodys).values_list("pk", "unit"))
    holders = nearest_holders("findings:triage", units.values(), _may_triage)
    for asset, digest in nobodys.items():
        for person in holders[units[asset]]:
            mail[person][False].add(digest.counts, digest.worst)
    for person, parts in mail.items():
        _write(person, own=parts[True], units=parts[False])


def _digests(warnings: QuerySet[Warning]) -> tuple[dict[tuple[int, int], Digest], dict[int, Digest]]:
    """What is still to be told, by owner and asset, and by asset where nobody owns it."""
    owned: dict[tuple[int, int], Digest] = defaultdict(Digest)
    nobodys: dict[int, Digest] = defaultdict(Digest)
    still = warnings.filter(finding__status__in=Status.unresolved(), finding__due_at=F("due_at"))
    rows: QuerySet[Any, Any] = still.values_list(
        "finding__owner", "finding__asset", "finding__severity", "stage", "due_at", "finding"
    )
    for owner, asset, severity, stage, due, finding in rows.iterator(chunk_size=2000):
        digest = nobodys[asset] if owner is None else owned[owner, asset]
        digest.add(Counter([stage]), [(-severity, -stage, due, finding)])
    return owned, nobodys


def _seen(owner: User, assets: list[int]) -> list[int]:
    """Those of them whose findings the owner may still read."""
    found = Finding.objects.permitted(owner, "findings:read").filter(asset__in=assets)
    return list(found.order_by().values_list("asset", flat=True).distinct())


def _may_triage(person: User, unit: int) -> bool:
    return decide(person, "findings:triage", Finding(asset=Asset(unit_id=unit))).allowed


def _write(person: User, *, own: Digest, units: Digest) -> None:
    total = own.counts + units.counts
    parts = [
        _part("Findings that are yours", own, "&owner=me"),
        _part("Findings in your units, without an owner who may see them", units, ""),
    ]
    notify(person, DEADLINE, f"Findings: {_figures(total)}", "\n\n".join(part for part in parts if part))


def _part(title: str, digest: Digest, narrowed: str) -> str:
    if not digest.counts:
        return ""
    digest.cut()
    queue = settings.BASE_URL + reverse("findings")
    links = [f"{queue}?due={stage.name.lower()}{narrowed}" for stage in WORDS if digest.counts[stage]]
    rows = Finding.objects.in_bulk([pk for *_, pk in digest.worst])
    lines = [_line(rows[pk], -stage) for _, stage, _, pk in digest.worst if pk in rows]
    more = digest.counts.total() - len(lines)
    rest = [f"… and {more:,} more."] if more > 0 else []
    return "\n\n".join([f"{title}: {_figures(digest.counts)}.", *lines, *rest, "\n".join(links)])


def _figures(counts: Counter[int]) -> str:
    return ", ".join(f"{counts[stage]:,} {word}" for stage, word in WORDS.items() if counts[stage])


def _line(finding: Finding, stage: int) -> str:
    due = f"{finding.due_at:%Y-%m-%d %H:%M} UTC" if finding.due_at else ""
    word = Severity(finding.severity).label
    told = "was due" if stage == Stage.OVER else "is due"
    return f"{finding.label} {finding.title}\n{word}, {told} {due}\n{settings.BASE_URL}{finding.get_absolute_url()}"
