"""How much is fixed within its deadline: of what was fixed in a period, or waits past its deadline at its end.

Figures follow from the findings as they are now: one that was fixed in the period and is open again counts as open,
with its new deadline.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from itertools import chain
from typing import Any, NamedTuple, Self

from django.db.models import BooleanField, Count, ExpressionWrapper, F, Q

from opssight.kernel.access import decide
from rbac.models import Unit
from scanning.models import Asset, Finding, FindingQuerySet, Scan, Severity, Status, stands_as

LEFT_OUT = ("no_deadline", "accepted", "false_positive", "duplicate", "inactive")


class Period(NamedTuple):
    """From `since` on, before `until`."""

    since: datetime
    until: datetime

    @classmethod
    def of_days(cls, days: int, *, until: datetime) -> Self:
        return cls(until - timedelta(days=days), until)


@dataclass
class Share:
    """Numbers of findings: fixed within their deadline, fixed after it, and unresolved past it at the period's end."""

    in_time: int = 0
    late: int = 0
    overdue: int = 0

    @property
    def counted(self) -> int:
        return self.in_time + self.late + self.overdue

    @property
    def percent(self) -> Decimal | None:
        """Rounded down, so that 94.99 is not 95; None where nothing was counted, which is no success."""
        if not self.counted:
            return None
        return (Decimal(100 * self.in_time) / self.counted).quantize(Decimal("0.1"), rounding=ROUND_FLOOR)

    def add(self, other: "Share") -> None:
        self.in_time += other.in_time
        self.late += other.late
        self.overdue += other.overdue


@dataclass
class Known:
    """Of so many active assets that the reader may see, on how many something is not known at the period's end: never
    scanned, or the newest run of a tool failed, missed a part or is older than a week."""

    assets: int = 0
    not_known: int = 0


@dataclass
class Figure:
    """`left_out` are findings that would count, but for the reason. `known` is None for who may not read scans."""

    period: Period
    total: Share = field(default_factory=Share)
    by_severity: dict[Severity, Share] = field(default_factory=dict)
    by_unit: dict[Unit, Share] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    known: Known | None = None


def within(user: Any, period: Period) -> Figure:
    """The share of the findings that `user` may see. Eight queries at most."""
    found, (since, until) = Finding.objects.permitted(user, "findings:read"), period
    fixed = found.filter(status=Status.FIXED, fixed_at__gte=since, fixed_at__lt=until)
    past = Q(due_at__lt=until)
    # What was fixed after the end waited at it. Two queries, each along an index of its own.
    waited = [found.unresolved().filter(past), found.filter(past, status=Status.FIXED, fixed_at__gte=until)]
    ends = {"in_time": Q(fixed_at__lte=F("due_at")), "late": Q(fixed_at__gt=F("due_at")), "undated": Q(due_at=None)}
    asked = [(fixed, ends), *((rows, {"overdue": past}) for rows in waited)]
    figure, units = Figure(period), dict[int, Share]()
    left_out = Counter[str](dict.fromkeys(LEFT_OUT, 0))
    for unit, is_active, severity, n in chain.from_iterable(_counted(*one) for one in asked):
        undated, share = n.pop("undated", 0), Share(**n)
        left_out["no_deadline" if is_active else "inactive"] += undated
        if not is_active:
            left_out["inactive"] += share.counted
        elif share.counted:
            figure.total.add(share)
            figure.by_severity.setdefault(Severity(severity), Share()).add(share)
            units.setdefault(unit, Share()).add(share)
    active = found.filter(asset__is_active=True)
    left_out["no_deadline"] += active.unresolved().filter(due_at=None, first_seen_at__lt=until).count()
    ended = active.filter(past, status__in=[Status.ACCEPTED, Status.FALSE_POSITIVE, Status.DUPLICATE])
    left_out.update(dict(ended.order_by().values_list("status").annotate(n=Count("pk"))))
    figure.left_out = dict(left_out)
    figure.by_severity = dict(sorted(figure.by_severity.items(), reverse=True))
    figure.by_unit = {unit: units[unit.pk] for unit in Unit.objects.filter(pk__in=units).order_by("name", "pk")}
    figure.known = _known(user, until)
    return figure


def _counted(rows: FindingQuerySet, of: dict[str, Q]) -> Iterator[tuple[int, bool, int, dict[str, int]]]:
    """(unit, whether the asset is active, severity, how many fulfil each condition)."""
    counts = {name: Count("pk", filter=condition) for name, condition in of.items()}
    grouped = rows.order_by().values_list("asset__unit", "asset__is_active", "severity").annotate(**counts)
    for unit, is_active, severity, *numbers in grouped:
        yield unit, is_active, severity, dict(zip(of, numbers, strict=True))


def _known(user: Any, until: datetime) -> Known | None:
    if not (decide(user, "assets:read").allowed and decide(user, "scans:read").allowed):
        return None
    assets = set(Asset.objects.active().permitted(user, "assets:read").values_list("pk", flat=True))
    runs = Scan.objects.permitted(user, "scans:read").newest_ended(at=until)
    says_how = stands_as("clean", at=until) | stands_as("findings", at=until)
    told: dict[int, bool] = {}
    for asset, is_known in runs.annotate(says=ExpressionWrapper(says_how, output_field=BooleanField())).values_list(
        "asset", "says"
    ):
        told[asset] = told.get(asset, True) and is_known
    return Known(len(assets), sum(not told.get(asset, False) for asset in assets))
