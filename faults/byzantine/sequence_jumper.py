"""Batch proposer that numbers its batches wildly: with gaps, far ahead, beyond every window, and out of order.

Attack D9 of protocol.md 5.6. No count breaks anything: a number is a name and nobody waits for the missing ones (aimed
at L-MEM and I-ONCE). Every `every`-th batch of its core goes out again under each number of `jumps`, counted from its
own; honest members certify what lies inside their window, so one transaction ends up in several ordered batches.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.side_batches import SideBatches
from nodes.messages import BatchMessage, Message, NodeId

FAR = 2**40


class SequenceJumper(Behaviour):
    name: ClassVar[str] = "sequence-jumper"
    attacks: ClassVar[tuple[str, ...]] = ("D9",)
    breaks_at: ClassVar[str] = "none"
    aims_at: ClassVar[str] = "I-ONCE, L-MEM: dedup, liveness"

    def __init__(self, every: int = 3, jumps: tuple[int, ...] = (700, 7, 5000, FAR)) -> None:
        super().__init__()
        if every < 1 or any(jump < 1 for jump in jumps):
            raise ValueError(f"every = {every}, jumps = {jumps!r}: whole numbers from 1 on")
        self._every, self._jumps = every, jumps
        self._batches = SideBatches("sequence-jumper")
        self._seen: int | None = None
        self._count = 0
        self._queue: list[tuple[NodeId, Message]] = []

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        if isinstance(message, BatchMessage) and message.batch.header.proposer == node.id:
            header = message.batch.header
            if header.seq != self._seen:
                self._seen, self._count = header.seq, self._count + 1
                self.receipt.matched += 1
                if self._count % self._every == 1 % self._every:
                    for jump in self._jumps:
                        self._queue += self._batches.make(node, message.batch.transactions, header.seq + jump)
        yield to, message

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        answer = self._batches.answer(sender, message)
        if answer is None:
            return message
        self._queue.append(answer)
        return None

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        queue, self._queue = [*self._queue, *self._batches.due(node)], []
        self.receipt.injected += len(queue)
        return queue
