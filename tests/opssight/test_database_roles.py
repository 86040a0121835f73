"""`manage.py setup_database`: what each role of a server's database may do, and what the app can't."""

import secrets
import shutil
import time
from pathlib import Path

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from psycopg.errors import InsufficientPrivilege

from accounts.mfa.models import _code
from audit import guard
from audit.sealing.sealer import CannotSeal, catch_up, seal
from scanning.inventory import asset_at
from scanning.scanners import toolbox
from scanning.services import request_scan, run_scan
from tests.conftest import PASSWORD, enrolled, make_person

SAMPLE = Path(__file__).parent.parent / "samples" / "vulnerable"
FORBIDDEN = [
    "UPDATE audit_auditentry SET event = 'forged:entry'",
    "DELETE FROM audit_auditentry",
    "TRUNCATE audit_auditentry CASCADE",
    "SELECT id FROM audit_auditentry FOR UPDATE",
    "UPDATE audit_auditpersonal SET salt = ''",
    "DELETE FROM audit_auditpersonal",
    "TRUNCATE audit_auditpersonal",
    "UPDATE sealing_leaf SET position = 0",
    "DELETE FROM sealing_leaf",
    "TRUNCATE sealing_leaf",
    "UPDATE sealing_node SET level = 0",
    "UPDATE sealing_checkpoint SET size = 0",
    "DELETE FROM sealing_checkpoint",
    "INSERT INTO sealing_pending VALUES (1)",
    "UPDATE sealing_pending SET entry_id = 1",
    "TRUNCATE sealing_pending",
    "DELETE FROM rollups_daycount",
    "DELETE FROM rollups_dayuser",
    "UPDATE rollups_dayuser SET user_id = 0",
    "DROP TRIGGER audit_auditentry_to_outbox ON audit_auditentry",
    "CREATE OR REPLACE FUNCTION audit_enqueue() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
    "ALTER FUNCTION audit_enqueue() SECURITY INVOKER",
    "ALTER TABLE audit_auditentry DISABLE TRIGGER ALL",
    "DROP TRIGGER audit_auditentry_refuse_update ON audit_auditentry",
    "CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
    "CREATE RULE quiet AS ON INSERT TO audit_auditentry DO INSTEAD NOTHING",
    "CREATE TRIGGER mine BEFORE INSERT ON audit_auditentry FOR EACH ROW EXECUTE FUNCTION audit_refuse()",
    "ALTER TABLE audit_auditentry OWNER TO CURRENT_USER",
    "ALTER TABLE audit_auditentry ADD COLUMN mine text",
    "DROP TABLE audit_auditpersonal",
    "SET session_replication_role = replica",
    "BEGIN; LOCK TABLE audit_auditentry IN ACCESS EXCLUSIVE MODE",
    "SELECT setval('audit_auditentry_id_seq', 1)",
    "CREATE TABLE mine (id int)",
    "CREATE TEMPORARY TABLE audit_auditentry (id int)",
    "DROP TABLE scanning_finding",
    "TRUNCATE scanning_finding",
    "COPY audit_auditentry TO PROGRAM 'cat'",
    "CREATE ROLE mine SUPERUSER",
]


# --- in the suite's own database, undone at the end of each test ---


@pytest.fixture
def names(postgres, db) -> dict[str, str]:
    mark = f"opssight_test_{secrets.token_hex(4)}"
    return {role: f"{mark}_{role}" for role in ("owner", "app", "sealer")}


def set_up(names: dict[str, str], **options: object) -> None:
    call_command("setup_database", **names, **options)


