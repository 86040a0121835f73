"""A server's database as an operator makes it: empty, with an administrator who is no superuser, then set up."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import psycopg
import pytest
from django.conf import settings
from psycopg import sql

from opssight.settings import env
from opssight.settings.env import BASE_DIR
from tests.services import missing

ROLES = ("admin", "owner", "app", "sealer")


def clean_environment() -> dict[str, str]:
    """This process's, less what would reach another installation."""
    return {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE" and not k.startswith("OPSSIGHT_")} | {
        name: os.environ[name] for name in env.generated_secrets()
    }


@dataclass
class ServerDatabase:
    """`urls` by role: admin, owner, app, sealer."""

    name: str
    names: dict[str, str]
    urls: dict[str, str]

    def setup(self, role: str, *options: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """`manage.py setup_database` with the address of that role."""
        named = [f"--{role}={self.names[role]}" for role in ROLES[1:]]
        return subprocess.run(
            [sys.executable, "manage.py", "setup_database", *named, *options],
            cwd=BASE_DIR,
            env={**clean_environment(), "OPSSIGHT_OWNER_DATABASE_URL": self.urls[role]},
            input=stdin, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def connect(self, role: str) -> psycopg.Connection:
        return psycopg.connect(self.urls[role], autocommit=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[psycopg.Connection]:
    """The suite's own sign-in on the server, where the suite runs on one and may make roles and databases."""
    default = settings.DATABASES["default"]
    if default["ENGINE"] != "django.db.backends.postgresql":
        pytest.skip("this is about PostgreSQL: make test-postgres")
    with psycopg.connect(
        host=default["HOST"], port=default["PORT"], user=default["USER"], password=default["PASSWORD"],
        dbname="postgres", autocommit=True,
    ) as connection:  # fmt: skip
        [able] = connection.execute(
            "SELECT rolsuper OR (rolcreaterole AND rolcreatedb) FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        if not able:
            missing(f"{default['USER']} may not make roles and databases")
        yield connection


@pytest.fixture(scope="session")
def server_database(postgres) -> Iterator[ServerDatabase]:
    mark = f"opssight_test_{secrets.token_hex(4)}"
    names, password = {role: f"{mark}_{role}" for role in ROLES}, secrets.token_hex(16)
    place = f"{postgres.info.host}:{postgres.info.port}/{mark}"
    database = ServerDatabase(mark, names, {"admin": f"postgresql://{names['admin']}:{password}@{place}"})

    def run(statement: str, **quoted: str) -> None:
        postgres.execute(sql.SQL(statement).format(**{k: sql.Identifier(v) for k, v in quoted.items()}))

    try:
        run(f"CREATE ROLE {{admin}} LOGIN CREATEROLE PASSWORD '{password}'", admin=names["admin"])
        run("GRANT {admin} TO CURRENT_USER", admin=names["admin"])
        run("CREATE DATABASE {mark} OWNER {admin}", mark=mark, admin=names["admin"])
        done = database.setup("admin")
        assert done.returncode == 0, done.stderr
        said = dict(line.split("=", 1) for line in done.stdout.splitlines())
        database.urls |= {
            "owner": said["OPSSIGHT_OWNER_DATABASE_URL"],
            "app": said["OPSSIGHT_DATABASE_URL"],
            "sealer": said["OPSSIGHT_SEALER_DATABASE_URL"],
        }
        assert {urlsplit(url).username for url in database.urls.values()} == set(names.values())
        yield database
    finally:
        run("DROP DATABASE IF EXISTS {mark} WITH (FORCE)", mark=mark)
        for name in reversed(names.values()):
            run("DROP ROLE IF EXISTS {name}", name=name)
