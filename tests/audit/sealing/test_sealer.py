"""What the sealer makes of committed entries, and what it does with forged ones."""

import base64
import json
import logging
import secrets
from datetime import timedelta
from hashlib import sha256

import orjson
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from audit import guard, verify
from audit.canonical import canonical, clean
from audit.models import AuditEntry
from audit.sealing import entries as reading
from audit.sealing import keys, sealer
from audit.sealing.models import Checkpoint, Leaf, Node, Pending
from audit.sealing.sealer import CannotSeal, seal
from audit.sealing.tree import Growing
from opssight.kernel import events
from opssight.kernel.ids import new_uid
from tests.audit.sealing.reference import root_of


def write(number: int = 1) -> list[AuditEntry]:
    before = AuditEntry.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    for n in range(number):
        events.registry["findings:raised"].emit(number=n)
    return list(AuditEntry.objects.filter(pk__gt=before).order_by("pk"))


def run(statement: str, *values: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)


def forge(**columns: str) -> int:
    """A copy of the newest entry by a plain INSERT, with other SQL expressions for some columns; returns its id."""
    names = [field.column for field in AuditEntry._meta.concrete_fields if field.column != "id"]
    columns = {"uid": f"'{new_uid().hex}'", **columns}
    wanted = ", ".join(columns.get(name, f'"{name}"') for name in names)
    run(
        f"INSERT INTO audit_auditentry ({', '.join(names)}) SELECT {wanted} FROM audit_auditentry"
        " WHERE id = (SELECT max(id) FROM audit_auditentry)"
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(id) FROM audit_auditentry")
        return cursor.fetchone()[0]


@pytest.fixture
def unguarded(db):
    guard.remove(connection)
    yield
    guard.install(connection)


@pytest.fixture
def sealed(db) -> int:
    """A log of which everything is sealed; its size."""
    write(3)
    seal()
    return Leaf.objects.count()


def leaves_from(position: int) -> list[Leaf]:
    return list(Leaf.objects.filter(position__gte=position).order_by("position"))


def consistent() -> None:
    """The invariants of the log, against an independent tree."""
    leaves = leaves_from(0)
    assert [leaf.position for leaf in leaves] == list(range(len(leaves)))
    hashes = [bytes(leaf.hash) for leaf in leaves]
    previous, size = b"", 0
    for checkpoint in Checkpoint.objects.order_by("pk"):
        note, _ = verify.Checkpoint.parse(checkpoint.note)
        assert (note.size, note.root) == (checkpoint.size, root_of(hashes[: note.size]))
        assert note.previous == previous
        assert note.size >= size
        assert keys.is_ours(checkpoint.note)
        previous, size = sha256(checkpoint.note.encode()).digest(), note.size
    assert size == len(leaves)
    for node in Node.objects.all():
        width = 1 << node.level
        assert bytes(node.hash) == root_of(hashes[node.position * width : (node.position + 1) * width])


# --- honest entries ---


def test_committed_entries_get_positions_without_gaps_in_the_order_of_their_ids(sealed):
    entries = write(5)
    assert seal() == 5
    leaves = leaves_from(sealed)
    assert [leaf.position for leaf in leaves] == list(range(sealed, sealed + 5))
    assert [leaf.entry_id for leaf in leaves] == [entry.pk for entry in entries]
    for leaf, entry in zip(leaves, entries, strict=True):
        assert bytes(leaf.hash) == sha256(b"\x00" + canonical(entry.covered())).digest()
        assert not leaf.quarantined
    assert not Pending.objects.exists()
    consistent()


def test_nothing_to_do_costs_two_small_queries(sealed, django_assert_num_queries):
    with django_assert_num_queries(2) as asked:
        assert seal() == 0
    assert "LIMIT 1" in asked.captured_queries[0]["sql"]


def test_what_is_rolled_back_waits_for_nobody(sealed):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        write(2)
        raise ZeroDivisionError
    assert not Pending.objects.exists()
    write()
    assert seal() == 1
    assert Leaf.objects.count() == sealed + 1


def test_a_long_backlog_is_sealed_in_batches_with_a_checkpoint_each(sealed, monkeypatch):
    monkeypatch.setattr(sealer, "BATCH", 100)
    forge_free = write(2)
    AuditEntry.objects.bulk_create(prepared(298))
    assert seal() == 300
    sizes = list(Checkpoint.objects.order_by("-pk").values_list("size", flat=True)[:3])
    assert sizes == [sealed + 300, sealed + 200, sealed + 100]
    assert Leaf.objects.filter(quarantined=True).count() == 0
    assert forge_free[0].leaf.position == sealed
    assert Node.objects.filter(level=8).exists()
    consistent()


def prepared(number: int) -> list[AuditEntry]:
    entries = [AuditEntry(event="findings:raised", additional_data={"number": n}) for n in range(number)]
    for entry in entries:
        entry.prepare()
    return entries


def test_a_checkpoint_is_a_signed_note_that_anybody_can_check(sealed):
    note = Checkpoint.objects.newest().note
    body, signature = note.split("\n\n")
    lines = body.split("\n")
    assert lines[:2] == ["localhost/trail", str(sealed)]
    assert lines[3].startswith("time 2")
    assert lines[4].startswith("previous")
    dash, name, encoded = signature.rstrip("\n").split(" ")
    assert (dash, name) == ("\u2014", "localhost/trail")
    raw = base64.b64decode(encoded)
    _, key_id, public = str(keys.public_key()).split("+", 2)
    assert raw[:4].hex() == key_id
    public_key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public)[1:])
    public_key.verify(raw[4:], body.encode() + b"\n")
    with pytest.raises(InvalidSignature):
        public_key.verify(raw[4:], body.encode())


