"""Batch proposer that orders again what was ordered and executed before.

Attack B8 of protocol.md 5.7. No count breaks anything: a transaction takes effect only under its account's next
sequence number, so a replay is a duplicate and has none, whatever has been forgotten of it (aimed at I-ONCE). Every
`every_s` seconds it makes a valid batch of transactions of its clan that were in a batch `after_ms` ago or earlier.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.side_batches import SideBatches
from nodes.messages import BatchMessage, Message, NodeId, Transaction, tx_id

MS = 1_000_000
KEPT = 500
MOST = 20  # transactions of one batch


class BatchReplayer(Behaviour):
    name: ClassVar[str] = "batch-replayer"
    attacks: ClassVar[tuple[str, ...]] = ("B8",)
    breaks_at: ClassVar[str] = "none"
    aims_at: ClassVar[str] = "I-ONCE: dedup, conservation"

    def __init__(self, after_ms: int = 1500, every_s: float = 0.5) -> None:
        super().__init__()
        if not 0 <= after_ms <= 3_600_000 or not 0.05 <= every_s <= 3600:
            raise ValueError(f"after_ms = {after_ms}, every_s = {every_s}: 0 to 3600000, and 0.05 to 3600")
        self._after_ns, self._every_ns = after_ms * MS, int(every_s * 1e9)
        self._batches = SideBatches("batch-replayer")
        self._seen: dict[bytes, tuple[int, Transaction]] = {}  # tx -> when it was in a batch, the oldest first
        self._next = 0

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        self._batches.follow(node, message)
        self._remember(node, message)
        yield to, message

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        self._remember(node, message)
        return message

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        out = list(self._batches.due(node))
        if node.now >= self._next:
            due = [transaction for at, transaction in self._seen.values() if at + self._after_ns <= node.now]
            if due:
                self._next = node.now + self._every_ns
                out += self._batches.make(node, tuple(node.rng.sample(due, min(MOST, len(due)))))
        self.receipt.injected += len(out)
        return out

    def _remember(self, node: CorruptedNode, message: Message) -> None:
        if isinstance(message, BatchMessage) and message.batch.header.clan == node.committee.clan_of.get(node.id):
            for transaction in message.batch.transactions:
                self._seen.setdefault(tx_id(transaction), (node.now, transaction))
            for tx in list(self._seen)[:-KEPT]:
                del self._seen[tx]
