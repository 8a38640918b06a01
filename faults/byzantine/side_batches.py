"""Batches that a corrupted proposer makes beside those of its core: for attacks of protocol.md 5.6 and 5.7.

Their sequence numbers lie ahead of the core's, which goes on from a certified one. Honest members vote for them if they
are valid; this node's own vote is added, and so are those of accomplices that run the same behaviour.
"""

from __future__ import annotations

from collections.abc import Iterable

from faults.byzantine.accomplices import JointVotes
from faults.byzantine.port import CorruptedNode
from nodes.messages import (
    Batch,
    BatchHeader,
    BatchMessage,
    BatchRequest,
    BatchResponse,
    Message,
    NodeId,
    Transaction,
    batch_id,
    encode,
    tx_root,
)

SEQ_GAP = 300  # inside the window of 1000 that honest nodes accept
SEQ_STEP = 20  # room for the batches that the core makes meanwhile
KEPT = 512


class SideBatches:
    """`topic` keeps the blackboard notes of different behaviours apart."""

    def __init__(self, topic: str) -> None:
        self._votes = JointVotes(topic)
        self._made: dict[bytes, Batch] = {}
        self._seq = 0  # the highest number used by this node, its core's batches included

    def follow(self, node: CorruptedNode, message: Message) -> None:
        """Hear of a batch that the own core sends."""
        if isinstance(message, BatchMessage) and message.batch.header.proposer == node.id:
            self._seq = max(self._seq, message.batch.header.seq)

    def numbers(self, count: int) -> int:
        """The first of so many sequence numbers that nothing else of this node has."""
        first = max(SEQ_GAP, self._seq + SEQ_STEP)
        self._seq = first + count - 1
        return first

    def make(
        self, node: CorruptedNode, transactions: tuple[Transaction, ...], seq: int | None = None, age_ms: int = 0
    ) -> Iterable[tuple[NodeId, Message]]:
        """A batch of these transactions, to the clan and the gateways; this node votes for it (`due`).

        `age_ms`: so much before now it says it was made.
        """
        clan = node.committee.clan_of.get(node.id)
        if clan is None:
            return
        seq = self.numbers(1) if seq is None else seq
        d, size = node.domain, sum(len(encode(transaction)) for transaction in transactions)
        made_ms = max(0, node.now // 1_000_000 - age_ms)
        header = BatchHeader(
            d.chain, d.epoch, d.cycle, clan, node.id, seq, tx_root(transactions), len(transactions), size, made_ms
        )
        batch = Batch(header, transactions, node.sign(d.batch(batch_id(header))))
        self._made[batch_id(header)] = batch
        if len(self._made) > KEPT:
            del self._made[next(iter(self._made))]
        self._votes.ask(node, header)
        everyone = (*node.committee.clans[clan], *node.committee.gateways)
        yield from ((to, BatchMessage(batch)) for to in everyone if to != node.id)

    def due(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        """Own votes that are not sent yet."""
        return self._votes.due(node)

    def answer(self, sender: NodeId, message: Message) -> tuple[NodeId, Message] | None:
        """The response to a request for one of these batches, which the core does not know."""
        batch = self._made.get(message.batch) if isinstance(message, BatchRequest) else None
        return None if batch is None else (sender, BatchResponse(batch))
