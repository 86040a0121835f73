import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from accounts.services import issue_setup_link
from opssight.kernel.actor import acting, command
from opssight.kernel.database import migrate_embedded
from rbac.services import has_administrator
from scanning import targets
from scanning.inventory import asset_at, installation_asset
from scanning.models import Asset, Scan
from scanning.scanners.base import registry
from scanning.services import request_scan
from scanning.sources.base import BadTarget


class Command(BaseCommand):
    help = "Bring the database up to date, ask for the first scan, and issue the set-up link while nobody administers."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--target", default="", help="a folder to scan; default, at the first start: OpsSight itself"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """The last line of the output is one JSON object, read by `up`."""
        migrate_embedded()
        with acting(command("up")):
            target, scan, problem = options["target"], None, None
            if target:
                scan = request_scan(asset_at(target), trigger=Scan.Trigger.FIRST)
                problem = self._problem(scan)
            elif not Scan.objects.exists():
                scan = request_scan(installation_asset(), trigger=Scan.Trigger.FIRST)
            link = None if has_administrator() else issue_setup_link()
        said = {"setup_link": link, "scan": str(scan.uid) if scan else None, "target_error": problem}
        self.stdout.write(json.dumps(said))

    @staticmethod
    def _problem(scan: Scan) -> str | None:
        """Said at once on the terminal; the scan itself fails with the same sentence."""
        if scan.asset.kind != Asset.Kind.FOLDER:
            return None
        try:
            targets.survey(targets.place_of(scan.asset), registry[scan.scanner])
        except BadTarget as error:
            return str(error)
        return None
