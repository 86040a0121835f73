import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.sso.groups import rehearsal
from accounts.sso.models import Provider


class Command(BaseCommand):
    help = "Says what the rules for a provider's claims would change, those that are not enabled included."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--provider", required=True, help="its short name, as in its addresses")
        parser.add_argument("--claims", help="a file with the claims of somebody, as JSON; else of everybody last seen")

    def handle(self, *args: Any, provider: str, claims: str | None, **options: Any) -> None:
        found = Provider.objects.filter(slug=provider).first()
        if found is None:
            raise CommandError(f"There is no provider {provider}.", returncode=2)
        given = None
        if claims is not None:
            try:
                given = json.loads(Path(claims).read_text())
            except (OSError, ValueError) as error:
                raise CommandError(f"{claims} can't be read as JSON: {error}", returncode=3) from None
            if not isinstance(given, dict):
                raise CommandError(f"{claims} holds no JSON object.", returncode=3)
        self.stdout.write("\n".join(rehearsal(found, given)) or "Nothing would change.")
