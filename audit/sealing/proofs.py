"""Inclusion and consistency proofs (RFC 6962 section 2.1), from leaves and the stored nodes: a few hundred rows each.

Whatever is answered was verified before: where the stored log does not fit the signed one, there is no proof to give.
"""

from collections.abc import Iterable
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Q

from audit import verify
from audit.models import AuditEntry
from audit.sealing.keys import public_keys
from audit.sealing.models import NODE_LEVELS, Checkpoint, Leaf, Node
from opssight.kernel.errors import Refusal

LOOK = "Run manage.py verify_trail."
Span = tuple[int, int]  # the leaves from … to before …; a subtree of the RFC, so it starts at a multiple of its size


class NoProof(Refusal):
    status = 400


class DoesNotFit(Refusal):
    status = 409


# --- which hashes: pure -------------------------------------------------------------------------------------------


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_path(position: int, start: int, end: int) -> list[Span]:
    """PATH of RFC 6962: the subtrees beside the way from the leaf up to the root over [start, end)."""
    if end - start == 1:
        return []
    middle = start + _split(end - start)
    if position < middle:
        return [*inclusion_path(position, start, middle), (middle, end)]
    return [*inclusion_path(position, middle, end), (start, middle)]


def consistency_path(first: int, start: int, end: int, *, known: bool = True) -> list[Span]:
    """SUBPROOF of RFC 6962: the subtrees that show the first `first` leaves as the beginning of those up to `end`.

    `known`: the verifier has the hash of this whole subtree already.
    """
    if first == end:
        return [] if known else [(start, end)]
    middle = start + _split(end - start)
    if first <= middle:
        return [*consistency_path(first, start, middle, known=known), (middle, end)]
    return [*consistency_path(first, middle, end, known=False), (start, middle)]


def full_subtrees(start: int, end: int) -> list[tuple[int, int]]:
    """[start, end) in full, aligned subtrees from left to right: (level, index), of leaves [index << level, …)."""
    found = []
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        found.append((level, start >> level))
        start += 1 << level
    return found


# --- reading them -------------------------------------------------------------------------------------------------


def subtree_hashes(wanted: Iterable[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    """The roots of full subtrees, each made of the leaves or nodes stored right below: one query for each stored level.

    DoesNotFit where a row is missing.
    """
    parts: dict[int, dict[tuple[int, int], range]] = {}
    for level, index in set(wanted):
        base = max(stored for stored in (0, *NODE_LEVELS) if stored <= level)
        width = 1 << level - base
        parts.setdefault(base, {})[level, index] = range(index * width, (index + 1) * width)
    found = {}
    for base, ranges in parts.items():
        rows: Any = Node.objects.filter(level=base) if base else Leaf.objects
        between = (Q(position__gte=span.start, position__lt=span.stop) for span in ranges.values())
        hashes = dict(rows.filter(reduce(or_, between)).values_list("position", "hash"))
        for subtree, span in ranges.items():
            tree = verify.Range()
            for position in span:
                if position not in hashes:
                    raise DoesNotFit(f"The stored log lacks {'node' if base else 'leaf'} {position}. {LOOK}")
                tree.push(bytes(hashes[position]))
            found[subtree] = tree.root()
    return found


def span_hashes(spans: list[Span]) -> list[bytes]:
    """The root over each span; one that is no full subtree (at the right edge) is folded from those it is made of."""
    subtrees = [full_subtrees(*span) for span in spans]
    known = subtree_hashes(subtree for some in subtrees for subtree in some)
    roots = []
    for some in subtrees:
        tree = verify.Range()
        tree.peaks = [(level, known[level, index]) for level, index in some]
        roots.append(tree.root())
    return roots


# --- what is answered ---------------------------------------------------------------------------------------------


def checkpoint_of(size: int | None = None) -> Checkpoint:
    """The newest checkpoint, or the newest one of `size` entries. NoProof where there is none."""
    checkpoints = Checkpoint.objects.all() if size is None else Checkpoint.objects.filter(size=size)
    found = checkpoints.newest()
    if found is None:
        raise NoProof("There is no checkpoint yet." if size is None else f"There is no checkpoint of {size} entries.")
    return found


def prove_entry(entry: AuditEntry, checkpoint: Checkpoint) -> dict[str, Any]:
    """That `entry` is in the log of `checkpoint`: what `verify.py` reads from a file. NoProof, DoesNotFit."""
    leaf = Leaf.objects.filter(entry=entry).first()
    if leaf is None:
        raise NoProof("This entry is not sealed yet. It will be within seconds; then ask again.")
    if leaf.position >= checkpoint.size:
        raise NoProof(
            f"This entry has position {leaf.position}: the checkpoint of {checkpoint.size} entries was made before it."
        )
    signed, key = _read(checkpoint)
    path = span_hashes(inclusion_path(leaf.position, 0, checkpoint.size))
    covered = entry.covered()
    if verify.root_with(verify.leaf_hash(verify.canonical(covered)), leaf.position, signed.size, path) != signed.root:
        raise DoesNotFit(f"The stored log does not fit the signed checkpoint of {signed.size} entries. {LOOK}")
    side = getattr(entry, "personal", None)
    return {
        "format": verify.ENTRY_PROOF,
        "key": str(key),
        "position": leaf.position,
        "entry": covered,
        "personal": {"salt": side.salt, "data": entry.person} if side else None,
        "proof": [verify.encoded(digest) for digest in path],
        "checkpoint": checkpoint.note,
    }


def prove_growth(old: Checkpoint, new: Checkpoint) -> dict[str, Any]:
    """That the log of `new` begins with that of `old`: what `verify.py` reads from a file. NoProof, DoesNotFit."""
    if old.size > new.size:
        raise NoProof(f"A log of {new.size} entries does not begin with one of {old.size}: ask the other way round.")
    first, _ = _read(old)
    second, key = _read(new)
    path = span_hashes(consistency_path(first.size, 0, second.size)) if first.size else []
    if not verify.is_prefix(first.size, first.root, second.size, second.root, path):
        raise DoesNotFit(f"The stored log does not fit the signed checkpoints of {old.size} and {new.size}. {LOOK}")
    return {
        "format": verify.GROWTH_PROOF,
        "key": str(key),
        "from": old.note,
        "to": new.note,
        "proof": [verify.encoded(digest) for digest in path],
    }


def _read(checkpoint: Checkpoint) -> tuple[verify.Checkpoint, verify.Key]:
    """What the note says, and the key that signed it. The row's other columns prove nothing."""
    try:
        signed, signatures = verify.Checkpoint.parse(checkpoint.note)
    except ValueError:
        signed, signatures = None, {}
    for key in public_keys():
        if signed is not None and signed.size == checkpoint.size and signed.signed_by(key, signatures):
            return signed, key
    raise DoesNotFit(f"The stored checkpoint of {checkpoint.size} entries is not as it was signed. {LOOK}")
