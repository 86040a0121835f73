"""The least that the three controls look at."""

from datetime import datetime, timedelta
from itertools import count

from django.utils import timezone

from rbac.models import Unit
from rbac.services import root_unit
from scanning.models import Asset, Finding, Scan, ScanState, Severity, Status

_number = count(1)


def make_asset(name: str, *, unit: Unit | None = None) -> Asset:
    return Asset.objects.create(name=name, location=f"/srv/{name}", unit=unit or root_unit())


def make_scan(
    asset: Asset, state: str = ScanState.COMPLETED, *, ended: datetime | None = None, scanner="bandit"
) -> Scan:
    """A run that ended at `ended`, or one that has not ended."""
    going = state in (ScanState.QUEUED, ScanState.RUNNING)
    return Scan.objects.create(
        asset=asset, scanner=scanner, state=state, finished_at=None if going else ended or timezone.now()
    )


def make_finding(asset: Asset, *, due: datetime | None, severity: int = Severity.CRITICAL, status: str = Status.OPEN):
    scan, now = asset.scans.latest("id"), timezone.now() - timedelta(days=3)
    return Finding.objects.create(
        asset=asset, scanner="bandit", fingerprint=f"1:{next(_number)}", rule="B602", title="shell", path="shop.py",
        severity=severity, status=status, due_at=due, first_seen_at=now, last_seen_at=now, first_scan=scan,
        last_scan=scan,
    )  # fmt: skip
