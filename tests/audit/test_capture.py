"""Who acts, what failed, and what was written by hand: the trail through the doors that people and machines use."""

import os
import subprocess
import sys

import pytest
from celery import current_app, shared_task
from django.db import connection, transaction
from django.test import Client

from audit import watch
from audit.models import AuditEntry
from audit.services import log_action
from opssight.celery import REQUEST_ID
from opssight.kernel import actor as actors
from opssight.kernel import events
from opssight.kernel.actor import Actor, acting, acting_as, command
from rbac.models import Unit
from rbac.services import create_unit, root_unit

API = "/api/v1"


def newest(**about):
    return AuditEntry.objects.select_related("personal").filter(**about).latest("id")


# --- failures ---


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "action", "reason"),
    [
        ("post", "/units", {"name": "", "kind": "team"}, 400, 0, "not valid: name, parent"),
        ("patch", "/units/{uid}", {"name": "x"}, 428, 1, "Send If-Match with the ETag that you read"),
        ("patch", "/units/{uid}", {"kind": "nonsense"}, 400, 1, "not valid: kind"),
    ],
)
def test_a_failed_change_is_an_entry_with_the_reason(olga, client_for, method, path, body, status, action, reason):
    unit = create_unit("Payments", parent=root_unit())
    client = client_for(olga, step_up=True)
    headers = {"if-match": "*"} if status == 400 else {}
    address = API + path.format(uid=unit.uid)
    answer = getattr(client, method)(address, body, "application/json", headers=headers)
    assert answer.status_code == status, answer.content
    entry = newest(event="changes:refused")
    assert (entry.success, entry.action, entry.resource_type, entry.actor_id) == (False, action, "rbac.unit", olga.pk)
    assert entry.error_message.startswith(reason)
    assert entry.resource_id == (str(unit.uid) if action else "")
    assert entry.request_id == answer["X-Request-ID"]
    row = client.get(f"{API}/trail?event=changes:refused").json()["results"][0]
    assert (row["success"], row["action"]) == (False, "UPDATE" if action else "CREATE")


def test_a_form_of_the_admin_that_is_not_valid_is_one_too(olga, client_for):
    unit = create_unit("Payments", parent=root_unit())
    client = client_for(olga, step_up=True)
    assert client.post(f"/admin/rbac/unit/{unit.pk}/change/", {"name": ""}).status_code == 200
    entry = newest(event="changes:refused")
    assert (entry.success, entry.action, entry.resource_id) == (False, 1, str(unit.uid))
    assert "name" in entry.additional_data["fields"]


def test_strangers_can_not_fill_the_trail_with_failures(db):
    before = AuditEntry.objects.count()
    for _ in range(3):
        assert Client().post(f"{API}/units", {"name": ""}, "application/json").status_code == 401
    assert AuditEntry.objects.count() == before


def test_a_crash_is_an_entry_that_outlives_its_rollback(olga, client_for, monkeypatch):
    def crash(*args, **kwargs):
        with transaction.atomic():
            create_unit("half done", parent=root_unit())
            raise RuntimeError("hunter2")

    monkeypatch.setattr("rbac.services.save_unit", crash)
    client = client_for(olga, step_up=True)
    client.raise_request_exception = False
    body = {"name": "x", "kind": "team", "parent": str(root_unit().uid)}
    answer = client.post(f"{API}/units", body, "application/json")
    assert answer.status_code == 500
    entry = newest(event="requests:failed")
    assert (entry.success, entry.error_message, entry.actor_id) == (False, "RuntimeError", olga.pk)
    assert "hunter2" not in str(entry.details)
    assert not Unit.objects.filter(name="half done").exists()


# --- commands ---


def test_a_command_is_an_entry_that_names_the_os_account(tmp_path):
    """On a database of its own: the tests' may be in the memory of this process."""
    home = tmp_path / "home"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OPSSIGHT_", "DJANGO_"))}
    run = lambda *args: subprocess.run(  # noqa: E731
        [sys.executable, "manage.py", *args], env={**clean, "OPSSIGHT_HOME": str(home)}, capture_output=True, text=True
    )
    assert run("migrate").returncode == 0
    assert run("explain_access", "--user", "nobody@example.org", "--action", "findings:read").returncode != 0
    said = run(
        "shell", "-c",
        "from audit.models import AuditEntry as E\n"
        "for e in E.objects.filter(event='commands:run').order_by('id'):\n"
        "    print(e.additional_data['command'], e.success, e.actor_kind, e.actor_label, bool(e.request_id))",
    ).stdout  # fmt: skip
    who = command("migrate").label
    assert f"migrate True command {who} True" in said
    assert f"explain_access False command {who.replace('migrate', 'explain_access')} True" in said


# --- tasks ---


@shared_task(name="tests.rename_unit")
def rename_unit(pk):
    unit = Unit.objects.get(pk=pk)
    unit.name = f"{unit.name} 2"
    unit.save()


def test_a_task_acts_as_the_system_under_the_request_that_asked_for_it(eve):
    unit = create_unit("Payments", parent=root_unit())
    sent = {}
    with acting(Actor(kind="user", user=eve, label=eve.email, request_id="r" * 32)):
        from celery.signals import before_task_publish

        before_task_publish.send(sender="x", headers=sent)
        assert sent == {REQUEST_ID: "r" * 32}
        current_app.tasks["tests.rename_unit"].apply([unit.pk], headers=sent)
        inside = newest(resource_type="rbac.unit")
        assert actors.current().user == eve
    assert (inside.actor_kind, inside.actor_id, inside.request_id) == ("system", None, "r" * 32)
    current_app.tasks["tests.rename_unit"].apply([unit.pk])
    assert newest(resource_type="rbac.unit").request_id == ""
    assert actors.current() == actors.SYSTEM


