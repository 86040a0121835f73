"""What the trail takes, what it hides, and that nothing changes it."""

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test import Client

from accounts.models import User
from audit import guard
from audit.canonical import canonical, clean, digest
from audit.models import AppendOnly, AuditEntry, AuditPersonal
from opssight.kernel import actor as actors
from opssight.kernel import events
from opssight.kernel.actor import Actor, acting, acting_as
from rbac.models import Unit
from rbac.services import create_unit, root_unit
from tests.conftest import PASSWORD


def newest(**kwargs: object) -> AuditEntry:
    return AuditEntry.objects.select_related("personal").filter(**kwargs).latest("id")


def test_creating_changing_and_deleting_leave_old_and_new_values(db):
    unit = create_unit("Payments", parent=root_unit())
    unit.name = "Billing"
    unit.save()
    pk = unit.pk
    unit.delete()
    rows = AuditEntry.objects.filter(resource_type="rbac.unit", object_id=pk).order_by("id")
    assert [row.get_action_display() for row in rows] == ["create", "update", "delete"]
    assert rows[0].changes["name"] == [None, "Payments"]
    assert rows[1].changes == {"name": ["Payments", "Billing"]}


def test_a_change_that_fails_leaves_no_entry(db):
    root_unit()
    before = AuditEntry.objects.count()
    with pytest.raises(IntegrityError), transaction.atomic():
        Unit.objects.create(name="Second", kind=Unit.Kind.COMPANY)
    assert AuditEntry.objects.count() == before


def test_secrets_are_kept_as_keyed_fingerprints(eve):
    entry = newest(resource_type="accounts.user", action=AuditEntry.Action.CREATE)
    assert entry.old_and_new["password"][1].startswith("••••")
    assert eve.password not in str(entry.old_and_new)
    first = entry.old_and_new["password"][1]
    eve.set_password("another passphrase")
    eve.save()
    old, new = newest(resource_type="accounts.user").old_and_new["password"]
    assert (old == first, old == new) == (True, False)


def test_what_names_a_person_stands_in_the_side_row_alone(eve):
    for entry in AuditEntry.objects.all():
        assert "eve@example.org" not in str(entry.covered())
    entry = newest(resource_type="accounts.user", action=AuditEntry.Action.CREATE)
    assert entry.old_and_new["email"] == [None, "eve@example.org"]
    assert entry.changes["email"] is None


def test_erasing_the_side_row_keeps_every_proof(eve):
    entry = newest(resource_type="accounts.user")
    side = entry.personal
    assert digest(side.salt, canonical(side.content())) == entry.personal_digest
    side.delete()
    entry = AuditEntry.objects.get(pk=entry.pk)
    assert entry.expected_mac() == entry.mac
    assert entry.person == {}
    assert str(entry)


def test_the_mac_is_made_from_what_is_read_back(olga):
    for entry in AuditEntry.objects.all():
        assert entry.expected_mac() == entry.mac


@pytest.mark.parametrize(
    ("column", "value"),
    [("event", "'forged:entry'"), ("success", "NOT success"), ("request_id", "'x'"), ("personal_digest", "'0'")],
)
def test_a_changed_column_breaks_the_mac(eve, column, value):
    entry = newest(resource_type="accounts.user")
    guard.remove(connection)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE audit_auditentry SET {column} = {value} WHERE id = {entry.pk}")
    guard.install(connection)
    entry = AuditEntry.objects.get(pk=entry.pk)
    assert entry.expected_mac() != entry.mac


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_auditentry SET event = 'forged:entry'",
        "DELETE FROM audit_auditentry",
        "UPDATE audit_auditpersonal SET salt = ''",
    ],
)
def test_the_database_itself_refuses_changes(eve, statement):
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_the_orm_refuses_changes(eve):
    entry = newest()
    for change in (
        entry.save,
        entry.delete,
        AuditEntry.objects.all().delete,
        lambda: AuditEntry.objects.update(event="forged:entry"),
    ):
        with pytest.raises(AppendOnly):
            change()


def test_the_guard_comes_back_after_a_migration(db):
    from audit.guard import install_after_migration

    guard.remove(connection)
    assert not guard.is_installed(connection)
    install_after_migration(using="default")
    assert guard.is_installed(connection)


def test_a_user_can_be_deleted_and_the_entries_stay(eve):
    with acting_as(eve):
        create_unit("Payments", parent=root_unit())
    entry, pk = newest(resource_type="rbac.unit"), eve.pk
    eve.delete()
    entry = AuditEntry.objects.get(pk=entry.pk)
    assert (entry.actor_id, entry.actor_label, entry.expected_mac()) == (pk, "eve@example.org", entry.mac)


