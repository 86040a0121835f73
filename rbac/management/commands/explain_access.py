import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import User, normalise_email
from rbac.explain import Explanation, NothingToExplain, explain, find_object


class Command(BaseCommand):
    help = "Say whether somebody may do something, why, and what would change it. Exit code 0 yes, 1 no."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", required=True, metavar="EMAIL")
        parser.add_argument("--action", required=True, metavar="RESOURCE:ACTION")
        parser.add_argument("--object", default="", metavar="UID", help="the uid of one object")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(email=normalise_email(options["user"])).first()
        if user is None:
            raise CommandError(f"there is no account {options['user']}", returncode=3)
        try:
            answer = explain(user, options["action"], find_object(options["object"], options["action"]))
        except NothingToExplain as refusal:
            raise CommandError(refusal.detail, returncode=2) from None
        self.stdout.write(json.dumps(answer.as_dict()) if options["json"] else _in_words(answer))
        raise SystemExit(0 if answer.allowed else 1)


def _in_words(answer: Explanation) -> str:
    about = f" on {answer.object}" if answer.object else ""
    lines = [f"{'yes' if answer.allowed else 'no'}: {answer.account} {answer.permission}{about}"]
    for heading, told in (
        ("because", answer.reasons),
        ("but first", answer.obligations),
        ("depending on", answer.conditions),
        ("close, but", answer.near_misses),
        ("what would change it", answer.would_change),
    ):
        lines += [f"  {heading}: {line}" for line in told]
    return "\n".join(lines)
