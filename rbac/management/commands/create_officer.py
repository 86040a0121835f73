import sys
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from accounts.services import create_account, issue_setup_link
from rbac.models import RoleAssignment
from rbac.services import assign_role


class Command(BaseCommand):
    help = "Create a security officer and administrator of the whole organisation. Prints a one-time set-up link."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--email", required=True)
        parser.add_argument("--name", default="")
        parser.add_argument(
            "--password-stdin", action="store_true", help="read the password from standard input instead of a link"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        password = sys.stdin.readline().rstrip("\n") if options["password_stdin"] else None
        try:
            with transaction.atomic():
                user = create_account(options["email"], name=options["name"], password=password)
                for key in ("officer", "administrator"):
                    assign_role(user, key, reason="create_officer", source=RoleAssignment.Source.SETUP)
                link = None if password else issue_setup_link(user)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages), returncode=3) from None
        self.stdout.write(link or f"{user.email} can sign in; a second factor is set up at the first sign-in.")