def test_every_hour_there_is_a_checkpoint_even_when_nothing_happened(sealed, monkeypatch):
    newest, now = Checkpoint.objects.newest(), timezone.now()
    monkeypatch.setattr(sealer.timezone, "now", lambda: now + timedelta(minutes=59))
    seal()
    assert Checkpoint.objects.newest() == newest
    monkeypatch.setattr(sealer.timezone, "now", lambda: now + timedelta(minutes=61))
    assert seal() == 0
    heartbeat = Checkpoint.objects.newest()
    assert (heartbeat.pk > newest.pk, heartbeat.size) == (True, sealed)
    assert verify.Checkpoint.parse(heartbeat.note)[0].previous == verify.note_digest(newest.note)
    seal()
    assert Checkpoint.objects.newest() == heartbeat
    consistent()


def test_the_logs_time_does_not_go_back_with_the_clock(sealed, monkeypatch):
    before, now = Checkpoint.objects.newest(), timezone.now()
    monkeypatch.setattr(sealer.timezone, "now", lambda: now - timedelta(days=3))
    write()
    seal()
    after = Checkpoint.objects.newest()
    assert after.size == sealed + 1
    assert after.at == before.at


def test_a_key_that_was_changed_is_named_or_nothing_is_signed(sealed, settings):
    old = str(keys.public_key())
    settings.TRAIL_SIGNING_KEY = secrets.token_bytes(32)
    write()
    with pytest.raises(CannotSeal, match="OPSSIGHT_TRAIL_OLD_KEYS"):
        seal()
    settings.TRAIL_OLD_KEYS = [old]
    assert seal() > 0
    consistent()


def test_every_way_into_the_table_leads_through_the_outbox(sealed):
    write()
    AuditEntry.objects.bulk_create(prepared(2))
    forge()
    assert Pending.objects.count() == 4


def test_entries_that_came_while_there_was_no_trigger_are_sealed_too(sealed):
    guard.remove(connection)
    write(2)
    assert not Pending.objects.exists()
    assert not guard.is_installed(connection)
    guard.install(connection)
    assert seal() == 2
    guard.install(connection)
    assert not Pending.objects.exists()


# --- the quick way to an entry's bytes ---

ANY_TEXT = st.text(st.characters(codec=None), max_size=30)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | ANY_TEXT | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(ANY_TEXT, ANY_JSON, max_size=5))
@example({'\x7f\x1f\u2028/"\\': ["\U0001f600", 2**53 - 1, -(2**53) + 1, {}], "é": {"\uffff": 1, "\U00010000": 2}})
def test_orjson_writes_what_an_entry_may_hold_as_the_standard_library_does(values):
    values = clean(values)
    assert orjson.dumps(values, option=orjson.OPT_SORT_KEYS) == canonical(values)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(max_size=60),
    changes=st.none() | st.dictionaries(st.text(max_size=10), st.lists(ANY_JSON, min_size=2, max_size=2), max_size=4),
    data=st.none() | st.dictionaries(st.text(max_size=10), ANY_JSON, max_size=4),
    action=st.sampled_from([None, 0, 1, 2, 3]),
    success=st.booleans(),
    at=st.datetimes(timezones=st.just(timezone.get_default_timezone())),
)
def test_the_quick_way_makes_the_bytes_of_the_definition(db, text, changes, data, action, success, at):
    text, changes, data = clean(text), clean(changes), clean(data)  # as all that is written
    entry = AuditEntry(
        event="findings:raised", object_pk=text, error_message=text, changes=changes, additional_data=data,
        action=action, success=success, timestamp=at, object_repr=text,
    )  # fmt: skip
    entry.save()
    [read] = list(reading._quickly([entry.pk], using="default"))
    assert read.data == canonical(AuditEntry.objects.get(pk=entry.pk).covered())
    assert read.genuine
    assert str(read.row.uid) == str(entry.uid)


