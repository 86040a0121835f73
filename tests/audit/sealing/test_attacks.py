"""Every way we know to change the trail by raw SQL, what finds it, and what is needed to find it.

D has the database, K also the keys. `pytest -s -k the_table` prints the table.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from django.conf import settings as configured
from django.db import connection

from audit import verify
from audit.canonical import canonical
from audit.models import AuditEntry, AuditPersonal
from audit.sealing.models import Checkpoint, Leaf
from audit.sealing.sealer import seal
from audit.sealing.verification import verify_log
from opssight.kernel.events import registry
from tests.audit.sealing.conftest import Log, sql

ENTRY, SIDE, LEAF, CHECKPOINT, PENDING = (
    "audit_auditentry", "audit_auditpersonal", "sealing_leaf", "sealing_checkpoint", "sealing_pending",
)  # fmt: skip


@dataclass(frozen=True)
class Attack:
    name: str
    who: str
    act: Callable[[], None]
    alone: set[str]
    anchor: set[str]
    receipts: set[str]


ATTACKS: list[Attack] = []


def attack(name: str, alone: str = "", anchor: str = "", receipts: str = "", who: str = "D") -> Callable:
    """`alone`, `anchor`, `receipts`: the problems found with the signatures alone, and what each evidence adds."""

    def add(act: Callable[[], None]) -> Callable[[], None]:
        ATTACKS.append(Attack(name, who, act, set(alone.split()), set(anchor.split()), set(receipts.split())))
        return act

    return add


# --- the tools of an attacker -------------------------------------------------------------------------------------


def at(back: int) -> Leaf:
    """The leaf so many places before the end."""
    return Leaf.objects.get(position=Leaf.objects.count() - 1 - back)


def set_entry(leaf: Leaf, column: str, value: object) -> None:
    sql(f"UPDATE {ENTRY} SET {column} = %s WHERE id = %s", value, leaf.entry_id)


def drop_entry(pk: int) -> None:
    sql(f"DELETE FROM {SIDE} WHERE entry_id = %s", pk)
    sql(f"DELETE FROM {ENTRY} WHERE id = %s", pk)


def drop_leaf(position: int) -> None:
    sql(f"DELETE FROM {LEAF} WHERE position = %s", position)


def hash_of(pk: int) -> bytes:
    return verify.leaf_hash(canonical(AuditEntry.objects.get(pk=pk).covered()))


def set_hash(leaf: Leaf) -> None:
    sql(f"UPDATE {LEAF} SET hash = %s WHERE position = %s", hash_of(leaf.entry_id), leaf.position)


def copy_entry(pk: int, **values: object) -> int:
    """A new row like another, by raw SQL, with a uid of its own."""
    columns = [field.column for field in AuditEntry._meta.concrete_fields if field.column != "id"]
    values = {"uid": secrets.token_hex(16), **values}
    taken = ", ".join("%s" if column in values else column for column in columns)
    given = [values[column] for column in columns if column in values]
    sql(f"INSERT INTO {ENTRY} ({', '.join(columns)}) SELECT {taken} FROM {ENTRY} WHERE id = %s", *given, pk)
    new = AuditEntry.objects.latest("pk").pk
    side = AuditPersonal.objects.get(entry_id=pk)
    AuditPersonal.objects.create(entry_id=new, data=side.data, salt=side.salt)
    return new


def unqueue(pk: int) -> None:
    sql(f"DELETE FROM {PENDING} WHERE entry_id = %s", pk)


def append_leaf(pk: int) -> None:
    sql(f"INSERT INTO {LEAF} (position, entry_id, hash, quarantined) VALUES (%s, %s, %s, %s)",
        Leaf.objects.count(), pk, hash_of(pk), False)  # fmt: skip


def truncate(size: int) -> None:
    """Back to a log of `size` entries."""
    for leaf in Leaf.objects.filter(position__gte=size):
        drop_entry(leaf.entry_id)
    sql(f"DELETE FROM {LEAF} WHERE position >= %s", size)
    sql("DELETE FROM sealing_node WHERE (position + 1) * 256 > %s", size)


def make_anew() -> None:
    """All hashes and checkpoints again, by the sealer itself, with whatever keys are set."""
    for table in (LEAF, "sealing_node", CHECKPOINT, PENDING):
        sql(f"DELETE FROM {table}")
    sql(f"INSERT INTO {PENDING} (entry_id) SELECT id FROM {ENTRY}")
    seal()


def write_unsealed() -> AuditEntry:
    registry["findings:raised"].emit(number=99)
    return AuditEntry.objects.latest("pk")


# --- attacks on sealed entries ------------------------------------------------------------------------------------


@attack("01 edit a field of a sealed entry", "entry_changed mac_wrong", receipts="")
def _() -> None:
    set_entry(at(9), "event", "findings:fixed")


@attack("02 edit the actor alone", "entry_changed mac_wrong")
def _() -> None:
    set_entry(at(9), "actor_id", 4711)


@attack("03 backdate", "entry_changed mac_wrong")
def _() -> None:
    set_entry(
        at(9), "timestamp", "2020-01-01 00:00:00+00:00" if connection.vendor != "sqlite" else "2020-01-01 00:00:00"
    )


@attack("04 edit an entry and its leaf", "mac_wrong root_wrong", "anchor_differs")
def _() -> None:
    set_entry(at(9), "event", "findings:fixed")
    set_hash(at(9))


@attack("05 delete a sealed entry", "entry_missing", receipts="number_gap receipt_missing")
def _() -> None:
    drop_entry(at(9).entry_id)


@attack("06 delete an entry and its leaf", "leaf_gap root_wrong", "anchor_differs", "number_gap receipt_missing")
def _() -> None:
    drop_entry(at(9).entry_id)
    drop_leaf(at(9).position)


@attack(
    "07 the same, and renumber", "root_wrong tail_missing", "anchor_differs anchor_ahead", "number_gap receipt_missing"
)
def _() -> None:
    leaf = at(9)
    drop_entry(leaf.entry_id)
    drop_leaf(leaf.position)
    for later in Leaf.objects.filter(position__gt=leaf.position).order_by("position"):
        sql(f"UPDATE {LEAF} SET position = position - 1 WHERE position = %s", later.position)


@attack("08 swap two leaves", "root_wrong", "anchor_differs")
def _() -> None:
    one, other = at(9), at(8)
    for position, to in ((one.position, 10**9), (other.position, one.position), (10**9, other.position)):
        sql(f"UPDATE {LEAF} SET position = %s WHERE position = %s", to, position)


@attack("09 swap the contents of two entries", "entry_changed mac_wrong")
def _() -> None:
    one, other = AuditEntry.objects.get(pk=at(9).entry_id), AuditEntry.objects.get(pk=at(8).entry_id)
    sql(f"UPDATE {ENTRY} SET timestamp = (SELECT timestamp FROM {ENTRY} WHERE id = %s) WHERE id = %s", other.pk, one.pk)
    set_entry(at(8), "request_id", "another")


@attack("10 cut off the last entries", "tail_missing", "anchor_ahead", "number_gap receipt_missing")
def _() -> None:
    truncate(Leaf.objects.count() - 3)


@attack("11 go back to an older checkpoint", "", "anchor_ahead", "number_gap receipt_missing")
def _() -> None:
    newest, older = Checkpoint.objects.order_by("-pk")[:2]
    truncate(older.size)
    sql(f"DELETE FROM {CHECKPOINT} WHERE id = %s", newest.pk)


@attack("12 insert a forged entry", "entry_not_in_log")
def _() -> None:
    unqueue(copy_entry(at(9).entry_id, event="findings:fixed"))


@attack("13 insert one with a leaf at the end", "mac_wrong unsigned_leaves")
def _() -> None:
    pk = copy_entry(at(9).entry_id, event="findings:fixed")
    unqueue(pk)
    append_leaf(pk)


@attack("14 remove a checkpoint", "checkpoint_chain", "checkpoint_missing")
def _() -> None:
    sql(f"DELETE FROM {CHECKPOINT} WHERE id = %s", Checkpoint.objects.order_by("-pk")[1].pk)


@attack("15 remove all checkpoints", "unsigned_leaves", "checkpoint_missing")
def _() -> None:
    sql(f"DELETE FROM {CHECKPOINT}")


@attack(
    "16 make all anew with another key",
    "checkpoint_signature mac_wrong",
    "anchor_ahead anchor_differs checkpoint_missing",
    "number_gap receipt_missing",
)
def _() -> None:
    entry = at(9).entry_id
    drop_entry(entry)
    own = configured.TRAIL_SIGNING_KEY, configured.TRAIL_KEY
    configured.TRAIL_SIGNING_KEY, configured.TRAIL_KEY = secrets.token_bytes(32), secrets.token_hex(32)
    for row in AuditEntry.objects.all():
        sql(f"UPDATE {ENTRY} SET mac = %s WHERE id = %s", row.expected_mac(), row.pk)
    make_anew()
    configured.TRAIL_SIGNING_KEY, configured.TRAIL_KEY = own


@attack(
    "17 make all anew with the stolen keys",
    "",
    "anchor_ahead anchor_differs checkpoint_missing",
    "number_gap receipt_missing",
    who="K",
)
def _() -> None:
    drop_entry(at(9).entry_id)
    make_anew()


# --- attacks before the sealing -----------------------------------------------------------------------------------


@attack("18 delete an entry that waits", "pending_without_entry", receipts="number_gap receipt_missing")
def _() -> None:
    drop_entry(write_and_keep().pk)


@attack("19 delete it with its outbox row", "", "", "number_gap receipt_missing")
def _() -> None:
    entry = write_and_keep()
    drop_entry(entry.pk)
    unqueue(entry.pk)


@attack("20 edit an entry that waits", "mac_wrong")
def _() -> None:
    sql(f"UPDATE {ENTRY} SET event = 'findings:fixed' WHERE id = %s", write_and_keep().pk)


@attack("20b edit an entry that waits, then it is sealed", "quarantined")
def _() -> None:
    sql(f"UPDATE {ENTRY} SET event = 'findings:fixed' WHERE id = %s", write_and_keep().pk)
    seal()


@attack("21 drop the outbox row", "entry_not_in_log")
def _() -> None:
    unqueue(write_and_keep().pk)


@attack("22 repeat a sealed entry as a new row", "mac_wrong")
def _() -> None:
    copy_entry(at(9).entry_id)


@attack("23 null becomes an empty value", "entry_changed mac_wrong")
def _() -> None:
    set_entry(at(9), "changes", "{}")
    set_entry(at(9), "actor_id", 0)


# --- attacks on checkpoints and side rows -------------------------------------------------------------------------


@attack("24 edit a checkpoint's size", "checkpoint_form")
def _() -> None:
    sql(f"UPDATE {CHECKPOINT} SET size = size + 1 WHERE id = %s", Checkpoint.objects.latest("pk").pk)


@attack("25 swap two notes", "checkpoint_chain checkpoint_form checkpoint_time unsigned_leaves", "checkpoint_missing")
def _() -> None:
    one, other = Checkpoint.objects.order_by("-pk")[:2]
    for checkpoint, note in ((one, other.note), (other, one.note)):
        sql(f"UPDATE {CHECKPOINT} SET note = %s WHERE id = %s", note, checkpoint.pk)


@attack("26 empty the log", "", "anchor_ahead", "number_gap receipt_missing")
def _() -> None:
    for table in (SIDE, ENTRY, LEAF, "sealing_node", CHECKPOINT, PENDING):
        sql(f"DELETE FROM {table}")


@attack("27 insert a forged row that the sealer seals", "quarantined")
def _() -> None:
    copy_entry(at(9).entry_id, event="findings:fixed")
    seal()


@attack("28 edit the note of a checkpoint", "checkpoint_signature checkpoint_time", "checkpoint_missing")
def _() -> None:
    newest = Checkpoint.objects.latest("pk")
    body = verify.Checkpoint.parse(newest.note)[0]
    sql(f"UPDATE {CHECKPOINT} SET note = %s WHERE id = %s",
        newest.note.replace(body.time, "2020-01-01T00:00:00.000000Z"), newest.pk)  # fmt: skip


@attack("29 swap the personal parts of two entries", "personal_changed")
def _() -> None:
    one, other = (AuditPersonal.objects.get(entry_id=at(back).entry_id) for back in (9, 8))
    for side, to in ((one, other), (other, one)):
        side = AuditPersonal.objects.get(pk=side.pk)
        sql(f"UPDATE {SIDE} SET salt = %s WHERE entry_id = %s", to.salt, side.entry_id)


@attack("30 edit a personal part", "personal_changed")
def _() -> None:
    sql(f"UPDATE {SIDE} SET data = %s WHERE entry_id = %s", '{"actor": "somebody else"}', at(9).entry_id)


@attack("31 delete a personal part without an erasure", "personal_missing")
def _() -> None:
    sql(f"DELETE FROM {SIDE} WHERE entry_id = %s", at(9).entry_id)


@attack("32 forge the erasure too", "personal_missing mac_wrong")
def _() -> None:
    sql(f"DELETE FROM {SIDE} WHERE entry_id = %s", at(9).entry_id)
    data = f'{{"positions": [[0, {at(0).position}]]}}'
    copy_entry(at(8).entry_id, event="gdpr:erased", additional_data=data)


@attack("33 edit a stored node", "root_wrong")
def _() -> None:
    LOG[0].write(256)
    sql("UPDATE sealing_node SET hash = %s", b"\0" * 32)


@attack("34 empty the log and begin a new one with the stolen keys", "", "anchor_ahead",
        "number_gap receipt_missing", who="K")  # fmt: skip
def _() -> None:
    for table in (SIDE, ENTRY, LEAF, "sealing_node", CHECKPOINT, PENDING):
        sql(f"DELETE FROM {table}")
    write_unsealed()
    seal()


def write_and_keep() -> AuditEntry:
    """An entry that waits, of which the log has the receipt."""
    entry = write_unsealed()
    LOG[0].keep_receipts()
    return entry


LOG: list[Log] = []


def found(log: Log, *, anchor: bool = False, receipts: bool = False) -> set[str]:
    report, _ = verify_log(
        anchors=[str(log.anchor)] if anchor else [], receipts=[str(log.receipts)] if receipts else []
    )
    assert not report.error
    assert (report.verdict == "ok") == (report.counts == {})
    return set(report.counts) - {"rollup_wrong"}  # who changes entries changes the figures with them


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda one: one.name)
def test_each_attack_is_found_and_named(attack, log, unguarded):
    assert found(log, anchor=True, receipts=True) == set()
    LOG[:] = [log]
    attack.act()
    gaps = {"number_gap"} if connection.vendor == "sqlite" else set()
    alone = found(log) - {"number_gap"}
    with_anchor = found(log, anchor=True) - {"number_gap"}
    everything = found(log, anchor=True, receipts=True)
    print(f"| {attack.who} | {attack.name} | {' '.join(sorted(alone)) or '-'} | "
          f"{' '.join(sorted(with_anchor - alone))} | {' '.join(sorted(everything - with_anchor))} |")  # fmt: skip
    assert (alone, with_anchor - alone, everything - with_anchor) == (
        attack.alone, attack.anchor, attack.receipts - {"number_gap"} | (attack.receipts & gaps)
    )  # fmt: skip
