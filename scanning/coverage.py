"""What was looked at: each asset against each tool, in one of a few states that are never taken for one another."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Q

from scanning.models import Asset, AssetQuerySet, RetiredTool, Scan, ScanQuerySet, ScanState, stands_as
from scanning.scanners import base

STATES = {
    "running": "A run waits or goes on; how it stood before is not shown.",
    "clean": "Read completely, and nothing was found.",
    "findings": "Read completely, with findings.",
    "scope_unknown": "A report names no finding, and not what was read.",
    "partly": "A part could not be read, so nothing is known of that.",
    "failed": "The run failed or took too long.",
    "not_installed": "The tool was not there.",
    "stale": "Read completely, too long ago to count.",
    "never": "No run has ended yet.",
    "not_used": "Somebody said, with a reason, that the asset does without it.",
    "does_not_fit": "The tool finds nothing to read there.",
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
        found[run.asset_id, run.scanner] = Cell(run.scanner, run.stands_as, run)
    for run in runs.unfinished().filter(asset__in=ids):
        found[run.asset_id, run.scanner] = Cell(run.scanner, "running", run)
    for tool in RetiredTool.objects.filter(asset__in=ids):
        found[tool.asset_id, tool.scanner] = Cell(tool.scanner, "not_used", reason=tool.reason)
    own: dict[int, list[str]] = defaultdict(list)
    for asset, scanner in sorted(found):
        own[asset].append(scanner)
    return [[_cell(asset, name, found) for name in dict.fromkeys([*tools(), *own[asset.pk]])] for asset in assets]


def standing_as(
    assets: AssetQuerySet, states: Sequence[str], runs: ScanQuerySet, *, at: datetime, among: Sequence[str] = ()
) -> AssetQuerySet:
    """Those of `assets` on which a tool (one of `among`, where there are any) stands as one of `states`, by the same
    rules as `matrix`. "does_not_fit" is none of them."""
    mine = runs.filter(asset=OuterRef("pk"), scanner__in=among) if among else runs.filter(asset=OuterRef("pk"))
    same = {"asset": OuterRef("asset"), "scanner": OuterRef("scanner")}
    retired = RetiredTool.objects.filter(asset=OuterRef("pk"))
    going = mine.unfinished().exclude(Exists(RetiredTool.objects.filter(**same)))
    newest = mine.newest_ended(at=at).exclude(Exists(runs.unfinished().filter(**same)))
    others: dict[str, Any] = {
        "running": Exists(going),
        "not_used": Exists(retired.filter(scanner__in=among) if among else retired),
        "never": _has_never(among, runs),
    }
    found = Q()
    for state in states:
        found |= Q(others[state] if state in others else Exists(newest.filter(stands_as(state, at=at))))
    return assets.filter(found)


def _has_never(among: Sequence[str], runs: ScanQuerySet) -> Q:
    """A tool that fits has no run there that says anything, not even one that goes on, and is not retired."""
    found = Q(pk__in=[])
    for kind in Asset.Kind:
        for scanner in base.tools_for(kind):
            if not among or scanner in among:
                ran = runs.filter(asset=OuterRef("pk"), scanner=scanner).exclude(state=ScanState.UNDONE)
                retired = RetiredTool.objects.filter(asset=OuterRef("pk"), scanner=scanner)
                found |= Q(~Exists(ran), ~Exists(retired), kind=kind)
    return found


def _cell(asset: Asset, scanner: str, found: dict[tuple[int, str], Cell]) -> Cell:
    fits = scanner in base.tools_for(asset.kind)
    return found.get((asset.pk, scanner)) or Cell(scanner, "never" if fits else "does_not_fit")
