import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from audit import verify
from audit.sealing import verification
from audit.sealing.keys import public_keys
from opssight.kernel.actor import Actor, acting
from opssight.kernel.database import migrate_embedded

USAGE, UNREADABLE = 2, 3


class Command(BaseCommand):
    help = (
        "Verify the trail in the database, or a bundle of it, against MACs, signed checkpoints, anchors and receipts. "
        "Exit code 0: all of it holds; 1: it was tampered with; 2: usage; 3: something can't be read."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--bundle", metavar="FILE", help="verify this bundle instead of the database")
        parser.add_argument(
            "--anchor", metavar="FILE", action="append", default=[], help="checkpoints kept elsewhere; may be repeated"
        )
        parser.add_argument(
            "--receipts", metavar="FILE", action="append", default=[], help="a structured log; may be repeated"
        )
        parser.add_argument("--since-last", action="store_true", help="only what came since the last verification")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        anchors, receipts = options["anchor"], options["receipts"]
        if options["bundle"] and options["since_last"]:
            raise CommandError("--since-last is about the database, not about a bundle", returncode=USAGE)
        try:
            if options["bundle"]:
                report = verification.verify_bundle(options["bundle"], anchors=anchors, receipts=receipts)
            else:
                migrate_embedded()
                with acting(Actor(kind="command", label="manage.py verify_trail")):
                    report = verification.verify_and_keep(
                        since_last=options["since_last"], anchors=anchors, receipts=receipts
                    )
        except DatabaseError as error:
            raise CommandError(f"The database can't be used: {error}", returncode=UNREADABLE) from None
        evidence = verify.Evidence(public_keys(), anchors, receipts)
        words = verify.in_words(report, evidence)
        self.stdout.write(json.dumps(report.as_json()) if options["json"] else "\n".join(words))
        raise SystemExit(verify.EXIT_CODES[report.verdict])
