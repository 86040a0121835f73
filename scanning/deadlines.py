"""Deadlines anew, after a policy changed: each finding's clock goes on from where it began."""

from datetime import datetime

from django.db.models.functions import Coalesce

from opssight.kernel.actor import Actor, acting
from opssight.kernel.events import bulk_record, bulk_write
from opssight.kernel.jobs import State
from rbac.models import UnitPath
from scanning.models import Finding
from scanning.sla import events
from scanning.sla.models import Renewal
from scanning.sla.services import Hours, due_at, hours_of

RENEWER = Actor(kind="system", label="Deadlines")
BATCH = 500


def renew(renewal_id: int) -> None:
    """Give every unresolved finding below the unit the deadline that holds now. Safe to run twice."""
    renewal = Renewal.claim(renewal_id)
    if renewal is None:
        return
    hours, last, moved = dict[int, Hours](), 0, 0
    below = UnitPath.objects.filter(ancestor=renewal.unit_id).values("descendant")
    rows = Finding.objects.unresolved().filter(asset__unit__in=below).annotate(
        since=Coalesce("counted_from", "first_seen_at")
    )  # fmt: skip
    with acting(RENEWER):
        while True:
            with bulk_write():
                batch = list(rows.filter(pk__gt=last).select_for_update(of=("self",)).select_related("asset").order_by("pk")[:BATCH])
                changed = [(f, was) for f in batch if (was := _moved(f, f.since, hours)) is not None]  # type: ignore[attr-defined]
                bulk_record(events.DEADLINE_MOVED, ((f, {"due_at": was}) for f, was in changed))
                Finding.objects.bulk_update([f for f, _ in changed], ["due_at"])
            moved += len(changed)
            renewal.hold(moved=moved)
            if not batch:
                break
            last = batch[-1].pk
        renewal.finish(State.COMPLETED)
        events.RENEWED.emit(target=renewal.unit, moved=moved)


def _moved(finding: Finding, since: datetime, hours: dict[int, Hours]) -> list[object] | None:
    """Set the deadline; [old, new] as ISO 8601 where it is another one."""
    unit = finding.asset.unit_id
    if unit not in hours:
        hours[unit] = hours_of(unit)
    was, finding.due_at = finding.due_at, due_at(hours[unit], finding.severity, since)
    if was == finding.due_at:
        return None
    return [moment.isoformat() if moment else None for moment in (was, finding.due_at)]
