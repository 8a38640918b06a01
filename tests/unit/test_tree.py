"""The bucketed state tree against a plain re-statement of its definition."""

import hashlib
import struct

from nodes.execution.tree import StateTree


def reference(entries: dict[bytes, bytes]) -> bytes:
    def h(*parts: bytes) -> bytes:
        return hashlib.sha256(b"".join(parts)).digest()

    buckets = [b"BUCKET"] * 256
    for key in sorted(entries):
        value = entries[key]
        buckets[h(key)[0]] += struct.pack(">I", len(key)) + key + struct.pack(">I", len(value)) + value
    level = [h(bucket) for bucket in buckets]
    while len(level) > 1:
        level = [h(b"NODE", a, b) for a, b in zip(level[::2], level[1::2], strict=True)]
    return level[0]


def test_empty_tree():
    assert StateTree().root() == reference({})
    assert len(StateTree()) == 0


def test_root_follows_every_write():
    tree, entries = StateTree(), {}
    for i in range(600):
        key, value = b"k%d" % (i % 400), b"v%d" % i
        tree.set(key, value)
        entries[key] = value
        if i % 37 == 0:
            assert tree.root() == reference(entries)
    assert tree.root() == reference(entries)
    assert len(tree) == 400


def test_a_root_without_writes_is_the_same():
    tree = StateTree([(b"a", b"1")])
    assert tree.root() == tree.root() == reference({b"a": b"1"})


def test_get():
    tree = StateTree([(b"a", b"1"), (b"b", b"")])
    tree.set(b"a", b"22")
    assert (tree.get(b"a"), tree.get(b"b"), tree.get(b"c")) == (b"22", b"", None)


def test_writing_the_same_value_keeps_the_root():
    tree = StateTree([(b"a", b"1"), (b"b", b"2")])
    root = tree.root()
    tree.set(b"a", b"1")
    assert tree.root() == root


def test_key_and_value_are_told_apart():
    assert StateTree([(b"a", b"bc")]).root() != StateTree([(b"ab", b"c")]).root()


def test_golden_root():
    """Fixed for good: a change of this value is a fork of every chain that ran before."""
    entries = {b"A" + bytes([i]) * 32: struct.pack(">QQ", i, 2 * i) for i in range(100)}
    assert StateTree(entries.items()).root() == reference(entries)
    assert reference(entries).hex() == "2ac91490f2dc1fbb137237d18018193101c50458e2ade11551f4207e9d983973"
