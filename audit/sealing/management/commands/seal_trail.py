import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError

from audit.sealing import anchors, sealer
from audit.sealing.keys import public_key
from audit.sealing.models import Checkpoint, Pending
from opssight.kernel.actor import Actor, acting
from opssight.kernel.database import migrate_embedded

FAILED = 3


class Command(BaseCommand):
    help = (
        "Seal what waits in the trail now, and copy new checkpoints to the anchors. Exit code 0: all is sealed, "
        "and with every anchor there is; 1: an anchor did not take it; 3: it can't be sealed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            migrate_embedded()
            with acting(Actor(kind="command", label="manage.py seal_trail")):
                sealed = sealer.seal(wait=True)
                anchors.deliver()
            newest, states = Checkpoint.objects.newest(), anchors.anchored()
            waiting = Pending.objects.count()
        except sealer.CannotSeal as problem:
            raise CommandError(f"The trail can't be sealed: {problem}.", returncode=FAILED) from None
        except DatabaseError as error:
            raise CommandError(f"The database can't be used: {error}", returncode=FAILED) from None
        if options["json"]:
            said = {
                "sealed": sealed,
                "size": newest.size if newest else 0,
                "waiting": waiting,
                "checkpoint": newest.note if newest else None,
                "key": str(public_key()),
                "anchors": [asdict(state) for state in states],
            }
            self.stdout.write(json.dumps(said, cls=DjangoJSONEncoder))
        else:
            self.stdout.write(f"public key {public_key()}")
            self.stdout.write(f"{sealed} entries sealed; the log has {newest.size if newest else 0}, {waiting} wait")
            for state in states:
                held = f"holds {state.size}" if state.at else "holds nothing"
                self.stdout.write(f"{state.anchor}: {held}, {state.waiting} checkpoints wait {state.error}".rstrip())
            if not states:
                self.stdout.write("not anchored: set OPSSIGHT_ANCHOR_FILE, OPSSIGHT_ANCHOR_URL or OPSSIGHT_ANCHOR_MAIL")
        raise SystemExit(1 if any(state.waiting for state in states) else 0)
