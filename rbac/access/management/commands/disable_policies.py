from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from opssight.kernel.actor import acting, command
from rbac.access.models import Policy
from rbac.access.services import disable_policies


class Command(BaseCommand):
    help = "Switch off conditional access policies: the way back in when they shut everybody out."

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("names", nargs="*", default=[], metavar="NAME")
        which.add_argument("--all", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        names: list[str] = options["names"]
        unknown = sorted(set(names) - set(Policy.objects.values_list("name", flat=True)))
        if unknown:
            raise CommandError(f"there is no policy {', '.join(unknown)}", returncode=3)
        with acting(command("disable_policies")):
            disabled = disable_policies(None if options["all"] else names)
        self.stdout.write("\n".join(f"disabled: {name}" for name in disabled) or "nothing to disable")
