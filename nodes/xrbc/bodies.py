"""Bodies of batches: final ones are kept for the cycle, others until no block may hold them any more.

A node that lost its disk executes from genesis and must be served every final body. A body that is not final goes once
its batch is past its time to live at the timestamp of a final block: block time never runs backwards along the chain.
Without that a proposer could fill every member's memory with batches that are never ordered.
"""

from __future__ import annotations

from nodes.messages import Batch, BatchHeader


class Bodies:
    """By batch id. `ttl_ms` is a batch's time to live, with the skew of clocks."""

    def __init__(self, ttl_ms: int) -> None:
        self.block_ms = 0  # timestamp of the newest final block
        self._ttl_ms = ttl_ms
        self._held: dict[bytes, Batch] = {}
        self._perishable: dict[bytes, int] = {}  # held and not final -> created_ms
        self._awaited: set[bytes] = set()  # final and not held; membership only, never iterated
        self._next_ms = 0  # no perishable body expires at a block time up to this one

    def __contains__(self, batch: bytes) -> bool:
        return batch in self._held

    def get(self, batch: bytes) -> Batch | None:
        """The body, if it is held."""
        return self._held.get(batch)

    def perishable_headers(self) -> list[tuple[bytes, BatchHeader]]:
        """(id, header) of those that are not final, in the order of their arrival."""
        return [(ident, self._held[ident].header) for ident in self._perishable]

    def perishable(self) -> int:
        """How many are held and not final."""
        return len(self._perishable)

    def add(self, ident: bytes, batch: Batch) -> None:
        """A body that has been checked."""
        self._held[ident] = batch
        if ident in self._awaited:
            self._awaited.discard(ident)
            return
        expires_ms = batch.header.created_ms + self._ttl_ms
        self._next_ms = min(self._next_ms, expires_ms) if self._perishable else expires_ms
        self._perishable[ident] = batch.header.created_ms

    def finalise(self, ident: bytes) -> None:
        """The batch is final: its body stays, also one that is still to come."""
        if ident in self._held:
            self._perishable.pop(ident, None)
        else:
            self._awaited.add(ident)

    def expire(self, block_ms: int) -> None:
        """A block of this timestamp is final: drop what no later one may hold."""
        self.block_ms = block_ms
        if not self._perishable or block_ms <= self._next_ms:
            return
        for ident in [i for i, created in self._perishable.items() if created + self._ttl_ms < block_ms]:
            del self._perishable[ident], self._held[ident]
        self._next_ms = min(self._perishable.values(), default=0) + self._ttl_ms
