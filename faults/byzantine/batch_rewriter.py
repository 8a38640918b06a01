"""Batch proposer that rewrites its batches: transactions reordered, repeated, or joined by invalid ones.

Attacks B10 and B11 of protocol.md 5.7. No count breaks anything: the order of execution is a function of the block, not
of the place in a batch; what fails at execution has no effect; and nobody votes for a batch with a bad signature in it,
so its transactions come through secondaries (aimed at I-ONCE, I-ROOT). `mode`: "reverse", "repeat" or "stuff".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

from msgspec.structs import replace

from faults.byzantine.accomplices import JointVotes
from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.sealing import rebatch
from nodes.messages import (
    AvailabilityVote,
    Batch,
    BatchMessage,
    BatchRequest,
    BatchResponse,
    Message,
    NodeId,
    Transaction,
    batch_id,
)

KEPT = 256


class BatchRewriter(Behaviour):
    name: ClassVar[str] = "batch-rewriter"
    attacks: ClassVar[tuple[str, ...]] = ("B10", "B11")
    breaks_at: ClassVar[str] = "none"
    aims_at: ClassVar[str] = "I-ONCE, I-ROOT: dedup, state-root, order"

    def __init__(self, mode: Literal["reverse", "repeat", "stuff"] = "reverse") -> None:
        super().__init__()
        self._mode = mode
        self._rewritten: dict[bytes, Batch] = {}  # id of the core's batch -> what goes out instead
        self._votes = JointVotes("batch-rewriter")
        self._queue: list[tuple[NodeId, Message]] = []

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        if isinstance(message, BatchMessage) and message.batch.header.proposer == node.id:
            self.receipt.matched += 1
            self.receipt.changed += 1
            message = BatchMessage(self._instead(node, message.batch))
        elif isinstance(message, AvailabilityVote) and message.batch in self._rewritten:
            self.receipt.dropped += 1  # the core's vote for its own version
            return
        yield to, message

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        if isinstance(message, BatchRequest):
            for batch in self._rewritten.values():
                if batch_id(batch.header) == message.batch:
                    self._queue.append((sender, BatchResponse(batch)))
                    return None
        return message

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        queue, self._queue = [*self._queue, *self._votes.due(node)], []
        self.receipt.injected += len(queue)
        return queue

    def _instead(self, node: CorruptedNode, batch: Batch) -> Batch:
        original = batch_id(batch.header)
        if original not in self._rewritten:
            self._rewritten[original] = other = rebatch(node, batch, self._change(batch.transactions))
            self._votes.ask(node, other.header)
            if len(self._rewritten) > KEPT:
                del self._rewritten[next(iter(self._rewritten))]
        return self._rewritten[original]

    def _change(self, transactions: tuple[Transaction, ...]) -> tuple[Transaction, ...]:
        if self._mode == "reverse":
            return transactions[::-1]
        if self._mode == "repeat":
            return (*transactions, *transactions)
        first = transactions[0]
        return (replace(first, padding=first.padding + b"x"), *transactions)  # not what its sender signed
