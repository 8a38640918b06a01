"""Replica that sends its votes `times` over, relays others' votes, and votes in others' names before they do.

Attack C19 of protocol.md 5.3: a repeated vote counts once (mutant MM10b counts it again), and a vote that is made up
in somebody's name must not take the place of the real one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from msgspec.structs import replace

from faults.byzantine.port import CorruptedNode
from faults.byzantine.primitives import PROPOSALS, honest, vote
from faults.byzantine.rushing import Rushing
from faults.byzantine.sealing import kind_of
from nodes.messages import CommitVote, Message, NodeId, Vote, block_hash


class VoteRepeater(Rushing):
    name: ClassVar[str] = "vote-repeater"
    attacks: ClassVar[tuple[str, ...]] = ("C19",)
    breaks_at: ClassVar[str] = "1 with mutant MM10b"
    aims_at: ClassVar[str] = "I-CERT, L-COMMIT: fork, liveness"

    def __init__(self, times: int = 5) -> None:
        super().__init__()
        if isinstance(times, bool) or not isinstance(times, int) or not 2 <= times <= 100:
            raise ValueError(f"times = {times!r}: how often a vote is sent, 2 to 100")
        self._times = times

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        super().receive(node, sender, message)
        if isinstance(message, PROPOSALS):
            own = vote(node, kind_of(message), message.block.view, block_hash(message.block))
            for name in honest(node):
                self.say(node, replace(own, voter=name))
        elif isinstance(message, Vote) and message.voter == sender:
            self.say(node, message)
        return message

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        yield to, message
        if isinstance(message, Vote | CommitVote) and message.voter == node.id:
            self.receipt.matched += 1
            self.receipt.injected += self._times - 1
            yield from ((to, message) for _ in range(self._times - 1))
