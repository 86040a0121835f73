"""The tree against the known answers of Certificate Transparency's own tests, and against RFC 6962's definition."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit import verify
from audit.sealing.proofs import consistency_path, full_subtrees, inclusion_path

LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
A = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
B = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
C = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
D = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
E = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
F = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
INCLUSION = [(0, 1, []), (0, 8, [A, B, C]), (5, 8, [D, E, ROOTS[4]]), (2, 3, [ROOTS[2]]), (1, 5, [ROOTS[1], B, D])]
CONSISTENCY = [(1, 1, []), (1, 8, [A, B, C]), (6, 8, [F, E, ROOTS[4]]), (2, 5, [B, D])]


def root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, word for word."""
    n = len(leaves)
    if n == 0:
        return sha256(b"").digest()
    if n == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < n:
        k *= 2
    return sha256(b"\x01" + root(leaves[:k]) + root(leaves[k:])).digest()


def grown(leaves: list[bytes]) -> verify.Range:
    tree = verify.Range()
    for leaf in leaves:
        tree.push(verify.leaf_hash(leaf))
    return tree


def hashes(leaves: list[bytes], spans: list[tuple[int, int]]) -> list[bytes]:
    return [root(leaves[start:end]) for start, end in spans]


@pytest.mark.parametrize("size", range(9))
def test_known_roots(size):
    assert root(LEAVES[:size]).hex() == grown(LEAVES[:size]).root().hex() == ROOTS[size]


@pytest.mark.parametrize(("position", "size", "path"), INCLUSION)
def test_known_inclusion_proofs(position, size, path):
    assert [h.hex() for h in hashes(LEAVES, inclusion_path(position, 0, size))] == path
    leaf = verify.leaf_hash(LEAVES[position])
    assert verify.root_with(leaf, position, size, [bytes.fromhex(h) for h in path]).hex() == ROOTS[size]


@pytest.mark.parametrize(("first", "second", "path"), CONSISTENCY)
def test_known_consistency_proofs(first, second, path):
    assert [h.hex() for h in hashes(LEAVES, consistency_path(first, 0, second))] == path
    roots = [bytes.fromhex(ROOTS[size]) for size in (first, second)]
    assert verify.is_prefix(first, roots[0], second, roots[1], [bytes.fromhex(h) for h in path])


def leaves_of(size: int) -> list[bytes]:
    return [str(n).encode() for n in range(size)]


sizes = st.integers(1, 130)


@given(sizes, st.data())
@settings(max_examples=60, deadline=None)
def test_an_inclusion_proof_shows_its_leaf_at_its_place_alone(size, data):
    position = data.draw(st.integers(0, size - 1))
    leaves, whole = leaves_of(size), root(leaves_of(size))
    path = hashes(leaves, inclusion_path(position, 0, size))
    leaf = verify.leaf_hash(leaves[position])
    assert verify.root_with(leaf, position, size, path) == whole
    other = data.draw(st.integers(0, size + 3).filter(lambda n: n != position))
    assert not shows(verify.leaf_hash(b"another"), position, size, path, whole)
    assert not shows(leaf, other, size, path, whole)
    assert not shows(leaf, position, size, [*path, whole], whole)
    if path:
        assert not shows(leaf, position, size, path[:-1], whole)
        at = data.draw(st.integers(0, len(path) - 1))
        assert not shows(leaf, position, size, [*path[:at], b"\0" * 32, *path[at + 1 :]], whole)


def shows(leaf: bytes, position: int, size: int, path: list[bytes], whole: bytes) -> bool:
    try:
        return verify.root_with(leaf, position, size, path) == whole
    except ValueError:
        return False


@given(sizes, st.data())
@settings(max_examples=60, deadline=None)
def test_a_consistency_proof_shows_the_beginning_of_this_tree_alone(second, data):
    first = data.draw(st.integers(1, second))
    leaves = leaves_of(second)
    old, new = root(leaves[:first]), root(leaves)
    path = hashes(leaves, consistency_path(first, 0, second))
    assert verify.is_prefix(first, old, second, new, path)
    forged = root([*leaves[: first - 1], b"forged"])
    assert not verify.is_prefix(first, forged, second, new, path)
    assert not verify.is_prefix(first, old, second, forged, path)
    assert not verify.is_prefix(first, old, second, new, [*path, new])
    assert not verify.is_prefix(second + 1, old, second, new, path)
    if path:
        assert not verify.is_prefix(first, old, second, new, path[:-1])
        at = data.draw(st.integers(0, len(path) - 1))
        assert not verify.is_prefix(first, old, second, new, [*path[:at], b"\0" * 32, *path[at + 1 :]])


@given(st.integers(0, 300), st.integers(0, 300))
@settings(max_examples=60, deadline=None)
def test_any_part_of_a_tree_is_completed_by_the_subtrees_beside_it(start, more):
    size = start + more
    end = start + more // 2
    leaves, tree = leaves_of(size), verify.Range()

    def beside(subtrees):
        for level, index in subtrees:
            tree.push(root(leaves[index << level : index + 1 << level]), level)

    beside(full_subtrees(0, start))
    for leaf in leaves[start:end]:
        tree.push(verify.leaf_hash(leaf))
    beside(full_subtrees(end, size))
    assert (tree.size, tree.root()) == (size, root(leaves))


def test_empty_trees():
    empty = root([])
    assert verify.is_prefix(0, empty, 5, root(leaves_of(5)), [])
    assert not verify.is_prefix(0, root(leaves_of(1)), 5, root(leaves_of(5)), [])
    assert not verify.is_prefix(5, root(leaves_of(5)), 0, empty, [])
    with pytest.raises(ValueError):
        verify.root_with(b"", 0, 0, [])
