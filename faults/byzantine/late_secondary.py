"""Batch proposer that ignores what it is the primary of, and as a secondary waits to the last moment and beyond.

Attack B3 of protocol.md 5.7. Smallest breaking count: all members of the family. Aimed at I-CENS: one honest member
who received the transaction is enough for the bound. Batches of its own leave `hold_ms` after their time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from faults.byzantine.port import Behaviour, CorruptedNode
from nodes.messages import BatchMessage, Forward, Message, NodeId, tx_id

MS = 1_000_000


class LateSecondary(Behaviour):
    name: ClassVar[str] = "late-secondary"
    attacks: ClassVar[tuple[str, ...]] = ("B3",)
    breaks_at: ClassVar[str] = "n_m: the whole family"
    aims_at: ClassVar[str] = "I-CENS: censorship"

    def __init__(self, hold_ms: int = 3000) -> None:
        super().__init__()
        if not 0 <= hold_ms <= 3_600_000:
            raise ValueError(f"hold_ms = {hold_ms}: from 0 to 3600000")
        self._hold_ns = hold_ms * MS
        self._held: list[tuple[int, NodeId, Message]] = []

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        if isinstance(message, Forward):
            clan = node.committee.clan_of_key(message.transaction.sender)
            if node.committee.family(tx_id(message.transaction), clan)[0] == node.id:
                self.receipt.matched += 1
                self.receipt.dropped += 1
                return None
        return message

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        if isinstance(message, BatchMessage) and message.batch.header.proposer == node.id:
            self.receipt.matched += 1
            self.receipt.changed += 1
            self._held.append((node.now + self._hold_ns, to, message))
            return
        yield to, message

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        due = [(to, message) for at, to, message in self._held if at <= node.now]
        self._held = self._held[len(due) :]  # they were queued in order of their time
        return due
