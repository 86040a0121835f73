"""Scans and undone imports change findings below; acceptances of them that wait are closed here."""

from typing import Any

from django.dispatch import receiver

from opssight.kernel.actor import acting
from opssight.kernel.events import Occurrence, happened
from scanning.triage import services

ENDS = {"scans:finished", "imports:undone"}


@receiver(happened, dispatch_uid="triage.close_moved_on")
def close_moved_on(occurrence: Occurrence, **kwargs: Any) -> None:
    if occurrence.event.name in ENDS:
        with acting(services.WAKER):
            services.close_moved_on(occurrence.target.asset_id)  # type: ignore[union-attr]  # a scan or an import
