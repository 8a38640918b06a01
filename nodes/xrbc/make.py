"""Own signed objects: batches and availability votes."""

from __future__ import annotations

from nodes.crypto import Domain, Signer
from nodes.messages import AvailabilityVote, Batch, BatchHeader, NodeId, Transaction, batch_id, tx_root
from nodes.xrbc.check import byte_length


def make_batch(
    domain: Domain, signer: Signer, me: NodeId, clan: int, seq: int, transactions: tuple[Transaction, ...], now_ms: int
) -> tuple[bytes, Batch]:
    """(batch id, signed batch) of `transactions` under the key (clan, me, seq)."""
    header = BatchHeader(
        chain=domain.chain,
        epoch=domain.epoch,
        cycle=domain.cycle,
        clan=clan,
        proposer=me,
        seq=seq,
        tx_root=tx_root(transactions),
        tx_count=len(transactions),
        byte_length=byte_length(transactions),
        created_ms=now_ms,
    )
    ident = batch_id(header)
    return ident, Batch(header, transactions, signer.sign(domain.batch(ident)))


def make_vote(domain: Domain, signer: Signer, me: NodeId, header: BatchHeader, ident: bytes) -> AvailabilityVote:
    """The signed statement "I hold the whole batch, checked" (U7)."""
    statement = domain.available(
        header.clan, header.proposer, header.seq, ident, header.tx_count, header.byte_length, header.created_ms
    )
    return AvailabilityVote(
        clan=header.clan,
        proposer=header.proposer,
        seq=header.seq,
        batch=ident,
        tx_count=header.tx_count,
        byte_length=header.byte_length,
        created_ms=header.created_ms,
        voter=me,
        signature=signer.sign(statement),
    )
