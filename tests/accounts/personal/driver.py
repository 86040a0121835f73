"""Another process of the installation: `driver.py write N`, `driver.py stop-after N`, `driver.py look`."""

import json
import os
import signal
import sys
from collections import Counter
from typing import Any

import django

django.setup()

from django.core.management import call_command

from accounts.notify.models import Notice
from opssight.kernel import fieldkeys

what, number = sys.argv[1], int(sys.argv[2] if len(sys.argv) > 2 else 0)

if what == "write":
    for n in range(number):
        notice = Notice(address="x@example.org", kind="links", subject=str(n))
        notice.text = f"text {n}"
        notice.save()
elif what == "stop-after":
    fieldkeys.BATCH = 10
    one, seen = fieldkeys._one, []

    def counting(*args: Any, **more: Any) -> None:
        if len(seen) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        seen.append(1)
        one(*args, **more)

    fieldkeys._one = counting
    call_command("rotate_field_keys")
elif what == "look":
    rows = list(Notice.objects.order_by("pk"))
    assert [row.text for row in rows] == [f"text {n}" for n in range(len(rows))]
    print(json.dumps(Counter(row.text_encrypted.split(".")[1] for row in rows)))
