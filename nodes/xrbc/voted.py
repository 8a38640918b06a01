"""votedFor[K]: at most one availability vote per batch key, and a bound on what one proposer may have open (2.3)."""

from __future__ import annotations

from collections.abc import Iterable

from nodes.messages import BatchHeader
from nodes.xrbc.check import Key, key_of

OPEN_BATCHES = 512
OPEN_BYTES = 32 * 1024 * 1024
REMEMBERED = 5000  # sequence numbers per proposer; a key further back is never voted for again


class Voted:
    """What this node voted for, per proposer. Older keys than it remembers count as voted for something else."""

    def __init__(self, ttl_ms: int) -> None:
        self._ttl_ms = ttl_ms
        self._batch: dict[Key, bytes] = {}
        self._open: dict[str, dict[Key, tuple[int, int]]] = {}  # proposer -> open key -> (bytes, created_ms)
        self._bytes: dict[str, int] = {}
        self._floor: dict[str, int] = {}
        self._highest: dict[str, int] = {}

    def size(self) -> int:
        """How many votes are remembered."""
        return len(self._batch)

    def most_open(self, but: str) -> int:
        """Open batches of the proposer that has most, `but` excepted (nobody limits its own)."""
        return max((len(mine) for proposer, mine in self._open.items() if proposer != but), default=0)

    def get(self, key: Key) -> bytes | None:
        """The batch voted for under `key`, or None."""
        return self._batch.get(key)

    def fault(self, key: Key, size: int, highest_seq: int, block_ms: int) -> str | None:
        """Why a first vote under `key`, for a batch of `size` bytes, must be refused now, or None.

        `block_ms`: timestamp of the newest final block. Batches expire by it and not by a clock, as their bodies do.
        """
        _, proposer, seq = key
        if seq > highest_seq:
            return f"sequence number {seq} is beyond the window of {proposer}"
        if seq < self._floor.get(proposer, 0):
            return f"sequence number {seq} of {proposer} is too old to vote for"
        if self._full(proposer, size):
            self._drop_expired(proposer, block_ms)
            if self._full(proposer, size):
                return f"{proposer} has too many batches that are not final"
        return None

    def _full(self, proposer: str, size: int) -> bool:
        return len(self._open.get(proposer, ())) >= OPEN_BATCHES or self._bytes.get(proposer, 0) + size > OPEN_BYTES

    def _drop_expired(self, proposer: str, block_ms: int) -> None:
        for key, (_, created_ms) in list(self._open.get(proposer, {}).items()):
            if created_ms + self._ttl_ms < block_ms:
                self._close(key)

    def add(self, key: Key, batch: bytes, weight: tuple[int, int] | None = None) -> None:
        """Record the vote; with `weight` (bytes, created_ms) it counts against the proposer until `close`."""
        _, proposer, seq = key
        self._batch[key] = batch
        if weight is not None:
            self._open.setdefault(proposer, {})[key] = weight
            self._bytes[proposer] = self._bytes.get(proposer, 0) + weight[0]
        if seq > self._highest.get(proposer, -1):
            self._highest[proposer] = seq
            self._raise_floor(key[0], proposer, seq - REMEMBERED)

    def reopen(self, held: Iterable[tuple[bytes, BatchHeader]]) -> None:
        """After a restart: the bodies (id, header) that are not final count against their proposers again."""
        for ident, header in held:
            if self._batch.get(key_of(header)) == ident:
                self.add(key_of(header), ident, (header.byte_length, header.created_ms))

    def close(self, key: Key, batch: bytes) -> None:
        """The batch is final, or cannot be any more. If it is another than the one voted for, that stays open."""
        if self._batch.get(key, batch) == batch:
            self._close(key)

    def _close(self, key: Key) -> None:
        weight = self._open.get(key[1], {}).pop(key, None)
        if weight is not None:
            self._bytes[key[1]] -= weight[0]

    def _raise_floor(self, clan: int, proposer: str, floor: int) -> None:
        for seq in range(self._floor.get(proposer, 0), floor):
            self._batch.pop((clan, proposer, seq), None)
        if floor > self._floor.get(proposer, 0):
            self._floor[proposer] = floor
