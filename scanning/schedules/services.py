"""Schedules: making and changing them, and working off what is due.

They are rows of ours rather than entries of beat's: whose they are and who may see them is decided like anything of
their asset, and whatever wakes up works them off, so that a second beat doubles nothing.
"""

import logging
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from opssight.kernel.access import check
from opssight.kernel.errors import Refusal
from scanning import retired
from scanning.models import Scan
from scanning.scanners import base
from scanning.schedules.models import Schedule
from scanning.services import UnknownScanner, fitting, request_scans

log = logging.getLogger("opssight.scanning")


class Taken(Refusal):
    status = 409


@transaction.atomic
def save_schedule(row: Schedule, *, by: Any, at: datetime | None = None) -> Schedule:
    """Its next run is counted from now. Whoever schedules scans must be allowed to ask for them."""
    check(by, "scans:create", Scan(asset=row.asset), about=row.asset)
    check(by, "schedules:create" if row._state.adding else "schedules:update", row, about=row.asset)
    if row.scanner and row.scanner not in base.tools_for(row.asset.kind):
        there = ", ".join(base.tools_for(row.asset.kind))
        raise UnknownScanner(f"{row.scanner} is no scanner for this asset. There are: {there}.")
    if Schedule.objects.filter(asset=row.asset, scanner=row.scanner).exclude(pk=row.pk).exists():
        raise Taken(f"{row} has a schedule already: change that one.")
    if row._state.adding:
        row.made_by = by
    row.full_clean(exclude=["next_at"])
    row.next_at = row.after(at or timezone.now())
    if row._state.adding:
        row.save()
    else:  # when it ran last is for the runs to say, of which one may be under way
        row.save(update_fields={field.name for field in row._meta.concrete_fields} - {"id", "last_at"})
    return row


def delete_schedule(row: Schedule, *, by: Any) -> None:
    check(by, "schedules:delete", row, about=row.asset)
    row.delete()


def run_due(at: datetime | None = None) -> int:
    """Ask for the scans that are due; each once, however many runs were missed. How many schedules came to it."""
    at, done = at or timezone.now(), 0
    for row in Schedule.objects.due(at=at).select_related("asset").order_by("next_at", "pk"):
        try:
            # Worked out before: looking through a folder takes longer than anybody should wait for a row.
            done += _run(row, at, retired.without(row.asset, [row.scanner] if row.scanner else fitting(row.asset)))
        except Exception:  # one that can't be worked off must not stop the others; it is tried again
            log.exception("schedule %s", row.pk)
    return done


@transaction.atomic
def _run(row: Schedule, at: datetime, names: list[str]) -> int:
    """Taken by whoever moves `next_at` first; with its scans, or not at all."""
    mine = Schedule.objects.filter(pk=row.pk, next_at=row.next_at, is_active=True)
    if not mine.update(next_at=row.after(at), last_at=at):
        return 0
    if names:  # nobody asks here for a tool that somebody retired
        request_scans(row.asset, scanners=names, trigger=Scan.Trigger.SCHEDULE)
    return 1
