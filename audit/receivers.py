"""The whole road from an event to the trail."""

from typing import Any

from django.dispatch import receiver

from audit import services
from opssight.kernel.events import Occurrence, happened, set_bulk_writer

set_bulk_writer(services.append_bulk)


@receiver(happened)
def record(occurrence: Occurrence, **kwargs: Any) -> None:
    services.append(occurrence)
