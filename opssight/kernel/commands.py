"""`manage.py`, with an entry for each command: which one, which account of the operating system, how it ended."""

import logging

from django.apps import apps
from django.core.management import execute_from_command_line
from django.db import DatabaseError

from opssight.kernel.actor import acting, command

# They change nothing that anybody relies on, or run before there is a table to write to.
QUIET = frozenset({"", "help", "check", "makemigrations", "openapi", "prepare", "setup_database", "showmigrations"})
FOUND = 1  # an open finding, a failed gate: the command did what it was for


def run(argv: list[str]) -> None:
    name = argv[1] if len(argv) > 1 and not argv[1].startswith("-") else ""
    with acting(command(name)):
        try:
            execute_from_command_line(argv)
        except SystemExit as end:
            _record(name, end.code)
            raise
        except BaseException as error:
            _record(name, type(error).__name__)
            raise
        _record(name, 0)


def _record(name: str, ended: str | int | None) -> None:
    if name in QUIET or not apps.ready:
        return
    from opssight.kernel.events import COMMAND_RUN

    code = ended if isinstance(ended, int) else 0 if ended is None else FOUND + 1
    error = "" if code in (0, FOUND) else f"ended with {ended if isinstance(ended, int) else str(ended)[:200]}"
    try:
        COMMAND_RUN.emit(success=not error, error=error, command=name, exit_code=code)
    except DatabaseError as lacking:  # no database yet, or none that answers
        logging.getLogger("opssight").warning("the trail can't take the entry of manage.py %s: %s", name, lacking)
