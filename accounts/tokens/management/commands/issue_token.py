from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import User, normalise_email
from accounts.tokens.services import DEFAULT_DAYS, NotIssued, issue_token
from opssight.kernel.actor import acting, command


class Command(BaseCommand):
    help = "Issue an API token and print it, once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", required=True, metavar="EMAIL")
        parser.add_argument("--scopes", required=True, help="comma-separated permissions, such as findings:read")
        parser.add_argument("--days", type=int, default=DEFAULT_DAYS)
        parser.add_argument("--name", default="issued on the server")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(email=normalise_email(options["user"])).first()
        if user is None:
            raise CommandError(f"there is no account {options['user']}", returncode=3)
        scopes = [scope.strip() for scope in options["scopes"].split(",") if scope.strip()]
        with acting(command("issue_token")):
            try:
                _, text = issue_token(user, name=options["name"], scopes=scopes, days=options["days"])
            except NotIssued as refusal:
                raise CommandError(refusal.detail, returncode=3) from None
            except ValidationError as error:
                raise CommandError(" ".join(error.messages), returncode=3) from None
        self.stdout.write(text)
