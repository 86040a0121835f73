import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from opssight.kernel.actor import acting, command
from opssight.kernel.database import migrate_embedded
from scanning.advisories import services
from scanning.advisories.services import Outcome

FAILED = 3


class Command(BaseCommand):
    help = (
        "Read the lists of exploited weaknesses (OPSSIGHT_EPSS_FILE, OPSSIGHT_KEV_FILE) where they have changed, and "
        "say how old they are. Exit code 0: done; 3: one can't be read, and what it said before stands."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        migrate_embedded()
        with acting(command("enrich_findings")):
            outcomes = services.enrich()
        counts = services.standing()
        if options["json"]:
            told = {outcome.kind: _as_json(outcome) for outcome in outcomes}
            self.stdout.write(json.dumps({**told, "findings": counts}))
        else:
            for outcome in outcomes:
                self.stdout.write(_sentence(outcome))
                if outcome.error:
                    self.stderr.write(outcome.error)
            self.stdout.write(
                f"{counts['known_exploited']} of {counts['unresolved']} unresolved findings are known to be exploited; "
                f"of {counts['not_known']} that is not known"
            )
        if any(outcome.error for outcome in outcomes):
            raise SystemExit(FAILED)


def _age(outcome: Outcome) -> int | None:
    return (timezone.now() - outcome.feed.dated).days if outcome.feed.dated else None


def _sentence(outcome: Outcome) -> str:
    feed, days = outcome.feed, _age(outcome)
    if days is None:
        why = "no file is set" if outcome.state == "off" else outcome.state
        return f"{feed}: {why}; nothing is known"
    old = f"{feed.rows:,} CVEs, {days} day{'' if days == 1 else 's'} old{' (stale)' if feed.is_stale else ''}"
    return f"{feed}: {outcome.state}; {old}"


def _as_json(outcome: Outcome) -> dict[str, Any]:
    feed = outcome.feed
    return {
        "state": outcome.state,
        "file": outcome.file,
        "error": outcome.error,
        "dated": feed.dated and feed.dated.isoformat(),
        "age_days": _age(outcome),
        "is_stale": feed.is_stale,
        "read_at": feed.read_at and feed.read_at.isoformat(),
        "rows": feed.rows,
    }
