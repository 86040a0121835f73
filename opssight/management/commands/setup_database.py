import re
import secrets
import sys
from typing import Any
from urllib.parse import quote

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection, transaction

from opssight.database_roles import Roles, Setup
from opssight.kernel.database import missing_migrations

# What each role's address is called in the environment.
VARIABLES = {
    "owner": "OPSSIGHT_OWNER_DATABASE_URL",
    "app": "OPSSIGHT_DATABASE_URL",
    "sealer": "OPSSIGHT_SEALER_DATABASE_URL",
}
USAGE, FAILED = 2, 3


class Command(BaseCommand):
    help = (
        "Make or update a server's database: its three roles, its tables, and who may do what with them. Run it with "
        "the address of an administrator or of the owner in OPSSIGHT_OWNER_DATABASE_URL, at first and after each "
        "upgrade. The addresses of roles that it makes are printed once, on standard output."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        for role in VARIABLES:
            parser.add_argument(f"--{role}", default=f"opssight_{role}", metavar="NAME", help="default: %(default)s")
        parser.add_argument(
            "--passwords-stdin",
            action="store_true",
            help="take passwords from standard input, lines such as app=…; one for a role that exists replaces its own",
        )
        parser.add_argument("--print-sql", action="store_true", help="print what would be done, and do nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        if connection.vendor != "postgresql":
            raise CommandError("set OPSSIGHT_OWNER_DATABASE_URL to a PostgreSQL database first", returncode=USAGE)
        names = {role: options[role] for role in VARIABLES}
        if len(set(names.values())) < len(names):
            raise CommandError("the three roles must have three names", returncode=USAGE)
        for role, name in names.items():
            if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name) or name.startswith("pg_"):
                raise CommandError(f"--{role}: {name!r} is not a plain name of a role", returncode=USAGE)
        given = self._read_passwords() if options["passwords_stdin"] else {}
        try:
            setup = Setup(connection, Roles(**names))
            if options["print_sql"]:
                self._print(setup)
            else:
                self._set_up(setup, names, given)
        except DatabaseError as error:
            raise CommandError(f"PostgreSQL says: {str(error).strip()}", returncode=FAILED) from None

    def _set_up(self, setup: Setup, names: dict[str, str], given: dict[str, str]) -> None:
        if not setup.may_create and not setup.is_owner:
            lacks = f" ({', '.join(sorted(setup.missing))} must be made)" if setup.missing else ""
            raise CommandError(
                f"this needs the address of an administrator of the roles, or of the owner{lacks}", returncode=FAILED
            )
        new = [role for role, name in names.items() if name in setup.missing]
        made = {role: secrets.token_hex(24) for role in new if role not in given}
        hashed = {names[role]: setup.hashed(names[role], password) for role, password in {**made, **given}.items()}
        with transaction.atomic():
            setup.execute(setup.before_migration(hashed))
            self._refuse(setup.unfit())
        for role, password in made.items():  # at once: they are known nowhere else
            self.stdout.write(f"{VARIABLES[role]}={_address(names[role], password)}")
        self.stdout.flush()
        with setup.as_owner():
            missing = missing_migrations()
            call_command("migrate", interactive=False, verbosity=0)
            with transaction.atomic():
                setup.execute(setup.after_migration())
                self._refuse(setup.excess())
        self.stderr.write(
            f"roles: {', '.join(names.values())} ({len(new)} made); {missing} migrations applied; rights set"
        )

    @staticmethod
    def _refuse(reasons: list[str]) -> None:
        if reasons:
            raise CommandError(f"{'; '.join(reasons)}: the trail would not be safe", returncode=FAILED)

    def _print(self, setup: Setup) -> None:
        rights = setup.after_migration()
        statements = setup.before_migration({}) + ([f"SET ROLE {setup.owner}", *rights, "RESET ROLE"] if rights else [])
        self.stdout.write("".join(f"{statement};\n" for statement in statements), ending="")
        for name in sorted(setup.missing):
            self.stdout.write(f"-- and a password: \\password {name}")
        if missing := missing_migrations():
            self.stdout.write(f"-- then, with the owner's address: manage.py setup_database ({missing} migrations)")

    @staticmethod
    def _read_passwords() -> dict[str, str]:
        given = {}
        for line in sys.stdin.read().splitlines():
            role, _, password = line.partition("=")
            if role not in VARIABLES or not password:
                raise CommandError(
                    f"standard input must hold lines such as app=PASSWORD, for {', '.join(VARIABLES)}", returncode=USAGE
                )
            given[role] = password
        return given


def _address(name: str, password: str) -> str:
    settings = connection.settings_dict
    place = f"{settings['HOST']}:{settings['PORT']}" if settings["HOST"] else ""
    return f"postgresql://{name}:{password}@{place}/{quote(settings['NAME'], safe='')}"
