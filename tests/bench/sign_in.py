"""CPU of a whole sign-in (password and code) beside the password hash alone, and the memory of eight at once.

Prints milliseconds of CPU, their ratio, and the growth of the resident set in MB; run by `make bench`.
"""

import os
import statistics
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ["DJANGO_SETTINGS_MODULE"] = "opssight.settings.test"
os.environ.setdefault("OPSSIGHT_LOG_LEVEL", "ERROR")
os.environ.setdefault("OPSSIGHT_LOGIN_FAILURE_LIMIT", "100")

import django

django.setup()

import psutil
from django.conf import settings

settings.PASSWORD_HASHERS = ["accounts.hashers.Argon2id"]

from django.contrib.auth.hashers import check_password, make_password
from django.core.management import call_command
from django.test import Client
from history import keep

from accounts.mfa.models import TOTPDevice, _code, _step_now
from accounts.services import create_account

ROUNDS, TOGETHER = 9, 8
MOST_MS, MOST_MB = 150, 250
PASSWORD = "the kettle sings at seven"


def whole_sign_in(email: str, device: TOTPDevice) -> float:
    TOTPDevice.objects.filter(pk=device.pk).update(last_step=-1)
    client, began = Client(), time.process_time()
    client.post("/sign-in", {"username": email, "password": PASSWORD})
    answer = client.post("/sign-in/second-step", {"code": _code(device.secret, _step_now())})
    took = time.process_time() - began
    assert answer.status_code == 302, answer.content
    return took * 1000


def hash_alone(encoded: str) -> float:
    began = time.process_time()
    assert check_password(PASSWORD, encoded)
    return (time.process_time() - began) * 1000


def grown_by_eight(encoded: str) -> float:
    """MB by which eight password checks at once make the process grow: they are what takes memory in a sign-in."""
    process, most, done = psutil.Process(), 0, threading.Event()
    before = process.memory_info().rss

    def watch() -> None:
        nonlocal most
        while not done.wait(0.002):
            most = max(most, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    workers = [threading.Thread(target=hash_alone, args=(encoded,)) for _ in range(TOGETHER)]
    watcher.start()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    done.set()
    watcher.join()
    return (most - before) / 1_000_000


def main() -> None:
    call_command("migrate", verbosity=0)
    user = create_account("bench@example.org", name="Bench", password=PASSWORD)
    device = TOTPDevice(user=user, name="authenticator app")
    device.secret = TOTPDevice.new_secret()
    device.save()
    encoded = make_password(PASSWORD)
    whole_sign_in(user.email, device)
    floors, wholes = [], []
    for _ in range(ROUNDS):
        floors.append(hash_alone(encoded))
        wholes.append(whole_sign_in(user.email, device))
    floor, whole, grown = statistics.median(floors), statistics.median(wholes), grown_by_eight(encoded)
    ratio = whole / floor
    print(f"a sign-in     {whole:6.1f} ms CPU, the hash alone {floor:6.1f} ms: {ratio:.2f} (target {MOST_MS} ms)")
    print(f"eight at once {grown:6.0f} MB more (target {MOST_MB} MB)")
    keep("sign in", ms=round(whole, 1), hash_ms=round(floor, 1), ratio=round(ratio, 2), eight_mb=round(grown))
    if whole > MOST_MS or grown > MOST_MB:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