def test_who_where_and_which_request_come_from_the_request(olga, client_for):
    response = client_for(olga).post("/sign-out", headers={"user-agent": "curl/8" + "x" * 600}, REMOTE_ADDR="10.1.2.3")
    entry = newest(event="sessions:ended")
    assert entry.actor_id == olga.pk
    assert entry.person["address"] == "10.1.2.3"
    assert entry.request_id == response["X-Request-ID"]
    assert len(entry.person["user_agent"]) == 500


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "address"),
    [
        ([], "203.0.113.9", "6.6.6.6", "203.0.113.9"),
        (["10.0.0.0/8"], "10.0.0.1", "6.6.6.6, 198.51.100.7", "198.51.100.7"),
        (["10.0.0.0/8"], "10.0.0.1", "6.6.6.6, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
        (["10.0.0.0/8"], "203.0.113.9", "6.6.6.6", "203.0.113.9"),
        (["10.0.0.0/8"], "10.0.0.1", "unknown", "10.0.0.1"),
        (["10.0.0.0/8"], "10.0.0.1", "", "10.0.0.1"),
        ([], "::ffff:203.0.113.9", "", "203.0.113.9"),
        ([], "", "6.6.6.6", None),
    ],
)
def test_the_address_is_the_first_hop_that_is_not_ours(db, settings, proxies, peer, forwarded, address):
    import ipaddress

    settings.TRUSTED_PROXIES = [ipaddress.ip_network(network) for network in proxies]
    headers = {"x-forwarded-for": forwarded} if forwarded else {}
    Client().post("/sign-in", {"username": "x@y.example", "password": "z"}, REMOTE_ADDR=peer, headers=headers)
    assert newest(event="sessions:refused").person["address"] == address


def test_nested_actors_give_way_to_the_outer_one(eve, adam):
    seen = []
    with acting(Actor(kind="command", label="outer")):
        with acting_as(eve):
            seen.append(actors.current().label)
            with acting_as(adam):
                seen.append(actors.current().label)
            seen.append(actors.current().label)
        seen.append(actors.current().label)
    assert seen == ["eve@example.org", "adam@example.org", "eve@example.org", "outer"]
    assert actors.current().kind == "system"


def test_a_denial_is_recorded_with_what_was_missing(eve, client_for):
    client_for(eve).get("/trail")
    entry = newest(event="access:denied")
    assert (entry.success, entry.actor_id, entry.additional_data) == (False, eve.pk, {"permission": "trail:read"})
    client_for(eve).get("/api/v1/trail")
    assert AuditEntry.objects.filter(event="access:denied").count() == 2


def test_bulk_changes_leave_one_entry_each(db):
    root = root_unit()
    units = [create_unit(f"unit {n}", parent=root) for n in range(3)]
    event = events.registry["findings:raised"]
    before = AuditEntry.objects.count()
    with acting(Actor(kind="system", label="Scanner")):
        events.bulk_record(event, ((unit, {"name": [None, unit.name]}) for unit in units))
        events.bulk_record(event, [(units[0], {"name": ["old", "new"]})])
    added = AuditEntry.objects.order_by("id")[before:]
    assert [entry.get_action_display() for entry in added] == ["create"] * 3 + ["update"]
    assert all(entry.expected_mac() == entry.mac for entry in added)
    assert {entry.actor_label for entry in added} == {"Scanner"}
    assert AuditPersonal.objects.count() == AuditEntry.objects.count()


@pytest.mark.parametrize("value", ["a\0b", "\ud800", 2**60, 1.5, float("nan"), {1: {2: 3}}, ("a", {"b"}), b"x"])
def test_any_value_becomes_one_that_both_databases_keep(eve, value):
    with acting_as(eve):
        events.registry["scans:started"].emit(target=eve, odd=value)
    entry = newest(event="scans:started")
    assert entry.expected_mac() == entry.mac
    assert entry.additional_data["odd"] == clean(value)


def test_canonical_json_is_sorted_and_bare():
    assert canonical({"b": [1, None, True], "a": "é"}) == '{"a":"é","b":[1,null,true]}'.encode()


def test_group_membership_is_followed(eve):
    from django.contrib.auth.models import Group

    eve.groups.add(Group.objects.create(name="auditors"))
    entry = newest(resource_type="accounts.user", action=AuditEntry.Action.UPDATE)
    assert entry.old_and_new["groups"]["operation"] == "add"
    assert entry.old_and_new["groups"]["objects"] == ["auditors"]


def test_the_password_is_nowhere_in_the_database(olga):
    assert User.objects.exists()
    Client().post("/sign-in", {"username": olga.email, "password": PASSWORD})
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            assert PASSWORD not in str(cursor.fetchall()), table
