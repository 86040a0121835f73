import json
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from opssight.kernel.actor import acting, command
from opssight.kernel.database import migrate_embedded
from scanning import reports
from scanning.imports import services
from scanning.inventory import asset_at
from scanning.models import Asset

USAGE, FAILED = 2, 3


class Command(BaseCommand):
    help = "Take in the report of a security tool, and say what it changed. Exit code 0: done; 3: it can't be read."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("report", metavar="FILE", help="as it is or gzipped")
        parser.add_argument("--asset", required=True, help="uid of an asset, or the folder that the report is about")
        parser.add_argument("--format", default="", choices=["", *sorted(reports.FORMATS)], help="default: by content")
        parser.add_argument("--partial", action="store_true", help="close only in the files that it says it read")
        parser.add_argument("--dry-run", action="store_true", help="only say what would happen")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        migrate_embedded()
        path = Path(options["report"])
        try:
            with acting(command("import_report")), path.open("rb") as file:
                diff = services.import_report(
                    _asset(options["asset"]), file, name=path.name, format=options["format"],
                    is_partial=options["partial"], dry_run=options["dry_run"],
                )  # fmt: skip
        except OSError as error:
            raise CommandError(f"{path} can't be read: {error.strerror}.", returncode=FAILED) from None
        except services.Unusable as refusal:
            raise CommandError(f"{path}: {refusal.detail}", returncode=FAILED) from None
        told = diff.counts()
        if options["json"]:
            uid = str(diff.row.uid) if diff.row else None
            self.stdout.write(json.dumps({"uid": uid, "dry_run": diff.row is None, **told}))
        else:
            would = "would be " if diff.row is None else ""
            self.stdout.write(", ".join(f"{count} {would}{name}" for name, count in told.items()))


def _asset(named: str) -> Asset:
    if asset := Asset.objects.filter(uid=named).first() if _is_uid(named) else None:
        return asset
    if not Path(named).is_dir():
        raise CommandError(f"--asset: {named} is neither the uid of an asset nor a folder.", returncode=USAGE)
    return asset_at(named)


def _is_uid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
