"""votedFor[K]: at most one availability vote per batch key, and a bound on what one proposer may have open (2.3)."""

from __future__ import annotations

from nodes.xrbc.check import Key

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

    def get(self, key: Key) -> bytes | None:
        """The batch voted for under `key`, or None."""
        return self._batch.get(key)

    def fault(self, key: Key, size: int, highest_seq: int, now_ms: int) -> str | None:
        """Why a first vote under `key`, for a batch of `size` bytes, must be refused now, or None."""
        _, proposer, seq = key
        if seq > highest_seq:
            return f"sequence number {seq} is beyond the window of {proposer}"
        if seq < self._floor.get(proposer, 0):
            return f"sequence number {seq} of {proposer} is too old to vote for"
        if self._full(proposer, size):
            self._drop_expired(proposer, now_ms)
            if self._full(proposer, size):
                return f"{proposer} has too many batches that are not final"
        return None

    def _full(self, proposer: str, size: int) -> bool:
        return len(self._open.get(proposer, ())) >= OPEN_BATCHES or self._bytes.get(proposer, 0) + size > OPEN_BYTES

    def _drop_expired(self, proposer: str, now_ms: int) -> None:
        for key, (_, created_ms) in list(self._open.get(proposer, {}).items()):
            if created_ms + self._ttl_ms < now_ms:
                self.close(key)

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

    def close(self, key: Key) -> None:
        """A batch under this key is final, or none can be any more."""
        weight = self._open.get(key[1], {}).pop(key, None)
        if weight is not None:
            self._bytes[key[1]] -= weight[0]

    def _raise_floor(self, clan: int, proposer: str, floor: int) -> None:
        for seq in range(self._floor.get(proposer, 0), floor):
            self._batch.pop((clan, proposer, seq), None)
        if floor > self._floor.get(proposer, 0):
            self._floor[proposer] = floor
