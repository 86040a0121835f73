"""Another process of the installation, on its own connection: `driver.py write|deliver|lapse|race|look`."""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import django

django.setup()

from django.db import connection
from django.db.models import F
from django.utils import timezone

from accounts.notify import kinds
from accounts.notify.models import Notice
from accounts.notify.services import deliver, notify
from opssight.kernel import jobs

sent: list[int] = []  # what would have gone to the broker
Notice.dispatch = lambda notice: sent.append(notice.pk)  # type: ignore[method-assign]


def write() -> None:
    notify("anchor@example.org", kinds.LINKS, "Checkpoint", "size 17")


def send() -> None:
    print(os.getpid(), flush=True)
    deliver(Notice.objects.get().pk)


def lapse() -> None:
    """As if the lease had passed; then what beat does."""
    Notice.objects.filter(lease_until__isnull=False).update(lease_until=F("lease_until") - timedelta(hours=1))
    sent.clear()
    jobs.requeue_overdue(at=timezone.now())
    for pk in sent:
        deliver(pk)


def race() -> None:
    """Told by eight at once, then sent by eight at once; prints how many notices that made."""

    def told(_: int) -> int:
        notice = notify("anchor@example.org", kinds.LINKS, "Checkpoint", "size 17", key="checkpoint 17")
        connection.close()
        assert notice is not None
        return notice.pk

    def send_one(pk: int) -> None:
        deliver(pk)
        connection.close()

    with ThreadPoolExecutor(8) as pool:
        pks = list(pool.map(told, range(8)))
        list(pool.map(send_one, pks))
    print(len(set(pks)))


def look() -> None:
    notice = Notice.objects.get()
    outcomes = list(notice.deliveries.order_by("attempt").values_list("outcome", flat=True))
    print(json.dumps([notice.state, notice.attempts, outcomes, notice.text_encrypted == ""]))


{"write": write, "deliver": send, "lapse": lapse, "race": race, "look": look}[sys.argv[1]]()