@pytest.mark.django_db(transaction=True)
def test_the_request_id_travels_with_the_message():
    """Through a broker in memory and a worker in a thread."""
    from celery.contrib.testing.worker import start_worker

    seen = []

    @shared_task(name="tests.see")
    def see():
        seen.append(actors.current())

    with acting(Actor(kind="command", label="x", request_id="q" * 32)):
        current_app.send_task("tests.see")
    with start_worker(current_app, perform_ping_check=False, pool="solo"):
        for _ in range(100):
            if seen:
                break
            threading_wait()
    assert [(actor.kind, actor.request_id) for actor in seen] == [("system", "q" * 32)]


def threading_wait():
    import threading

    threading.Event().wait(0.05)


# --- by hand ---


def test_log_action_writes_an_entry_under_the_seeds_names(olga, client_for):
    info = {"ip": "2001:DB8::1", "user_agent": "x" * 600}
    log_action(
        str(olga.pk), "DELETE", "shop.order", "42", {"state": "paid", "n": 1}, {"n": 1}, info, event="shop:closed"
    )
    row = client_for(olga).get(f"{API}/trail?event=shop:closed").json()["results"][0]
    expected = {
        "user_id": str(olga.pk), "action": "DELETE", "resource_type": "shop.order", "resource_id": "42",
        "old_values": {"state": "paid"}, "new_values": {"state": None}, "ip_address": "2001:db8::1", "success": True,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert len(row["user_agent"]) == 500


@pytest.mark.parametrize(
    ("user", "action", "info"),
    [(None, "delete", None), (None, "X", None), (10**9, "READ", None), (None, "READ", {"ip": "<script>"})],
)
def test_log_action_refuses_what_it_can_not_write(db, user, action, info):
    before = AuditEntry.objects.count()
    with pytest.raises(ValueError, match=r"is not an action|there is no account|does not appear"):
        log_action(user, action, "x.y", "1", request_info=info)
    assert AuditEntry.objects.count() == before


def test_an_impersonators_entries_keep_both_names_after_both_are_deleted(eve, adam):
    with acting_as(eve), acting_as(adam):
        create_unit("Payments", parent=root_unit())
    pks = (adam.pk, eve.pk)
    eve.delete()
    adam.delete()
    entry = newest(resource_type="rbac.unit")
    assert (entry.actor_id, entry.impersonator_id) == pks
    assert (entry.actor_label, entry.person["impersonator"]) == ("adam@example.org", "Eve")
    assert entry.mac == entry.expected_mac()


# --- PostgreSQL's second look ---

postgresql = pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has one writer")


def sql(*statements):
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@postgresql
@pytest.mark.django_db(transaction=True)
def test_a_change_past_the_application_becomes_an_entry(client_for):
    from tests.conftest import make_person

    olga = make_person("Olga", "officer")
    unit = create_unit("Payments", parent=root_unit())
    assert watch.tell() == 0
    sql(f"UPDATE rbac_unit SET name = 'x' WHERE id = {unit.pk}")
    sql("DELETE FROM rbac_roleassignment")
    assert watch.tell() == 3
    changed, deleted = AuditEntry.objects.filter(event="trail:unattributed_change").order_by("resource_type")[::-1]
    assert (changed.resource_type, changed.resource_id, changed.action) == ("rbac.unit", str(unit.uid), 1)
    assert changed.details["rows"] == 1
    assert (deleted.resource_type, deleted.action, deleted.details["rows"]) == ("rbac.roleassignment", 2, 2)
    assert events.registry["trail:unattributed_change"].severity == "critical"
    assert olga.is_active
    assert watch.tell() == 0


@postgresql
@pytest.mark.django_db(transaction=True)
def test_one_told_row_does_not_cover_another_of_the_transaction():
    one, two = (create_unit(name, parent=root_unit()) for name in ("one", "two"))
    with transaction.atomic():
        one.name = "first"
        one.save()
        with transaction.atomic():  # a savepoint is the same transaction
            two.name = "second"
            two.save()
    assert watch.tell() == 0
    with transaction.atomic():
        one.name = "again"
        one.save()
        sql(f"UPDATE rbac_unit SET name = 'x' WHERE id = {two.pk}")
    assert watch.tell() == 1
    assert newest(event="trail:unattributed_change").resource_id == str(two.uid)


@postgresql
@pytest.mark.django_db(transaction=True)
def test_the_application_is_never_flagged():
    """Creations, changes, links from both sides, deletions with what hangs on them, ignored fields, rollbacks."""
    from django.contrib.auth.models import Group

    from tests.conftest import enrolled, make_person

    person = make_person("Eve", "developer")
    enrolled(person)
    group = Group.objects.create(name="a")
    group.user_set.add(person)
    person.groups.set([Group.objects.create(name="b"), group])
    group.delete()
    person.last_login = person.created_at
    person.save()
    person.assignments.all().delete()
    sql("UPDATE accounts_user SET last_login = now()")
    with pytest.raises(RuntimeError), transaction.atomic():
        sql("UPDATE accounts_user SET name = 'x'")
        raise RuntimeError
    person.delete()
    assert watch.tell() == 0
    assert watch.is_installed(connection)


@postgresql
def test_missing_triggers_are_told_and_come_back(db):
    sql("DROP TRIGGER audit_watch_rbac_unit_update ON rbac_unit")
    assert not watch.is_installed(connection)
    watch.install(connection)
    assert watch.is_installed(connection)