def become(role: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {role}")


def test_the_app_signs_people_in_scans_and_lists(names, tmp_path, monkeypatch):
    set_up(names)
    become(names["app"])
    olga = make_person("Olga", "officer", "administrator")
    device, client = enrolled(olga), Client()
    client.post("/sign-in", {"username": olga.email, "password": PASSWORD, "next": "/api/v1/scans"})
    code = _code(device.secret, int(time.time()) // 30)
    assert client.post("/sign-in/second-step", {"code": code})["Location"] == "/api/v1/scans"

    scanner = tmp_path / "bandit"
    scanner.write_text(f"#!/bin/sh\nshift 4; cp {tmp_path}/report $1\n")
    scanner.chmod(0o755)
    (tmp_path / "report").write_text('{"results": [], "errors": [], "metrics": {"./shop.py": {}}}')
    monkeypatch.setattr(toolbox, "program", lambda name: scanner)
    run_scan(request_scan(asset_at(shutil.copytree(SAMPLE, tmp_path / "shop")), dispatch=False).pk)

    assert [scan["state"] for scan in client.get("/api/v1/scans").json()["results"]] == ["completed"]
    told = {entry["event"] for entry in client.get("/api/v1/trail").json()["results"]}
    assert {"sessions:started", "scans:requested", "scans:started", "scans:finished"} <= told
    assert client.get("/api/v1/assets").json()["results"][0]["name"] == "shop"
    olga.delete()  # the trail's link to the person is no constraint that would have to write there


def test_a_new_table_of_the_owner_is_the_apps_too_and_one_of_the_trail_only_to_add_to(names):
    set_up(names)
    become(names["owner"])
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE later (id int)")
        cursor.execute(f"GRANT UPDATE, DELETE ON {guard.ENTRIES} TO PUBLIC")
        guard.install(connection)  # as post_migrate does
    become(names["app"])
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO later VALUES (1); UPDATE later SET id = 2; DELETE FROM later")
        cursor.execute(f"SELECT has_table_privilege('{guard.ENTRIES}', 'UPDATE, DELETE')")
        assert cursor.fetchone() == (False,)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("ALTER ROLE {app} SUPERUSER", "is a superuser"),
        ("ALTER ROLE {app} CREATEROLE", "may create roles"),
        ("GRANT {owner} TO {app}", "is a member of"),
        ("GRANT {owner} TO {sealer}", "is a member of"),
        (
            "GRANT pg_write_all_data TO {app}",
            "may change audit_auditentry, .*sealing_checkpoint.* through another role",
        ),
        ("GRANT pg_write_all_data TO {sealer}", "through another role"),
    ],
)
def test_a_role_that_could_change_the_trail_is_refused(names, change, says):
    set_up(names)
    connection.cursor().execute(change.format(**names))
    with pytest.raises(CommandError, match=says) as refused:
        set_up(names)
    assert refused.value.returncode == 3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"app": "opssight_owner"}, "three names"),
        ({"app": 'x"; DROP TABLE accounts_user; --'}, "not a plain name"),
        ({"sealer": "pg_monitor"}, "not a plain name"),
    ],
)
def test_names_that_can_not_be(postgres, db, options, says):
    with pytest.raises(CommandError, match=says) as refused:
        call_command("setup_database", **options)
    assert refused.value.returncode == 2


def test_print_sql_changes_nothing_and_holds_no_password(names, capsys):
    set_up(names, print_sql=True)
    said = capsys.readouterr().out
    assert f'CREATE ROLE "{names["app"]}" LOGIN;' in said
    assert f'GRANT SELECT, INSERT ON audit_auditentry TO "{names["app"]}";' in said
    assert f'GRANT SELECT, DELETE ON sealing_pending TO "{names["sealer"]}";' in said
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_roles WHERE rolname = ANY(%s)", [list(names.values())])
        assert cursor.fetchone() == (0,)
        cursor.execute("".join(line for line in said.splitlines(True) if not line.startswith("--")))  # as psql would
    set_up(names)


def test_the_embedded_database_needs_none(db):
    if connection.vendor == "postgresql":
        pytest.skip("this is about SQLite: make test")
    with pytest.raises(CommandError, match="OPSSIGHT_OWNER_DATABASE_URL") as refused:
        call_command("setup_database")
    assert refused.value.returncode == 2


# --- in a database of its own, made as an operator does it: see conftest.py ---


def test_an_administrator_who_is_no_superuser_sets_an_empty_database_up(server_database):
    with server_database.connect("app") as app:
        assert app.execute("SELECT count(*) FROM rbac_role").fetchone()[0] > 0
        [owners] = app.execute("SELECT array_agg(DISTINCT tableowner) FROM pg_tables WHERE schemaname = 'public'")
        assert owners == ([server_database.names["owner"]],)


