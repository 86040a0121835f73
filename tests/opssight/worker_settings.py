"""Production's settings for the worker processes of a test, with queues of names that no other run has."""

import os

from opssight.settings.prod import *  # noqa: F403
from opssight.settings.prod import CELERY_BROKER_TRANSPORT_OPTIONS, CELERY_BROKER_URL, CELERY_TASK_ROUTES

PREFIX = os.environ["OPSSIGHT_TEST_PREFIX"]
CELERY_TASK_DEFAULT_QUEUE = f"{PREFIX}default"
CELERY_TASK_ROUTES = {task: {"queue": PREFIX + route["queue"]} for task, route in CELERY_TASK_ROUTES.items()}
if CELERY_BROKER_URL.startswith("redis"):
    CELERY_BROKER_TRANSPORT_OPTIONS["global_keyprefix"] = PREFIX
