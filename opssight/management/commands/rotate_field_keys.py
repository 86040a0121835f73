from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from opssight.kernel import fieldkeys
from opssight.kernel.actor import Actor, acting


class Command(BaseCommand):
    help = (
        "Encrypt every encrypted field anew with the newest key of OPSSIGHT_FIELD_KEYS; may be stopped and run again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="decrypt everything, change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        bad = 0
        with acting(Actor(kind="command", label="manage.py rotate_field_keys")):
            for report in fieldkeys.check() if options["check"] else fieldkeys.rotate():
                done = "can be read" if options["check"] else "brought under the newest key"
                count = report.rows - len(report.unreadable)
                self.stdout.write(f"{report.column}: {count} {done}")
                self.stdout.flush()
                for uid in report.unreadable:
                    self.stderr.write(
                        f"{report.column}, row {uid}: plain text, changed, moved from another row, or encrypted with a "
                        "key that OPSSIGHT_FIELD_KEYS no longer has"
                    )
                bad += len(report.unreadable)
        if bad:
            self.stderr.write(
                f"{bad} can't be read; nothing was done to them. Keep the older keys until that is clear."
            )
            raise SystemExit(1)
        if not options["check"]:
            self.stdout.write("Everything is under the newest key; the older ones may go.")
