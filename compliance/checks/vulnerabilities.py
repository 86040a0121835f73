"""Controls over assets, their scans and their findings. Only a completed scan says how an asset is."""

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q

from compliance.checks.base import Evaluation, Row, control_test, moment, some, unknown
from scanning.models import Asset, Finding, ScanState, Severity

NO_ASSETS = "There are no assets, so there is nothing to test. Add what you run, and scan it."


@control_test("vuln.cadence")
def every_asset_was_scanned_in_time(params: dict[str, Any], at: datetime) -> Evaluation:
    hours: int = params["within_hours"]
    since = at - timedelta(hours=hours)
    rows = [_scanned(asset, since) for asset in Asset.objects.with_endings(at=at).order_by("name")]
    if not rows:
        return unknown(NO_ASSETS)
    late = sum(row.failed for row in rows)
    if late:
        return Evaluation(
            rows,
            f"{late} of {len(rows)} assets without a completed scan in the last {hours} hours. Scan them; "
            "a scan that failed or completed with errors does not count.",
        )
    return Evaluation(rows, f"Every asset has a completed scan of the last {hours} hours, {len(rows)} of {len(rows)}.")


def _scanned(asset: Any, since: datetime) -> Row:
    completed = asset.completed_at
    detail = f"Last completed scan {moment(completed)}" if completed else "No completed scan"
    if asset.ended_as is None:
        detail = "Never scanned"
    elif asset.ended_as != ScanState.COMPLETED:
        detail += f"; the latest, {moment(asset.ended_at)}, {_as_word(asset)}"
    return Row.of(asset, failed=completed is None or completed < since, detail=f"{detail}.", label=asset.name)


@control_test("vuln.sla.critical")
def no_critical_finding_is_past_its_deadline(params: dict[str, Any], at: datetime) -> Evaluation:
    """What a scan doesn't report any more is fixed only by a completed one, so the others say nothing of deadlines."""
    hours: int = params["fresh_hours"]
    since = at - timedelta(hours=hours)
    assets: list[Any] = list(Asset.objects.with_endings(at=at).order_by("name"))
    fresh = [asset for asset in assets if _is_known(asset, since)]
    left_out = [f"{asset.name} ({_why_left_out(asset)})" for asset in assets if not _is_known(asset, since)]
    if not assets:
        return unknown(NO_ASSETS)
    if not fresh:
        return unknown(
            f"No asset's latest scan is completed and at most {hours} hours old, so nothing is known of critical "
            f"findings now. Scan them: {some(left_out)}."
        )
    overdue = _overdue(at)
    rows = [_in_time(asset, overdue[asset.pk]) for asset in fresh]
    late = sum(row.failed for row in rows)
    reason = (
        f"{late} of {len(rows)} assets with critical findings past their deadline. Fix them and scan again."
        if late
        else f"No critical finding is past its deadline on {len(rows)} of {len(rows)} freshly scanned assets."
    )
    if left_out:
        reason += f" Not counted, for want of a fresh completed scan: {some(left_out)}."
    return Evaluation(rows, reason)


def _is_known(asset: Any, since: datetime) -> bool:
    return asset.ended_as == ScanState.COMPLETED and bool(asset.ended_at >= since)


def _overdue(at: datetime) -> dict[int, list[Finding]]:
    """Critical findings that should be fixed by now, by asset. One without a deadline can't be shown to be in time."""
    late = Finding.objects.unresolved().filter(Q(due_at__lt=at) | Q(due_at=None), severity=Severity.CRITICAL)
    by_asset: dict[int, list[Finding]] = defaultdict(list)
    for finding in late.only("pk", "asset_id", "due_at").order_by("pk"):
        by_asset[finding.asset_id].append(finding)
    return by_asset


def _in_time(asset: Any, late: list[Finding]) -> Row:
    told = some([f"{f.label} (due {moment(f.due_at)})" if f.due_at else f"{f.label} (no deadline)" for f in late])
    detail = f"{len(late)} past the deadline: {told}." if late else "No critical finding past its deadline."
    return Row.of(asset, failed=bool(late), detail=detail, label=asset.name)


def _why_left_out(asset: Any) -> str:
    if asset.ended_as is None:
        return "never scanned"
    if asset.ended_as != ScanState.COMPLETED:
        return f"the latest scan {_as_word(asset)}"
    return f"stale, scanned {moment(asset.ended_at)}"


def _as_word(asset: Any) -> str:
    """How the latest scan ended, as the verb of a sentence."""
    return {
        ScanState.COMPLETED_WITH_ERRORS: "completed with errors",
        ScanState.FAILED: "failed",
        ScanState.TIMED_OUT: "timed out",
        ScanState.NOT_INSTALLED: "found no scanner installed",
    }[asset.ended_as]
