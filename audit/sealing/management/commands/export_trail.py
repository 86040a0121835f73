import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from audit.sealing import exporting
from audit.sealing.keys import public_key
from opssight.kernel.actor import Actor, acting
from opssight.kernel.database import migrate_embedded
from opssight.kernel.errors import Refusal

USAGE, FAILED = 2, 3


def moment(text: str) -> datetime:
    """A day or a moment, in UTC where it does not say otherwise."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day such as 2026-01-31, or a moment") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def end_of(text: str) -> datetime:
    return moment(text) + timedelta(days=1 if len(text) <= len("2026-01-31") else 0)


def position(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise argparse.ArgumentTypeError(f"{text!r} is not a position")
    return int(text)


class Command(BaseCommand):
    help = (
        "Write the sealed trail, or a part of it, as a signed bundle that verify.py checks anywhere. "
        "Exit code 0: it is written; 2: usage, or there is no such part; 3: it can't be written."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
        parser.add_argument("--from", dest="start", type=position, metavar="N", help="from position N (default 0)")
        parser.add_argument("--to", dest="end", type=position, metavar="N", help="to before position N (default: all)")
        parser.add_argument("--since", type=moment, metavar="D", help="from this day or moment on (UTC)")
        parser.add_argument("--until", type=end_of, metavar="D", help="to the end of this day, or to this moment (UTC)")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["output"]
        try:
            migrate_embedded()
            with acting(Actor(kind="command", label="manage.py export_trail")):
                chosen = exporting.part(
                    options["start"], options["end"], since=options["since"], until=options["until"]
                )
                digest = exporting.write_bundle(chosen, path)
        except Refusal as refusal:
            raise CommandError(refusal.detail, returncode=USAGE if refusal.status == 400 else FAILED) from None
        except OSError as error:
            raise CommandError(f"{path} can't be written: {error.strerror}", returncode=FAILED) from None
        except DatabaseError as error:
            raise CommandError(f"The database can't be used: {error}", returncode=FAILED) from None
        self.stdout.write(
            f"{path}: entries #{chosen.start} to #{chosen.end - 1} of {chosen.checkpoint.size}\n"
            f"SHA-256 {digest}\nsigned by {public_key()}"
        )
