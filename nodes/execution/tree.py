"""The bucketed Merkle tree over a clan's state: 256 buckets, a binary tree of 8 levels above them.

Bucket of an entry = first byte of SHA256(key). Bucket hash = SHA256("BUCKET" | for each entry in ascending key order:
len(key) 4 BE | key | len(value) 4 BE | value). Inner node = SHA256("NODE" | left | right).
The root depends on the entries only, never on the order in which they were written. Updates are incremental: a root
re-hashes the buckets written since the last one, and the paths above them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from nodes.messages import sha256

BUCKETS = 256


class StateTree:
    """A map bytes -> bytes with a Merkle root. Entries are set and replaced, never removed."""

    def __init__(self, entries: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._framed: list[dict[bytes, bytes]] = [{} for _ in range(BUCKETS)]  # key -> the entry as it is hashed
        self._order: list[list[bytes]] = [[] for _ in range(BUCKETS)]
        self._unsorted: set[int] = set()
        self._dirty: set[int] = set()
        self._nodes = _empty_nodes()  # node i has children 2i and 2i+1; the root is 1, bucket b is 256 + b
        for key, value in entries:
            self.set(key, value)

    def set(self, key: bytes, value: bytes) -> None:
        """Set or replace one entry."""
        bucket = hashlib.sha256(key).digest()[0]
        framed = self._framed[bucket]
        if key not in framed:
            self._order[bucket].append(key)
            self._unsorted.add(bucket)
        framed[key] = len(key).to_bytes(4, "big") + key + len(value).to_bytes(4, "big") + value
        self._dirty.add(bucket)

    def get(self, key: bytes) -> bytes | None:
        """The value of one entry, or None."""
        framed = self._framed[hashlib.sha256(key).digest()[0]].get(key)
        return None if framed is None else framed[8 + len(key) :]

    def __len__(self) -> int:
        return sum(map(len, self._order))

    def root(self) -> bytes:
        """The Merkle root (32 bytes) of the present entries."""
        if not self._dirty:
            return self._nodes[1]
        for bucket in self._unsorted:
            self._order[bucket].sort()
        self._unsorted.clear()
        nodes = self._nodes
        for bucket in self._dirty:
            framed = self._framed[bucket]
            nodes[BUCKETS + bucket] = sha256(b"BUCKET", *map(framed.__getitem__, self._order[bucket]))
        level = {(BUCKETS + bucket) >> 1 for bucket in self._dirty}
        while level:
            for node in level:
                nodes[node] = sha256(b"NODE", nodes[2 * node], nodes[2 * node + 1])
            level = {node >> 1 for node in level if node > 1}
        self._dirty.clear()
        return nodes[1]


def _empty_nodes() -> list[bytes]:
    nodes = [b""] * BUCKETS + [sha256(b"BUCKET")] * BUCKETS
    for node in range(BUCKETS - 1, 0, -1):
        nodes[node] = sha256(b"NODE", nodes[2 * node], nodes[2 * node + 1])
    return nodes
