"""A behaviour that hears everything before it decides (the rushing adversary, P17), and speaks when it is its turn.

Subclass it for attacks that depend on what others said: `heard` is what was overheard, `say` queues what goes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from faults.byzantine.overheard import Overheard
from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.primitives import MS, PROPOSALS, Held, honest
from nodes.messages import CommitVote, Message, NodeId, Timeout, Vote


class Rushing(Behaviour):
    def __init__(self) -> None:
        super().__init__()
        self.heard = Overheard()
        self.front = 0  # highest view that an honest node has spoken of: proposed, voted or timed out in
        self._queue = Held()

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        self.heard.learn(message)
        if isinstance(message, Vote | CommitVote | Timeout):
            if message.voter not in node.coalition:
                self.front = max(self.front, message.view)
        elif isinstance(message, PROPOSALS) and message.block.proposer not in node.coalition:
            self.front = max(self.front, message.block.view)
        return message

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        self.heard.learn(message)
        yield to, message

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        due = self._queue.due(node.now)
        self.receipt.injected += len(due)
        return due

    def say(
        self, node: CorruptedNode, message: Message, to: Sequence[NodeId] | None = None, after_ms: float = 0
    ) -> None:
        """Queue a message to each of `to` (by default the honest tribe), counted as injected when it leaves."""
        for target in honest(node) if to is None else to:
            if target != node.id:
                self._queue.keep(target, message, node.now + int(after_ms * MS))
