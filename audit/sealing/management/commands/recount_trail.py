from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, transaction

from audit.events import TRAIL_RECOUNTED
from audit.rollups.services import covered
from audit.sealing.recount import rebuild
from opssight.kernel.actor import Actor, acting
from opssight.kernel.database import migrate_embedded

BROKEN = 3


class Command(BaseCommand):
    help = (
        "Count the figures of the trail's reports anew from the sealed entries, where verify_trail says rollup_wrong. "
        "On a server this takes the owner's role. Exit code 0: done; 3: it could not be done, and nothing is changed."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            migrate_embedded()
            with transaction.atomic(), acting(Actor(kind="command", label="manage.py recount_trail")):
                before = covered()
                rebuild()
                TRAIL_RECOUNTED.emit(before=before, counted=covered())
        except DatabaseError as error:
            raise CommandError(f"Nothing was changed; the database says: {error}", returncode=BROKEN) from None
        self.stdout.write(f"Counted {covered():,} sealed entries.")