@pytest.mark.parametrize("statement", FORBIDDEN)
@pytest.mark.parametrize("role", ["app", "sealer"])
def test_what_the_app_and_the_sealer_can_not_do(server_database, role, statement):
    with server_database.connect(role) as connection, pytest.raises(InsufficientPrivilege):
        connection.execute(statement)


def test_the_app_can_not_give_itself_more(server_database):
    with server_database.connect("app") as app:
        app.execute("GRANT UPDATE ON audit_auditentry TO CURRENT_USER")  # a warning: nothing was granted
        with pytest.raises(InsufficientPrivilege):
            app.execute("UPDATE audit_auditentry SET event = 'forged:entry'")


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM sealing_pending",
        "UPDATE rollups_daycount SET failed = 0",
        "INSERT INTO rollups_dayuser (framework, day, user_id) VALUES ('SOC2', '2026-01-01', 1)",
        "INSERT INTO sealing_leaf (position, entry_id, hash, quarantined) VALUES (1000000, 1000000, '', false)",
        "INSERT INTO sealing_node (level, position, hash) VALUES (8, 0, '')",
        "INSERT INTO sealing_checkpoint (size, at, note, peaks) VALUES (0, now(), '', '')",
    ],
)
def test_the_app_can_not_seal(server_database, statement):
    with server_database.connect("app") as app:
        assert app.execute("SELECT count(*) FROM sealing_pending").fetchone()[0] >= 0
        with pytest.raises(InsufficientPrivilege):
            app.execute(statement)


def test_what_the_app_adds_the_sealer_seals(names):
    set_up(names)
    become(names["app"])
    make_person("Olga")
    with pytest.raises(CannotSeal, match="OPSSIGHT_SEALER_DATABASE_URL"):
        seal()
    assert not catch_up()
    become(names["sealer"])
    assert seal() > 0
    become(names["app"])
    assert catch_up()


def test_a_schema_of_their_own_gives_nobody_another_outbox(server_database):
    """The trigger's function runs with its owner's rights: it must not look where the caller says."""
    with server_database.connect("app") as app:
        app.execute("SET search_path = pg_temp, public")
        [path] = app.execute("SELECT proconfig FROM pg_proc WHERE proname = 'audit_enqueue'").fetchone()
        assert path == ["search_path=pg_catalog, pg_temp"]


def test_the_sealer_reads_entries_and_nothing_else(server_database):
    with server_database.connect("sealer") as sealer:
        assert sealer.execute("SELECT count(*) FROM audit_auditentry").fetchone()[0] > 0
        for statement in (
            "SELECT * FROM audit_auditpersonal",
            "SELECT * FROM accounts_user",
            "INSERT INTO audit_auditentry (event) VALUES ('forged:entry')",
        ):
            with pytest.raises(InsufficientPrivilege):
                sealer.execute(statement)


def test_the_owner_is_still_stopped_by_the_triggers(server_database):
    with server_database.connect("owner") as owner:
        for statement in ("DELETE FROM audit_auditentry", "TRUNCATE audit_auditentry CASCADE"):
            with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
                owner.execute(statement)


def test_each_role_is_let_in_to_this_database_and_nobody_else(server_database):
    stranger = f"{server_database.name}_stranger"
    with server_database.connect("admin") as admin:
        admin.execute(f"CREATE ROLE {stranger} LOGIN PASSWORD 'stranger'")
    try:
        parts = server_database.urls["app"].partition("@")[2]
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(f"postgresql://{stranger}:stranger@{parts}")
    finally:
        with server_database.connect("admin") as admin:
            admin.execute(f"DROP ROLE {stranger}")


@pytest.mark.parametrize("role", ["admin", "owner"])
def test_doing_it_again_changes_nothing_and_prints_no_secret(server_database, role):
    done = server_database.setup(role)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "(0 made); 0 migrations applied" in done.stderr
    server_database.connect("app").close()


def test_the_app_can_not_do_it(server_database):
    done = server_database.setup("app")
    assert done.returncode == 3
    assert "address of an administrator" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_password_from_standard_input_replaces_the_one_there_was(server_database):
    url = server_database.urls["app"]
    password = secrets.token_hex(16)
    done = server_database.setup("admin", "--passwords-stdin", stdin=f"app={password}\n")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    server_database.urls["app"] = url.replace(url.rpartition("@")[0].rpartition(":")[2], password)
    server_database.connect("app").close()
