"""Controls over assets, their scans and their findings. Only a completed scan says how an asset is."""

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q

from compliance.checks.base import Evaluation, Row, control_test, moment, some, unknown
from scanning.models import Asset, Finding, Scan, ScanState, Severity

NO_ASSETS = "There are no assets, so there is nothing to test. Add what you run, and scan it."


@control_test("vuln.cadence")
def every_asset_was_scanned_in_time(params: dict[str, Any], at: datetime) -> Evaluation:
    hours: int = params["within_hours"]
    since = at - timedelta(hours=hours)
    runs = _newest_runs(at)
    rows = [_scanned(asset, runs[asset.pk], since) for asset in Asset.objects.order_by("name")]
    if not rows:
        return unknown(NO_ASSETS)
    late = sum(row.failed for row in rows)
    if late:
        return Evaluation(
            rows,
            f"{late} of {len(rows)} assets without a completed scan in the last {hours} hours. Scan them, with every "
            "tool that is in use there; a scan that failed or completed with errors does not count.",
        )
    return Evaluation(
        rows,
        f"Every asset has a completed scan of the last {hours} hours by every tool in use there, "
        f"{len(rows)} of {len(rows)}.",
    )


def _newest_runs(at: datetime) -> dict[int, list[Any]]:
    """The newest ended run of each tool, by asset; an asset is known as far as every tool that it uses says so."""
    by_asset: dict[int, list[Any]] = defaultdict(list)
    for run in Scan.objects.newest_ended(at=at).order_by("scanner"):
        by_asset[run.asset_id].append(run)
    return by_asset


def _scanned(asset: Asset, runs: list[Any], since: datetime) -> Row:
    if not runs:
        return Row.of(asset, failed=True, detail="Never scanned.", label=asset.name)
    late = [run for run in runs if run.completed_at is None or run.completed_at < since]
    worth_telling = [run for run in runs if run in late or run.state != ScanState.COMPLETED]
    told = worth_telling or [min(runs, key=lambda run: run.completed_at)]
    if len(runs) == 1:
        detail = _last(runs[0])[0].upper() + _last(runs[0])[1:]
    else:
        detail = "; ".join(f"{run.scanner}: {_last(run)}" for run in told)
    return Row.of(asset, failed=bool(late), detail=f"{detail}.", label=asset.name)


def _last(run: Any) -> str:
    told = f"last completed scan {moment(run.completed_at)}" if run.completed_at else "no completed scan"
    if run.state != ScanState.COMPLETED:
        told += f"; the latest, {moment(run.finished_at)}, {_as_word(run)}"
    return told


@control_test("vuln.sla.critical")
def no_critical_finding_is_past_its_deadline(params: dict[str, Any], at: datetime) -> Evaluation:
    """What a scan doesn't report any more is fixed only by a completed one, so the others say nothing of deadlines."""
    hours: int = params["fresh_hours"]
    since = at - timedelta(hours=hours)
    runs, assets = _newest_runs(at), list(Asset.objects.order_by("name"))
    why = {asset.pk: _why_left_out(runs[asset.pk], since) for asset in assets}
    fresh = [asset for asset in assets if not why[asset.pk]]
    left_out = [f"{asset.name} ({why[asset.pk]})" for asset in assets if why[asset.pk]]
    if not assets:
        return unknown(NO_ASSETS)
    if not fresh:
        return unknown(
            f"On no asset the latest scan of every tool is completed and at most {hours} hours old, so nothing is "
            f"known of critical findings now. Scan them: {some(left_out)}."
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


def _overdue(at: datetime) -> dict[int, list[Finding]]:
    """Critical findings that should be fixed by now, by asset. One without a deadline can't be shown to be in time."""
    late = Finding.objects.unresolved().filter(Q(due_at__lt=at) | Q(due_at=None), severity=Severity.CRITICAL)
    by_asset: dict[int, list[Finding]] = defaultdict(list)
    for finding in late.only("pk", "asset_id", "due_at").order_by("pk"):
        by_asset[finding.asset_id].append(finding)
    return by_asset


def _in_time(asset: Asset, late: list[Finding]) -> Row:
    told = some([f"{f.label} (due {moment(f.due_at)})" if f.due_at else f"{f.label} (no deadline)" for f in late])
    detail = f"{len(late)} past the deadline: {told}." if late else "No critical finding past its deadline."
    return Row.of(asset, failed=bool(late), detail=detail, label=asset.name)


def _why_left_out(runs: list[Any], since: datetime) -> str:
    """Why nothing is known of an asset now: the first of its tools that can't say; "" where all can."""
    if not runs:
        return "never scanned"
    for run in runs:
        by = f" by {run.scanner}" if len(runs) > 1 else ""
        if run.state != ScanState.COMPLETED:
            return f"the latest scan{by} {_as_word(run)}"
        if run.finished_at < since:
            return f"stale, scanned{by} {moment(run.finished_at)}"
    return ""


def _as_word(run: Any) -> str:
    """How a scan ended, as the verb of a sentence."""
    return {
        ScanState.COMPLETED_WITH_ERRORS: "completed with errors",
        ScanState.FAILED: "failed",
        ScanState.TIMED_OUT: "timed out",
        ScanState.NOT_INSTALLED: "found no scanner installed",
    }[run.state]
