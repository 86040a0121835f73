"""What the sealer makes of committed entries, and what it does with forged ones."""

from audit import verify
from audit.canonical import canonical
from audit.models import AuditEntry
from audit.sealing.models import Leaf, Pending
from audit.sealing.sealer import seal
from opssight.kernel.events import registry


def write(number: int = 1) -> list[AuditEntry]:
    before = AuditEntry.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    for n in range(number):
        registry["findings:raised"].emit(number=n)
    return list(AuditEntry.objects.filter(pk__gt=before).order_by("pk"))


def test_committed_entries_get_positions_without_gaps_in_the_order_of_their_ids(db):
    seal()
    start = Leaf.objects.count()
    entries = write(5)
    assert seal() == 5
    leaves = list(Leaf.objects.filter(position__gte=start).order_by("position"))
    assert [leaf.position for leaf in leaves] == list(range(start, start + 5))
    assert [leaf.entry_id for leaf in leaves] == [entry.pk for entry in entries]
    for leaf, entry in zip(leaves, entries, strict=True):
        assert bytes(leaf.hash) == verify.leaf_hash(canonical(entry.covered()))
        assert not leaf.quarantined
    assert not Pending.objects.exists()
    assert seal() == 0
