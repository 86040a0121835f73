"""Deadlines anew, after a policy changed: each finding's clock goes on from where it began."""

from opssight.kernel.actor import Actor, acting
from opssight.kernel.events import bulk_record, bulk_write
from opssight.kernel.jobs import State
from rbac.models import UnitPath
from scanning.models import Finding
from scanning.sla import events
from scanning.sla.models import Renewal
from scanning.sla.services import Hours, due_at, hours_in

RENEWER = Actor(kind="system", label="Deadlines")
BATCH = 500


def renew(renewal_id: int) -> None:
    """Give every unresolved finding below the unit the deadline that holds now. Safe to run twice."""
    renewal = Renewal.claim(renewal_id)
    if renewal is None:
        return
    last, moved = 0, 0
    below = list(UnitPath.objects.filter(ancestor=renewal.unit_id).values_list("descendant", flat=True))
    rows = Finding.objects.unresolved().filter(asset__unit__in=below).select_related("asset").order_by("pk")
    with acting(RENEWER):
        while True:
            with bulk_write():
                batch = list(rows.filter(pk__gt=last).select_for_update(of=("self",))[:BATCH])
                hours = hours_in(below)  # anew each time: of two changes at once, the later holds
                told = [(finding, was) for finding in batch if (was := _moved(finding, hours)) is not None]
                bulk_record(events.DEADLINE_MOVED, ((finding, {"due_at": was}) for finding, was in told))
                Finding.objects.bulk_update([finding for finding, _ in told], ["due_at"])
            moved += len(told)
            renewal.hold(moved=moved)
            if not batch:
                break
            last = batch[-1].pk
        renewal.finish(State.COMPLETED)
        events.RENEWED.emit(target=renewal.unit, moved=moved)


def _moved(finding: Finding, hours: dict[int, Hours]) -> list[object] | None:
    """Set the deadline; [old, new] as ISO 8601 where it is another one."""
    since = finding.counted_from or finding.first_seen_at
    was, finding.due_at = finding.due_at, due_at(hours[finding.asset.unit_id], finding.severity, since)
    if was == finding.due_at:
        return None
    return [moment.isoformat() if moment else None for moment in (was, finding.due_at)]
