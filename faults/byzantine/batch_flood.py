"""Batch proposer that floods the blocks with tiny batches, backdated so that they come first.

Attack D10 of protocol.md 5.6. No count breaks anything: a block holds 50 certificates and proposers take turns in it,
so honest batches wait a bounded time (aimed at L-TX). Every `every_s` seconds it makes `copies` valid batches of one
transaction each, of those that it was last asked to include.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.side_batches import SideBatches
from nodes.messages import BatchMessage, Message, NodeId, Transaction

MS = 1_000_000


class BatchFlood(Behaviour):
    name: ClassVar[str] = "batch-flood"
    attacks: ClassVar[tuple[str, ...]] = ("D10",)
    breaks_at: ClassVar[str] = "none"
    aims_at: ClassVar[str] = "L-TX: finality-bounds, liveness"

    def __init__(self, copies: int = 60, every_s: float = 1.0) -> None:
        super().__init__()
        if not 1 <= copies <= 1000 or not 0.1 <= every_s <= 3600:
            raise ValueError(f"copies = {copies}, every_s = {every_s}: 1 to 1000 batches, 0.1 to 3600 seconds")
        self._copies, self._every_ns = copies, int(every_s * 1e9)
        self._batches = SideBatches("batch-flood")
        self._known: tuple[Transaction, ...] = ()
        self._next = 0

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        self._batches.follow(node, message)
        if isinstance(message, BatchMessage) and message.batch.header.proposer == node.id:
            self.receipt.matched += 1
            self._known = message.batch.transactions
        yield to, message

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        out = list(self._batches.due(node))
        if self._known and node.now >= self._next:
            self._next = node.now + self._every_ns
            first = self._batches.numbers(self._copies)
            for copy in range(self._copies):
                transaction = self._known[copy % len(self._known)]
                out += self._batches.make(node, (transaction,), first + copy, age_ms=5000 + copy)
        self.receipt.injected += len(out)
        return out
