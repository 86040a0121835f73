import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.strength import DEMANDS
from rbac.access import factors
from rbac.models import Role


class Command(BaseCommand):
    help = "Whom a second factor rule would stop at their next sign-in. Changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--role", required=True, help="the key of a role, such as officer")
        parser.add_argument("--level", required=True, choices=list(DEMANDS))
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        role = Role.objects.filter(key=options["role"]).first()
        if role is None:
            known = ", ".join(Role.objects.order_by("key").values_list("key", flat=True))
            raise CommandError(f"There is no role {options['role']}. There are: {known}.", returncode=2)
        holders = factors.holders(role).count()
        blocked = list(factors.rehearse(role, options["level"]).values_list("email", flat=True))
        if options["json"]:
            answer = {"role": role.key, "level": options["level"], "holders": holders, "blocked": blocked}
            self.stdout.write(json.dumps(answer))
        else:
            self.stdout.write(f"{len(blocked)} of {holders} who hold {role} have no factor that does:")
            for email in blocked:
                self.stdout.write(f"  {email}")
        if blocked:
            raise SystemExit(1)
