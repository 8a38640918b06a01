"""Replica whose votes carry a signature that looks right and is not, so that it spoils the quorum that it completes.

Attack C18 of protocol.md 5.3 (P6), against tallies that verify a quorum at once and drop all of it. Here the bad vote
is evicted and named, and the next honest one takes its place.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from msgspec.structs import replace

from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.primitives import spoiled
from nodes.messages import AvailabilityVote, CommitVote, Message, NodeId, StateVote, Vote


class BadSigner(Behaviour):
    name: ClassVar[str] = "bad-signer"
    attacks: ClassVar[tuple[str, ...]] = ("C18",)
    breaks_at: ClassVar[str] = "never, if bad votes are evicted; 1 where a whole quorum is dropped for one of them"
    aims_at: ClassVar[str] = "L-COMMIT, I-CERT: liveness, fork"

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        if isinstance(message, Vote | CommitVote | AvailabilityVote | StateVote) and message.voter == node.id:
            self.receipt.matched += 1
            self.receipt.changed += 1
            message = replace(message, signature=spoiled(message.signature))
        yield to, message
