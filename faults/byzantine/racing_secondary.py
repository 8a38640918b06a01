"""Batch proposer that includes what others are the primary of, long before its turn or in a race with them.

Attacks B5 and B6 of protocol.md 5.7: framing the primary, or stealing its fee. No count breaks anything: of two ordered
copies the first takes effect, the other has none, and nobody is punished for a rescue before the time-out (aimed at
I-ONCE, I-ACC). `after_ms`: so long after it received the transaction it makes a batch of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.side_batches import SideBatches
from nodes.messages import Forward, Message, NodeId, Transaction, tx_id

MS = 1_000_000
MOST = 50  # transactions of one batch


class RacingSecondary(Behaviour):
    name: ClassVar[str] = "racing-secondary"
    attacks: ClassVar[tuple[str, ...]] = ("B5", "B6")
    breaks_at: ClassVar[str] = "none"
    aims_at: ClassVar[str] = "I-ONCE, I-ACC: dedup, accountability"

    def __init__(self, after_ms: int = 0) -> None:
        super().__init__()
        if not 0 <= after_ms <= 3_600_000:
            raise ValueError(f"after_ms = {after_ms}: from 0 to 3600000")
        self._after_ns = after_ms * MS
        self._batches = SideBatches("racing-secondary")
        self._waiting: dict[bytes, tuple[int, Transaction]] = {}  # tx -> when it is due

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        self._batches.follow(node, message)
        yield to, message

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        if isinstance(message, Forward):
            tx = tx_id(message.transaction)
            family = node.committee.family(tx, node.committee.clan_of_key(message.transaction.sender))
            if node.id in family[1:]:
                self.receipt.matched += 1
                self._waiting.setdefault(tx, (node.now + self._after_ns, message.transaction))
        return message

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        out = list(self._batches.due(node))
        due = [tx for tx, (at, _) in self._waiting.items() if at <= node.now][:MOST]
        if due:
            out += self._batches.make(node, tuple(self._waiting.pop(tx)[1] for tx in due))
        self.receipt.injected += len(out)
        return out
