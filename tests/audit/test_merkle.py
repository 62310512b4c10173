"""The tree against the definition in RFC 6962."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from lockwatch.audit.merkle import Tree


def mth(entries: list[bytes]) -> bytes:
    """The definition, word for word: k is the largest power of two smaller than n."""
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    k = 1 << (len(entries) - 1).bit_length() - 1
    return sha256(b"\x01" + mth(entries[:k]) + mth(entries[k:])).digest()


@given(st.lists(st.binary(max_size=8), max_size=70))
def test_the_root_is_that_of_the_definition_at_every_size(entries: list[bytes]) -> None:
    tree = Tree()
    for size, entry in enumerate(entries):
        assert (tree.size, tree.root) == (size, mth(entries[:size]))
        tree.append(entry)
    assert (tree.size, tree.root) == (len(entries), mth(entries))


def test_the_roots_of_the_certificate_transparency_test_vectors() -> None:
    entries = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
    assert Tree(entries[:1]).root.hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert Tree(entries[:2]).root.hex() == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    assert Tree(entries).root.hex() == "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=20), st.data())
def test_another_order_is_another_root(entries: list[bytes], data: st.DataObject) -> None:
    other = data.draw(st.permutations(entries))
    assert (Tree(other).root == Tree(entries).root) == (other == entries)
