"""What was looked at: each asset against each tool, in one of a few states that are never taken for one another."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scanning.models import Asset, RetiredTool, Scan, ScanQuerySet, ScanState
from scanning.scanners import base

STATES = {
    "running": "A run waits or goes on; how it stood before is not shown.",
    "clean": "Read completely, and nothing was found.",
    "findings": "Read completely, with findings.",
    "partly": "A part could not be read, so nothing is known of that.",
    "failed": "The run failed or took too long.",
    "not_installed": "The tool was not there.",
    "stale": "Read completely, too long ago to count.",
    "never": "No run has ended yet.",
    "not_used": "Somebody said, with a reason, that the asset does without it.",
    "does_not_fit": "The tool finds nothing to read there.",
}
_ENDINGS = {
    ScanState.COMPLETED_WITH_ERRORS: "partly",
    ScanState.FAILED: "failed",
    ScanState.TIMED_OUT: "failed",
    ScanState.NOT_INSTALLED: "not_installed",
}


@dataclass(frozen=True)
class Cell:
    """One tool on one asset. `scan` is the run that says so, None where there is none to see."""

    scanner: str
    state: str
    scan: Scan | None = None
    reason: str = ""

    @property
    def completed_at(self) -> datetime | None:
        """When the newest completed run ended."""
        return getattr(self.scan, "completed_at", None)


def tools() -> list[str]:
    """Every tool that OpsSight runs, by name."""
    return sorted({**base.registry, **base.images})


def matrix(assets: Sequence[Asset], runs: ScanQuerySet, *, at: datetime) -> list[list[Cell]]:
    """A row for each of `assets`: first the tools of `tools()`, then those that only its imports brought. `runs` are
    the scans that the reader may see. Four queries, whatever they show."""
    ids = [asset.pk for asset in assets]
    found: dict[tuple[int, str], Cell] = {}
    unfit = runs.filter(asset__in=ids, state=ScanState.DOES_NOT_FIT).order_by().values_list("asset", "scanner")
    for asset, scanner in unfit.distinct():
        found[asset, scanner] = Cell(scanner, "does_not_fit")
    for run in runs.newest_ended(at=at, assets=ids):
        found[run.asset_id, run.scanner] = Cell(run.scanner, _state(run), run)
    for run in runs.unfinished().filter(asset__in=ids):
        found[run.asset_id, run.scanner] = Cell(run.scanner, "running", run)
    for tool in RetiredTool.objects.filter(asset__in=ids):
        found[tool.asset_id, tool.scanner] = Cell(tool.scanner, "not_used", reason=tool.reason)
    own: dict[int, list[str]] = defaultdict(list)
    for asset, scanner in sorted(found):
        own[asset].append(scanner)
    return [[_cell(asset, name, found) for name in dict.fromkeys([*tools(), *own[asset.pk]])] for asset in assets]


def _cell(asset: Asset, scanner: str, found: dict[tuple[int, str], Cell]) -> Cell:
    fits = scanner in base.tools_for(asset.kind)
    return found.get((asset.pk, scanner)) or Cell(scanner, "never" if fits else "does_not_fit")


def _state(run: Any) -> str:
    if run.is_stale and run.state == ScanState.COMPLETED:
        return "stale"
    return _ENDINGS.get(run.state) or ("clean" if run.is_clean else "findings")
