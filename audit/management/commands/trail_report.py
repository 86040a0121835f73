import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from audit.reports.formats import COLUMNS, as_csv, as_dict
from audit.reports.services import CHOICES, NoReport, Report, period_of, report
from audit.rollups.models import ALL
from opssight.kernel.actor import Actor, acting
from opssight.kernel.database import migrate_embedded
from opssight.kernel.errors import Refusal

USAGE, BROKEN = 2, 3


class Command(BaseCommand):
    help = (
        "What the trail came to on each day of a period, for one framework. Exit code 0: done; 2: no such report; "
        "3: the trail can't be read."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--framework", default=ALL, help=f"one of {', '.join(CHOICES)}; default: {ALL}")
        parser.add_argument("--from", dest="start", required=True, metavar="DAY", help="as 2026-01-01, in UTC; inside")
        parser.add_argument("--to", dest="end", required=True, metavar="DAY", help="as 2026-01-31; inside")
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", help="print one JSON object")
        form.add_argument("--csv", action="store_true", help="print CSV, a row a day")
        parser.add_argument("-o", "--output", metavar="FILE", help="write it there")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            asked = period_of(options["framework"], options["start"], options["end"])
            migrate_embedded()
            with acting(Actor(kind="command", label="manage.py trail_report")):
                made = report(asked)
        except NoReport as error:
            raise CommandError(error.detail, returncode=USAGE) from None
        except Refusal as error:
            raise CommandError(error.detail, returncode=BROKEN) from None
        except DatabaseError as error:
            raise CommandError(f"The database can't be used: {error}", returncode=BROKEN) from None
        text = json.dumps(as_dict(made)) if options["json"] else as_csv(made) if options["csv"] else _as_table(made)
        if not options["output"]:
            self.stdout.write(text)
            return
        try:
            Path(options["output"]).write_text(text)
        except OSError as error:
            raise CommandError(f"{options['output']} can't be written: {error.strerror}", returncode=BROKEN) from None


def _as_table(made: Report) -> str:
    data = as_dict(made)
    rows = [list(COLUMNS)]
    rows += [[f"{row[name]:,}" if name != "date" else row[name] for name in COLUMNS] for row in data["daily_summary"]]
    rows.append(["total", *(f"{data['totals'][name]:,}" for name in COLUMNS[1:])])
    widths = [max(len(row[n]) for row in rows) for n in range(len(COLUMNS))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(
        [f"{data['title']}, {made.period.start} to {made.period.end}, days of UTC", *lines, covered_by(made)]
    )


def covered_by(made: Report) -> str:
    covers = made.covers
    anchored = f"anchored up to {covers.anchored[0]:,}" if covers.anchored else "not anchored"
    waiting = "" if covers.complete else "; entries that wait to be sealed are not in it"
    return f"Covers a log of {covers.size:,} entries, root {covers.root}, {anchored}{waiting}."
