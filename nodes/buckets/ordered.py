"""What the buckets know of the chain: the transactions of stored batches, and which of them were ordered."""

from __future__ import annotations

from nodes.chainrules import EffectiveBatches
from nodes.messages import Batch, Block, batch_id, tx_id

RECENT = 50_000  # ordered transactions remembered; a copy that comes later still is caught by its sequence number


class OrderedBatches:
    """Pairs Stored with Finalised for one clan. Void batches (EQ-FIRST) order nothing."""

    def __init__(self, clan: int, rule: str, ttl_ms: int) -> None:
        self._clan = clan
        self._ttl_ms = ttl_ms  # of a batch, with the skew of clocks
        self._next_ms = 0  # no stored batch expires at a block time up to this one
        self._effective = EffectiveBatches(rule)
        self._stored: dict[bytes, tuple[int, tuple[bytes, ...]]] = {}  # created_ms, ids: whose batch is not final
        self._awaited: dict[bytes, int] = {}  # final batches without a body -> height
        self._recent: dict[bytes, int] = {}  # ordered transaction -> height of its last block
        self._returns: dict[bytes, int] = {}

    def __contains__(self, tx: bytes) -> bool:
        """Was the transaction ordered, as far as is remembered?"""
        return tx in self._recent

    def stored(self, batch: Batch) -> tuple[bytes, tuple[bytes, ...], bool]:
        """(batch id, transaction ids, whether the batch is final) of a body of this clan."""
        ident = batch_id(batch.header)
        known = self._stored.get(ident)
        ids = known[1] if known else tuple(tx_id(transaction) for transaction in batch.transactions)
        height = self._awaited.pop(ident, None)
        if height is None:
            created_ms = batch.header.created_ms
            self._next_ms = min(self._next_ms if self._stored else created_ms + self._ttl_ms, created_ms + self._ttl_ms)
            self._stored[ident] = created_ms, ids
        else:
            self._remember(ids, height)
        return ident, ids, height is not None

    def finalise(self, block: Block) -> list[bytes]:
        """Transactions that this block orders, as far as their bodies are here."""
        mine = [certificate for certificate in block.payload if certificate.clan == self._clan]
        effective, void = self._effective.split(mine)
        gone: list[bytes] = []
        for certificate in void:
            self._stored.pop(certificate.batch, None)
        for certificate in effective:
            stored = self._stored.pop(certificate.batch, None)
            if stored is None:
                self._awaited[certificate.batch] = block.height
            else:
                self._remember(stored[1], block.height)
                gone.extend(stored[1])
        self._expire(block.timestamp_ms)
        return gone

    def _expire(self, block_ms: int) -> None:
        """Forget the batches that no block after one of this time may hold: a proposer can make any number of them."""
        if not self._stored or block_ms <= self._next_ms:
            return
        self._stored = {ident: held for ident, held in self._stored.items() if held[0] + self._ttl_ms >= block_ms}
        self._next_ms = min((created for created, _ in self._stored.values()), default=0) + self._ttl_ms

    def sizes(self) -> dict[str, int]:
        """Entries by store (nodes/census.py)."""
        return {"stored": len(self._stored), "recent": len(self._recent), "returns": len(self._returns)}

    def reopen(self, tx: bytes, height: int) -> int:
        """Executed as too new at `height`, so not ordered after all: how often that happened, this time included.

        0 if another copy was ordered in a later block: that one decides.
        """
        if self._recent.get(tx, 0) > height:
            return 0
        self._recent.pop(tx, None)
        count = self._returns.pop(tx, 0) + 1
        self._returns[tx] = count
        if len(self._returns) > RECENT:
            del self._returns[next(iter(self._returns))]
        return count

    def _remember(self, ids: tuple[bytes, ...], height: int) -> None:
        for tx in ids:
            self._recent.pop(tx, None)
            self._recent[tx] = height
        while len(self._recent) > RECENT:
            del self._recent[next(iter(self._recent))]
