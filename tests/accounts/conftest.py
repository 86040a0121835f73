"""What the tests of accounts share."""

import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection

from opssight.settings.env import BASE_DIR
from tests.opssight.conftest import clean_environment


@pytest.fixture
def environment(transactional_db, tmp_path: Path) -> dict[str, str]:
    """Of other processes of an installation: on SQLite one of their own, on PostgreSQL on the suite's database."""
    variables = {
        **clean_environment(),
        "OPSSIGHT_HOME": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "opssight.settings.prod",
        "PYTHONPATH": str(BASE_DIR),
    }
    if connection.vendor == "postgresql":
        d = connection.settings_dict
        server = f"{d['HOST'] or '127.0.0.1'}:{d['PORT'] or 5432}"
        variables["OPSSIGHT_DATABASE_URL"] = f"postgresql://{d['USER']}:{d['PASSWORD']}@{server}/{d['NAME']}"
        variables["OPSSIGHT_BROKER_URL"] = "redis://127.0.0.1:1/0"  # nothing is sent there
    else:
        run = [sys.executable, "manage.py", "migrate", "-v", "0"]
        subprocess.run(run, cwd=BASE_DIR, env=variables, check=True, timeout=120)
    return variables
