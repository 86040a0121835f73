"""Eight uses of one refresh token at the same moment. As a program on an SQLite file of its own, since the suite's is
in memory and has one connection: `python -m tests.accounts.tokens.parallel`, with OPSSIGHT_HOME."""

import json
import threading
from typing import Any

import django

if __name__ == "__main__":
    django.setup()

from django.conf import settings
from django.core.management import call_command
from django.db import connection

from accounts.strength import proved
from accounts.tokens.families import issue, opening
from audit.models import AuditEntry
from opssight.kernel.actor import acting_as
from tests.accounts.tokens.conftest import Caller, refresh
from tests.conftest import make_person


def race(pair: dict[str, Any]) -> dict[str, Any]:
    """The statuses of the eight, and of what the winner's tokens are good for afterwards."""
    start, answers = threading.Barrier(8), []

    def use() -> None:
        start.wait()
        answers.append(refresh(pair))
        connection.close()

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winner = next(answer.json() for answer in answers if answer.status_code == 200)
    after = [refresh(winner).status_code, Caller(winner["access_token"])("GET", "/me").status_code]
    replays = AuditEntry.objects.filter(event="tokens:replayed").count()
    return {"statuses": sorted(answer.status_code for answer in answers), "afterwards": after, "replays": replays}


def main() -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    settings.CELERY_BROKER_URL = "memory://"
    call_command("migrate", verbosity=0)
    user = make_person("Olga", "officer")
    with acting_as(user):
        pair = issue(None, opening(user, level="otp", factors=proved("totp")))
    print(json.dumps(race({"refresh_token": str(pair.refresh)})))


if __name__ == "__main__":
    main()
