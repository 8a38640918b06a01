"""One brain with the ears of the whole coalition (P17 of protocol.md 5.1): what any member hears, each one knows.

A partition, or a leader that speaks to some only, lets each member hear a part of what is said; over the side channel,
which no fault cuts, the parts become one. Consensus messages only, the last `SLOTS` of each member.
"""

from __future__ import annotations

from faults.byzantine.overheard import Overheard
from faults.byzantine.port import CorruptedNode
from faults.byzantine.side_channel import MAX_NOTE_BYTES
from nodes.messages import (
    BlockCertificate,
    CommitVote,
    FallbackProposal,
    Message,
    NormalProposal,
    OptimisticProposal,
    Timeout,
    Vote,
    decode,
    encode,
)

SLOTS = 256
SHARED = (OptimisticProposal, NormalProposal, FallbackProposal, Vote, CommitVote, Timeout, BlockCertificate)


class Pooled:
    """Feed it with `hear` what this node hears; `heard` then holds what every member heard."""

    def __init__(self) -> None:
        self.heard = Overheard()
        self._told = 0  # notes written by this node
        self._taken: dict[str, int] = {}  # member -> notes of its taken in
        self._last: Message | None = None

    def hear(self, node: CorruptedNode, message: Message) -> None:
        """Take in a message and let the others know of it; one that leaves to several is told once."""
        self.heard.learn(message)
        if message is self._last or not isinstance(message, SHARED):
            return
        self._last = message
        data = encode(message)
        if len(data) < MAX_NOTE_BYTES - 100:
            node.share(f"heard/{node.id}/{self._told % SLOTS}", [self._told, data])
            self._told += 1

    def catch_up(self, node: CorruptedNode) -> None:
        """Take in what the other members heard; call it before deciding anything."""
        for member in node.coalition:
            while member != node.id:
                number = self._taken.get(member, 0)
                note = node.blackboard.get(f"heard/{member}/{number % SLOTS}")
                if note is None or note[0] < number:
                    break
                self.heard.learn(decode(note[1]))
                self._taken[member] = int(note[0]) + 1  # further on, if this node was too slow for some
