"""A process of one installation that does what a test asks: one JSON line in, one out.

The test itself lives in other settings, on another database; this one asks for work and looks at rows as the web
process of that installation would.
"""

import json
import sys
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from typing import Any

import django

django.setup()

from amqp.exceptions import ChannelError
from celery import current_app
from django.conf import settings
from django.utils import timezone

from audit.models import AuditEntry
from opssight.kernel import jobs
from scanning.inventory import asset_at
from scanning.models import Finding, Scan
from scanning.services import request_scan


def request(*folders: str) -> list[int]:
    return [request_scan(asset_at(folder)).pk for folder in folders]


def send_again(*scans: int) -> None:
    for scan in Scan.objects.filter(pk__in=scans):
        scan.dispatch()


def look(scan: int) -> dict[str, Any]:
    row = Scan.objects.get(pk=scan)
    entries = AuditEntry.objects.filter(resource_type="scanning.scan", resource_id=str(row.uid))
    findings = Finding.objects.filter(asset=row.asset)
    raised = AuditEntry.objects.filter(
        event="findings:raised", resource_id__in=[str(uid) for uid in findings.values_list("uid", flat=True)]
    )
    return {
        "state": row.state,
        "reason": row.reason,
        "attempts": row.attempts,
        "parts": [row.parts_done, row.parts_total],
        "new": row.new,
        "same": row.same,
        "findings": sorted(findings.values_list("path", flat=True)),
        "raised": raised.count(),
        "trail": dict(Counter(entry.what for entry in entries)),
    }


def states(*scans: int) -> dict[str, int]:
    return dict(Counter(Scan.objects.filter(pk__in=scans).values_list("state", flat=True)))


def lapse(scan: int) -> None:
    """As if the time of the lease had passed."""
    Scan.objects.filter(pk=scan).update(lease_until=timezone.now() - timedelta(seconds=1))


def requeue() -> int:
    return jobs.requeue_overdue(at=timezone.now())


def waiting() -> int:
    """Messages that no worker has taken. Redis has no empty queues, only missing ones."""
    with current_app.connection_for_read() as connection, suppress(ChannelError):
        queue = settings.CELERY_TASK_ROUTES[Scan.task]["queue"]
        return connection.default_channel.queue_declare(queue, passive=True).message_count
    return 0


def queue_type() -> str:
    """What the broker says the queue of scans is; declaring it as anything else would be refused."""
    with current_app.connection_for_read() as connection:
        queue = current_app.amqp.queues[settings.CELERY_TASK_ROUTES[Scan.task]["queue"]]
        queue(connection.default_channel).queue_declare()
        return (queue.queue_arguments or {}).get("x-queue-type", "")


def remove_queues() -> None:
    with current_app.connection_for_write() as connection:
        for name in (settings.CELERY_TASK_ROUTES[Scan.task]["queue"], settings.CELERY_TASK_DEFAULT_QUEUE):
            connection.default_channel.queue_delete(name)
            connection.default_channel.exchange_delete(name)


def main() -> None:
    for line in sys.stdin:
        name, values = json.loads(line)
        print(json.dumps(globals()[name](*values)), flush=True)


if __name__ == "__main__":
    main()
