"""The settings of the test suite: prod, with what makes tests fast and private to this run."""

import os
import tempfile

os.environ["OPSSIGHT_HOME"] = os.environ.get("OPSSIGHT_TEST_HOME") or tempfile.mkdtemp(prefix="opssight-test-")
os.environ.setdefault("OPSSIGHT_URL", "http://localhost:8000")

from opssight.settings import env

for name, value in env.generated_secrets().items():
    os.environ.setdefault(name, value)

from opssight.settings.base import *  # noqa: F403
from opssight.settings.base import DATABASES, EMBEDDED

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
CELERY_BROKER_URL = "memory://"
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
if EMBEDDED:
    DATABASES["default"]["OPTIONS"].pop("init_command")  # in memory: no journal
else:
    DATABASES["default"]["OPTIONS"].pop("pool")  # a pool's open connections keep the test database from being dropped
SMS_GATEWAY, MESSAGE_CODES = "console", ["sms", "email"]  # as embedded, also on a server's database
