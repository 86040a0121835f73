"""Tools that an asset does without.

A tool that ran once counts for its asset ever after: without a word of somebody, "not installed any more" must not look
like "clean". This is that word. It leaves the tool out of how the asset stands, and closes nothing: what the tool found
stays open. Whoever asks for a scan by it, or imports its report, has put it to use again.
"""

from collections.abc import Iterable
from typing import Any

from django.db import transaction

from opssight.kernel.access import check
from opssight.kernel.errors import Refusal
from scanning import events
from scanning.models import Asset, RetiredTool
from scanning.scanners import base


class NotRetired(Refusal):
    status = 409


@transaction.atomic
def retire(asset: Asset, scanner: str, *, reason: str, by: Any) -> RetiredTool:
    """NotRetired for a tool that neither ran there nor fits, and for one that is retired already."""
    check(by, "assets:update", asset)
    if scanner not in base.tools_for(asset.kind) and not asset.scans.filter(scanner=scanner).exists():
        raise NotRetired(f"{scanner} has never run on {asset}, and does not fit it.")
    row, made = RetiredTool.objects.get_or_create(
        asset=asset, scanner=scanner, defaults={"reason": reason, "retired_by": by}
    )
    if not made:
        raise NotRetired(f"{scanner} is not used on {asset} already: {row.reason}")
    events.TOOL_RETIRED.emit(target=asset, scanner=scanner, reason=reason)
    return row


def take_back(asset: Asset, scanner: str, *, by: Any) -> None:
    """It is in use again, with what its last run said. NotRetired where it is in use."""
    check(by, "assets:update", asset)
    if not give_back(asset, scanner):
        raise NotRetired(f"{scanner} is not marked as not used on {asset}.")


@transaction.atomic
def give_back(asset: Asset, scanner: str) -> bool:
    """Whether it was retired; from now on it is not."""
    gone, _ = RetiredTool.objects.filter(asset=asset, scanner=scanner).delete()
    if gone:
        events.TOOL_RETURNED.emit(target=asset, scanner=scanner)
    return bool(gone)


def without(asset: Asset, scanners: Iterable[str]) -> list[str]:
    """Those that are not retired."""
    gone = set(asset.retired_tools.values_list("scanner", flat=True))
    return [scanner for scanner in scanners if scanner not in gone]
