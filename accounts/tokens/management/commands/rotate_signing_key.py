from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from accounts.tokens import keys
from opssight.kernel.actor import Actor, acting


class Command(BaseCommand):
    help = "Sign JWTs with a new key from now on, on every machine; no restart is needed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--at-once", action="store_true", help="the earlier keys count no more: every JWT ends (a key has leaked)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with acting(Actor(kind="command", label="manage.py rotate_signing_key")):
            key = keys.rotate(at_once=options["at_once"])
        self.stdout.write(f"{key.algorithm} key {key.kid} signs from now on.")
