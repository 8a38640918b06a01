"""The order in which a clan executes the transactions of one block: a pure function of the block (2.7, section 8.2).

The permutation is seeded by the block hash, so that no batch proposer knows the order while it builds its batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nodes.messages import Batch, Transaction, sha256, tx_id


def concatenate(batches: Iterable[Batch]) -> list[tuple[bytes, Transaction]]:
    """(id, transaction) of all batches, in payload order then batch order; nothing is removed."""
    return [(tx_id(transaction), transaction) for batch in batches for transaction in batch.transactions]


def permute(block: bytes, transactions: Sequence[tuple[bytes, Transaction]]) -> list[tuple[bytes, Transaction]]:
    """Execution order of (id, transaction) pairs in the block with hash `block`.

    Sort by SHA256("ORDER" | seed | id) with seed = SHA256("SEED" | block), ties by original position; then, among the
    positions that one sender occupies, its transactions stand in ascending seq (stable), so that a batch with the
    sequence numbers 1 and 2 of one account applies both.
    """
    if not transactions:
        return []
    seed = sha256(b"SEED", block)
    shuffled = sorted(transactions, key=lambda pair: sha256(b"ORDER", seed, pair[0]))  # sorted() is stable
    by_sender: dict[bytes, list[int]] = {}
    for position, (_, transaction) in enumerate(shuffled):
        by_sender.setdefault(transaction.sender, []).append(position)
    result = list(shuffled)
    for positions in by_sender.values():
        if len(positions) > 1:
            ascending = sorted(positions, key=lambda position: shuffled[position][1].seq)
            for position, source in zip(positions, ascending, strict=True):
                result[position] = shuffled[source]
    return result
