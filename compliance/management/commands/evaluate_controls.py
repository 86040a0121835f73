import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from compliance import services
from compliance.models import Result, State
from opssight.kernel.actor import acting, command
from opssight.kernel.database import migrate_embedded

MET, UNMET, BROKEN = 0, 1, 3


class Command(BaseCommand):
    help = (
        "Evaluate every control on the data of now. Exit code 0: all are met; 1: one is not met, or unknown; "
        "3: a test failed, so nothing is known of its control."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON array")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            migrate_embedded()
            with acting(command("evaluate_controls")):
                results = services.evaluate_all()
        except DatabaseError as error:
            raise CommandError(f"The database can't be used: {error}", returncode=BROKEN) from None
        if not results:
            raise CommandError("There is no control to evaluate. Run manage.py migrate.", returncode=BROKEN)
        if options["json"]:
            self.stdout.write(json.dumps([_as_json(result) for result in results]))
        else:
            self._print(results)
        raise SystemExit(_exit_code(results))

    def _print(self, results: list[Result]) -> None:
        for result in results:
            count = f"{result.failed} of {result.population}"
            state = State(result.state).label
            self.stdout.write(f"{state:<14} {result.control.key:<24} failed {count:<12} {result.reason}")


def _exit_code(results: list[Result]) -> int:
    states = {result.state for result in results}
    if State.ERROR in states:
        return BROKEN
    return UNMET if states & {State.FAIL, State.UNKNOWN} else MET


def _as_json(result: Result) -> dict[str, Any]:
    return {
        "control": result.control.key,
        "title": result.control.title,
        "state": result.state,
        "reason": result.reason,
        "population": result.population,
        "failed": result.failed,
        "evaluated_at": result.evaluated_at.isoformat(),
        "valid_until": result.valid_until.isoformat(),
        "result": str(result.uid),
        "digest": result.row_set.digest,
        "rows": [
            {"resource_type": row.resource_type, "uid": str(row.resource_uid), "label": row.label, "detail": row.detail}
            for row in result.row_set.rows.filter(failed=True).order_by("id")
        ],
    }
