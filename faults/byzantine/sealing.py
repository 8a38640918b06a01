"""Make altered objects valid again: re-hash and re-sign what a coalition member may legally sign."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from faults.byzantine.port import CorruptedNode
from nodes.committee import Committee
from nodes.messages import (
    AvailabilityVote,
    Batch,
    BatchHeader,
    Block,
    FallbackProposal,
    Message,
    NodeId,
    NormalProposal,
    OptimisticProposal,
    Transaction,
    VoteKind,
    batch_id,
    block_hash,
    encode,
    tx_root,
)

Proposal = OptimisticProposal | NormalProposal | FallbackProposal


def kind_of(proposal: Proposal) -> VoteKind:
    """The kind of vote that a proposal asks for."""
    if isinstance(proposal, OptimisticProposal):
        return "optimistic"
    return "normal" if isinstance(proposal, NormalProposal) else "fallback"


def own_proposal(node: CorruptedNode, message: Message) -> Proposal | None:
    """`message` if it is a block proposal that this very node makes, else None."""
    if (
        isinstance(message, OptimisticProposal | NormalProposal | FallbackProposal)
        and message.block.proposer == node.id
    ):
        return message
    return None


def reseal(node: CorruptedNode, proposal: Proposal, block: Block) -> Proposal:
    """`proposal` of another block, with the same justification, signed by this node."""
    statement = node.domain.proposal(kind_of(proposal), block.view, block_hash(block))
    return replace(proposal, block=block, signature=node.sign(statement))


def rebatch(node: CorruptedNode, batch: Batch, transactions: tuple[Transaction, ...]) -> Batch:
    """A batch of this node under the same key (seq) with other transactions, created 1 ms earlier."""
    header = replace(
        batch.header,
        tx_root=tx_root(transactions),
        tx_count=len(transactions),
        byte_length=sum(len(encode(t)) for t in transactions),
        created_ms=max(0, batch.header.created_ms - 1),
    )
    return Batch(header, transactions, node.sign(node.domain.batch(batch_id(header))))


def availability_vote(node: CorruptedNode, header: BatchHeader, voter: NodeId) -> AvailabilityVote:
    """An availability vote of coalition member `voter` for a batch, held or not."""
    h, batch = header, batch_id(header)
    statement = node.domain.available(h.clan, h.proposer, h.seq, batch, h.tx_count, h.byte_length, h.created_ms)
    signature = node.sign(statement, voter)
    return AvailabilityVote(h.clan, h.proposer, h.seq, batch, h.tx_count, h.byte_length, h.created_ms, voter, signature)


def coalition_of_clan(committee: Committee, coalition: Sequence[NodeId], clan: int) -> tuple[NodeId, ...]:
    """Coalition members of one clan, in clan order."""
    return tuple(n for n in committee.clans[clan] if n in coalition)


def bare_majority(node: CorruptedNode, header: BatchHeader) -> tuple[NodeId, ...]:
    """The coalition and as many honest members as a certificate of the clan needs; the seq decides which, in turn."""
    accomplices = coalition_of_clan(node.committee, node.coalition, header.clan)
    honest = [n for n in node.committee.clans[header.clan] if n not in accomplices]
    wanted = max(0, node.committee.majority(header.clan) - len(accomplices))
    turn = header.seq % len(honest) if honest else 0
    return (*accomplices, *(honest[turn:] + honest[:turn])[:wanted])
