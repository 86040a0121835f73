"""Changes of rights in the same moment: they take turns, and the second is decided on what the first has left."""

from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import close_old_connections, connection
from django.urls import reverse

from accounts.models import User
from accounts.services import set_active
from rbac import role_book, services
from rbac.models import Role, RoleAssignment
from rbac.roles import BUILTIN
from tests.conftest import make_person

pytestmark = [
    pytest.mark.skipif(connection.vendor == "sqlite", reason="the tests' database in memory is one connection"),
    pytest.mark.django_db(transaction=True),
]
ROUNDS = 6


@pytest.fixture(autouse=True)
def _book(transactional_db: None) -> None:
    """A test that commits begins after a flush, which took the built-in roles along."""
    if Role.objects.count() < len(BUILTIN):
        role_book.sync_builtin_roles()


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Each on its own connection, begun together; what each returned or raised."""
    gate, results = Barrier(len(calls)), [None] * len(calls)

    def run(number: int, ask: Callable[[], Any]) -> None:
        try:
            gate.wait(timeout=20)
            results[number] = ask()
        except Exception as error:  # a deadlock too is looked at by the test
            results[number] = error
        finally:
            connection.close()

    threads = [Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    close_old_connections()
    return results


def sent(client: Any, method: str, path: str, data: Any = None, **headers: str) -> Callable[[], Any]:
    return lambda: getattr(client, method)(path, data, content_type="application/json", headers=headers)


def statuses(answers: list[Any]) -> list[Any]:
    return [getattr(answer, "status_code", answer) for answer in answers]


def test_of_two_administrators_who_revoke_each_other_one_stays(client_for):
    for number in range(ROUNDS):
        RoleAssignment.objects.filter(role__key="administrator").delete()
        pair = [make_person(f"{name}{number}", "administrator") for name in ("Ada", "Bob")]
        paths = [f"/api/v1/assignments/{p.assignments.get(role__key='administrator').uid}" for p in pair]
        clients = [client_for(person, step_up=True) for person in pair]
        answers = at_once(sent(clients[0], "delete", paths[1]), sent(clients[1], "delete", paths[0]))
        codes = statuses(answers)
        assert codes.count(204) == 1, codes
        assert set(codes) - {204} <= {401, 403, 404, 409}, codes
        assert len(services.administrators()) == 1


def test_a_right_given_to_a_group_does_not_pass_by_whoever_joins(olga, client_for):
    """Tina may add to groups and holds nothing else. Whichever comes first: with the right she can't add; or the right
    comes to a group with Eve in it, knowingly. Never is she let add after the right was given."""
    tina = make_person("Tina")
    names = {"groups:read", "groups:update", "users:read"}
    role_book.save_role(Role(key="groups", name="Groups"), permissions=names, parents=[])
    services.assign_role(tina, "groups", reason="runs groups")
    root, officer = services.root_unit(), Role.objects.get(key="officer")
    tinas, seen = client_for(tina, step_up=True), set()
    for number in range(ROUNDS):
        group, eve = Group.objects.create(name=f"g{number}"), make_person(f"Eve{number}")
        row = RoleAssignment(group=group, role=officer, unit=root, reason="leads")
        given, added = at_once(
            lambda row=row: services.save_assignment(row),
            sent(tinas, "post", f"/api/v1/groups/g{number}/members", {"user": str(eve.uid)}),
        )
        assert isinstance(given, RoleAssignment), given
        assert added.status_code in (200, 403), added.content
        assert group.user_set.exists() == (added.status_code == 200)
        seen.add(added.status_code)
        late = make_person(f"Late{number}")
        after = sent(tinas, "post", f"/api/v1/groups/g{number}/members", {"user": str(late.uid)})()
        assert after.status_code == 403
    assert seen


def test_an_open_turn_makes_whoever_joins_wait_for_what_it_gives(olga, client_for):
    """The right is written, and not committed, when she asks: her answer comes after it, and is decided on it."""
    tina, eve = make_person("Tina"), make_person("Eve")
    names = {"groups:read", "groups:update", "users:read"}
    role_book.save_role(Role(key="groups", name="Groups"), permissions=names, parents=[])
    services.assign_role(tina, "groups", reason="runs groups")
    group, client = Group.objects.create(name="Leads"), client_for(tina, step_up=True)
    answers: list[Any] = []

    def ask() -> None:
        answers.append(sent(client, "post", "/api/v1/groups/Leads/members", {"user": str(eve.uid)})())
        connection.close()

    thread = Thread(target=ask)
    with services.in_turn():
        role = Role.objects.get(key="officer")
        services.save_assignment(RoleAssignment(group=group, role=role, unit=services.root_unit(), reason="x"))
        thread.start()
        wait_for_a_waiter()
        assert answers == []
    thread.join(timeout=60)
    assert statuses(answers) == [403], answers[0].content
    assert not group.user_set.exists()


def test_whoever_is_revoked_meanwhile_revokes_nobody(client_for):
    """Bob's role is taken, and that is not committed, when he takes Ada's: he is heard after it."""
    ada, bob = (make_person(name, "administrator") for name in ("Ada", "Bob"))
    ask = sent(client_for(bob), "delete", f"/api/v1/assignments/{ada.assignments.get(role__key='administrator').uid}")
    results: list[Any] = []
    thread = Thread(target=lambda: results.extend(at_once(ask)))
    with services.in_turn():
        services.revoke_assignment(bob.assignments.get(role__key="administrator"))
        thread.start()
        wait_for_a_waiter()
    thread.join(timeout=60)
    assert statuses(results)[0] in (401, 403, 404), results
    assert services.administrators() == [ada]


def test_letting_somebody_out_and_changing_their_rights_do_not_wait_for_each_other(olga):
    """Both take the turn before they lock the account."""
    otto, results = make_person("Otto", "administrator"), []
    thread = Thread(target=lambda: results.extend(at_once(lambda: set_active(User.objects.get(pk=otto.pk), False))))
    with services.in_turn():
        thread.start()
        wait_for_a_waiter()
        services.assign_role(otto, "developer", reason="x")
    thread.join(timeout=60)
    assert results == [None]
    otto.refresh_from_db()
    assert not otto.is_active


def wait_for_a_waiter() -> None:
    """Until another connection waits for a lock of ours."""
    question = "SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    for _ in range(20_000):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(question)
            if cursor.fetchone()[0]:
                return
    raise AssertionError("nobody waits for the turn")


def test_changes_by_api_and_admin_of_the_same_rows_end_without_a_deadlock(olga, client_for):
    otto = make_person("Otto", "officer", "administrator")
    first, second = client_for(olga, step_up=True), client_for(otto, step_up=True)
    root = services.root_unit()
    for number in range(ROUNDS):
        eve = make_person(f"Eve{number}")
        row = services.assign_role(eve, "developer", reason="x")
        path, body = f"/api/v1/assignments/{row.uid}", {"reason": "again"}
        page = reverse("admin:accounts_user_change", args=[eve.pk])
        asked = {"user": str(eve.uid), "role": "auditor", "unit": str(root.uid), "reason": "x"}
        answers = at_once(
            sent(first, "patch", path, body, if_match="*"),
            sent(second, "delete", path),
            sent(first, "post", "/api/v1/assignments", asked),
            lambda page=page: second.post(page, {"name": "Eve"}),  # not active any more
        )
        assert not [a for a in answers if isinstance(a, Exception)], answers
        assert all(code < 500 for code in statuses(answers)), statuses(answers)
        assert answers[1].status_code == 204
        eve.refresh_from_db()
        assert not eve.is_active


def test_of_two_administrators_let_out_at_once_one_stays(client_for, olga):
    otto = make_person("Otto", "officer", "administrator")
    first, second = client_for(olga, step_up=True), client_for(otto, step_up=True)
    pages = [reverse("admin:accounts_user_change", args=[person.pk]) for person in (otto, olga)]
    answers = at_once(lambda: first.post(pages[0], {"name": "Otto"}), lambda: second.post(pages[1], {"name": "Olga"}))
    assert all(code in (302, 401, 403) for code in statuses(answers)), statuses(answers)
    assert len(services.administrators()) == 1