def test_a_moment_that_was_given_a_zone_is_another_moment(db, unguarded):
    """SQLite takes any text; who reads it would see two hours less."""
    [entry] = write()
    if connection.vendor == "sqlite":
        run("UPDATE audit_auditentry SET timestamp = timestamp || '+02:00' WHERE id = %s", entry.pk)
    else:
        run("UPDATE audit_auditentry SET timestamp = timestamp - interval '2 hours' WHERE id = %s", entry.pk)
    [found] = reading.read([entry.pk], using="default")
    assert not found.genuine


# --- the tree ---


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 700), max_size=4))
def test_the_tree_grows_as_rfc_6962_defines_it(batches):
    hashes, tree, nodes = [], Growing(), []
    for number in batches:
        tree = Growing(tree.size, tree.packed())
        for _ in range(number):
            hashes.append(sha256(str(len(hashes)).encode()).digest())
            tree.push(hashes[-1])
        nodes += tree.completed
        assert tree.root() == root_of(hashes)
    assert [(level, position) for level, position, _ in nodes if level == 8] == [
        (8, position) for position in range(len(hashes) // 256)
    ]
    for level, position, digest in nodes:
        assert digest == root_of(hashes[position << level : (position + 1) << level])


def test_nodes_of_the_higher_levels_too():
    tree, leaf = Growing(), sha256(b"x").digest()
    for _ in range(1 << 17):
        tree.push(leaf)
    full = leaf
    for _ in range(16):
        full = verify.node_hash(full, full)
    assert [node for node in tree.completed if node[0] == 16] == [(16, 0, full), (16, 1, full)]


@pytest.mark.parametrize(("size", "peaks"), [(3, b"x" * 32), (0, b"x" * 32), (4, b""), (1, b"x" * 31)])
def test_peaks_that_do_not_fit_their_size(size, peaks):
    with pytest.raises(ValueError):
        Growing(size, peaks)


# --- forged entries ---


def quarantine_events() -> list[dict]:
    rows = AuditEntry.objects.filter(event="trail:quarantined").order_by("pk")
    return [row.additional_data for row in rows]


def test_a_forged_entry_is_quarantined_told_of_and_in_nobodys_way(sealed):
    write()
    forged = forge(event="'findings:fixed'")
    after = write()[0]
    assert seal() == 3
    marks = {leaf.entry_id: leaf.quarantined for leaf in leaves_from(sealed)}
    assert marks[forged]
    assert not marks[after.pk]
    assert quarantine_events() == [{"positions": [sealed + 1], "last": sealed + 1, "count": 1}]
    assert seal() == 1  # the entry that tells of it
    assert len(quarantine_events()) == 1
    forge(event="'findings:fixed'")
    forge(event="'findings:fixed'")
    seal()
    assert [said["count"] for said in quarantine_events()] == [1, 2]
    consistent()


def test_a_copy_of_an_entry_is_no_entry(sealed):
    write()
    forge()
    seal()
    assert [leaf.quarantined for leaf in leaves_from(sealed)] == [False, True]


def test_what_a_sealer_did_not_live_to_tell_the_next_one_tells(sealed, monkeypatch):
    monkeypatch.setattr(sealer, "_tell_quarantined", lambda: None)
    write()
    forge()
    seal()
    assert quarantine_events() == []
    monkeypatch.undo()
    forged_word = forge(event="'trail:quarantined'", additional_data="""'{"last": 1000000}'""")
    seal()
    assert quarantine_events()[-1]["count"] == 2  # and the forger's own word for it silences nothing
    assert Leaf.objects.get(entry_id=forged_word).quarantined


HOSTILE = {
    "both": {
        "a float": {"changes": """'{"a": 1.5}'"""},
        "a number beyond all bounds": {"additional_data": """'{"a": 1e400}'"""},
        "a number of 400 digits": {"additional_data": '\'{"a": ' + "7" * 400 + "}'"},
        "deep brackets": {"changes": "'" + "[" * 900 + "]" * 900 + "'"},
        "no schema": {"schema_v": "999"},
        "no MAC": {"mac": "''"},
        "a MAC of other letters": {"mac": "'é'"},
        "null in JSON": {"changes": "'null'"},
    },
    "postgresql": {
        "infinity": {"timestamp": "'infinity'"},
        "before all": {"timestamp": "'-infinity'"},
        "before Christ": {"timestamp": "'4000-01-01 BC'"},
        "after the year 9999": {"timestamp": "'20000-01-01'"},
        "at the edge": {"timestamp": "'9999-12-31 23:59:59.999999-15'"},
    },
    "sqlite": {
        "no time": {"timestamp": "'yesterday'"},
        "no uid": {"uid": "'not a uid'"},
        "bytes": {"event": "X'ff00'"},
        "a lone surrogate": {"changes": """'{"a": "\\ud800"}'"""},
        "bytes for a MAC": {"mac": "X'ff'"},
        "a word for a truth": {"success": "'maybe'"},
        "a word for a number": {"actor_id": "'somebody'"},
        "a huge number": {"schema_v": "9223372036854775807"},
    },
}
CASES = [(vendor, name) for vendor, cases in HOSTILE.items() for name in cases]


@pytest.mark.parametrize(("vendor", "name"), CASES, ids=[name for _, name in CASES])
def test_a_row_that_no_honest_writer_made_stops_nobody(sealed, vendor, name):
    if vendor not in ("both", connection.vendor):
        pytest.skip(f"only {vendor} stores that")
    before = write(2)
    hostile = forge(**HOSTILE[vendor][name])
    after = AuditEntry.objects.bulk_create(prepared(2))
    assert seal() == 5
    leaves = leaves_from(sealed)
    genuine = [leaf.entry_id for leaf in leaves if not leaf.quarantined]
    assert genuine[:4] == [*[entry.pk for entry in before], *[entry.pk for entry in after]]
    assert next(leaf for leaf in leaves if leaf.entry_id == hostile).quarantined
    seal()
    consistent()


def test_ids_may_be_chosen_and_all_are_sealed(sealed):
    last = write()[0].pk
    names = ", ".join(field.column for field in AuditEntry._meta.concrete_fields if field.column not in ("id", "uid"))
    for pk in (-5, 0, last + 10**12):
        run(
            f"INSERT INTO audit_auditentry (id, uid, {names})"
            f" SELECT {pk}, '{new_uid().hex}', {names} FROM audit_auditentry WHERE id = {last}"
        )
    assert seal() == 4
    assert set(Leaf.objects.filter(quarantined=True).values_list("entry_id", flat=True)) == {-5, 0, last + 10**12}


def test_an_entry_that_is_gone_leaves_its_row_in_the_outbox_and_blocks_nobody(sealed, monkeypatch, unguarded):
    monkeypatch.setattr(sealer, "BATCH", 2)
    guard.install(connection)
    gone = write(5)
    guard.remove(connection)
    run(f"DELETE FROM audit_auditpersonal WHERE entry_id >= {gone[0].pk}")
    run(f"DELETE FROM audit_auditentry WHERE id >= {gone[0].pk}")
    guard.install(connection)
    write()
    assert seal() == 1
    assert list(Pending.objects.order_by("pk").values_list("pk", flat=True)) == [entry.pk for entry in gone]
    run("DELETE FROM sealing_pending")


# --- a log that does not fit ---


def resign() -> None:
    checkpoint = Checkpoint.objects.newest()
    other = Ed25519PrivateKey.generate()
    body = checkpoint.note.partition("\n\n")[0] + "\n"
    signature = base64.b64encode(keys.public_key().id + other.sign(body.encode())).decode()
    note = f"{body}\n\u2014 localhost/trail {signature}\n"
    run("UPDATE sealing_checkpoint SET note = %s WHERE id = %s", note, checkpoint.pk)


def shorten() -> None:
    run("DELETE FROM sealing_leaf WHERE position = (SELECT max(position) FROM sealing_leaf)")


def lengthen() -> None:
    run(
        "INSERT INTO sealing_leaf (position, entry_id, hash, quarantined) SELECT position + 1, entry_id + 1000000,"
        " hash, quarantined FROM sealing_leaf ORDER BY position DESC LIMIT 1"
    )


def forget() -> None:
    run("DELETE FROM sealing_checkpoint WHERE id = (SELECT max(id) FROM sealing_checkpoint)")


DAMAGE = {
    "signed by another": resign,
    "the last leaf gone": shorten,
    "a leaf added": lengthen,
    "the newest checkpoint gone": forget,
    "all checkpoints gone": lambda: run("DELETE FROM sealing_checkpoint"),
    "another size": lambda: run("UPDATE sealing_checkpoint SET size = size - 1"),
    "no note": lambda: run("UPDATE sealing_checkpoint SET note = 'nothing'"),
    "other peaks": lambda: run("UPDATE sealing_checkpoint SET peaks = %s", b"x" * 32),
    "sealed and waiting again": lambda: run("INSERT INTO sealing_pending SELECT max(entry_id) FROM sealing_leaf"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_nothing_is_signed_on_top_of_a_log_that_does_not_fit(sealed, unguarded, damage):
    guard.install(connection)
    write(2)
    seal()
    guard.remove(connection)
    DAMAGE[damage]()
    guard.install(connection)
    write(2)
    leaves, checkpoints = Leaf.objects.count(), Checkpoint.objects.count()
    for _ in range(2):
        with pytest.raises(CannotSeal):
            seal()
    assert (Leaf.objects.count(), Checkpoint.objects.count()) == (leaves, checkpoints)
    told = AuditEntry.objects.filter(event="trail:stopped")
    assert [entry.success for entry in told] == [False]  # once, however often it is tried
    with pytest.raises(CommandError) as refused:
        call_command("seal_trail")
    assert refused.value.returncode == 3
    assert not sealer.catch_up()


# --- the database refuses ---


@pytest.mark.parametrize("table", ["sealing_leaf", "sealing_node", "sealing_checkpoint"])
@pytest.mark.parametrize("what", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_the_sealed_log_is_append_only(sealed, table, what):
    if "TRUNCATE" in what and connection.vendor == "sqlite":
        pytest.skip("SQLite has no TRUNCATE")
    if table == "sealing_node":
        Node(level=8, position=10**6, hash=b"x" * 32).save()
    column = {"sealing_leaf": "quarantined", "sealing_node": "level", "sealing_checkpoint": "size"}[table]
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        run(what.format(table, column, column))


def test_the_side_row_can_not_be_changed_nor_the_table_emptied(sealed):
    statements = ["UPDATE audit_auditpersonal SET salt = ''"]
    if connection.vendor == "postgresql":
        run("SET CONSTRAINTS ALL IMMEDIATE")  # what waits for the commit would refuse the TRUNCATE too
        statements.append("TRUNCATE audit_auditpersonal")
    for statement in statements:
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            run(statement)


# --- receipts, command, readiness ---


@pytest.fixture
def receipts():
    class Said(logging.Handler):
        def __init__(self):
            super().__init__()
            self.said = []

        def emit(self, record):
            self.said.append(record.said)

    handler, logger = Said(), logging.getLogger("opssight.receipt")
    logger.addHandler(handler)
    yield handler.said
    logger.removeHandler(handler)


def test_a_receipt_for_each_committed_entry_and_none_before(db, receipts, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        [first] = write()
        events.bulk_record(events.registry["findings:raised"], [(first, {"n": [None, 1]}), (first, {"n": [1, 2]})])
        assert receipts == []
    entries = AuditEntry.objects.filter(pk__gte=first.pk).order_by("pk")
    assert receipts == [{"uid": str(entry.uid), "mac": entry.mac} for entry in entries]
    assert len(receipts) == 3
    with pytest.raises(ZeroDivisionError), django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        write()
        raise ZeroDivisionError
    assert len(receipts) == 3


def test_the_command(sealed, capsys):
    write(2)
    with pytest.raises(SystemExit) as ended:
        call_command("seal_trail", json=True)
    said = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0
    assert (said["sealed"], said["size"], said["waiting"], said["anchors"]) == (2, sealed + 2, 0, [])
    assert said["checkpoint"] == Checkpoint.objects.newest().note
    with pytest.raises(SystemExit):
        call_command("seal_trail")
    assert "not anchored" in capsys.readouterr().out


def test_entries_that_wait_too_long_and_a_missing_heartbeat_are_not_ready(sealed):
    def answer() -> dict[str, str]:
        return next(check for check in Client().get("/readyz").json()["checks"] if check["check"] == "sealing")

    assert answer()["state"] == "ok"
    write()
    assert answer()["state"] == "ok"
    now = timezone.now()
    assert "wait" in sealer.problem(at=now + timedelta(minutes=3))
    seal()
    assert sealer.problem(at=now + timedelta(minutes=3)) == ""
    assert "no checkpoint since" in sealer.problem(at=now + timedelta(hours=3))
