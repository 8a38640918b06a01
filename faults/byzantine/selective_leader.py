"""Leader that shows its block to no more honest nodes than a quorum needs, and serves it to nobody.

Attacks L3 and L9 of protocol.md 5.4. The others learn the certificate and must pull the body from a voter. Votes are
cast for bodies only, so f+1 honest nodes hold each certified one; a coalition of Q certifies what no honest node holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.primitives import enough
from faults.byzantine.sealing import own_proposal
from nodes.messages import BlockRequest, BlockResponse, Message, NodeId


class SelectiveLeader(Behaviour):
    name: ClassVar[str] = "selective-leader"
    attacks: ClassVar[tuple[str, ...]] = ("L3", "L9")
    breaks_at: ClassVar[str] = "Q in the tribe: nobody honest is needed to certify a block; 1 with mutant E5 or E19"
    aims_at: ClassVar[str] = "L-SYNC, L-COMMIT: liveness"

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        if isinstance(message, BlockRequest) and sender not in node.coalition:
            self.receipt.dropped += 1
            return None
        return message

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        shown = enough(node) if len(node.coalition) < node.committee.quorum else ()
        if to not in node.coalition and (
            isinstance(message, BlockResponse) or (own_proposal(node, message) and to not in shown)
        ):
            self.receipt.matched += 1
            self.receipt.dropped += 1
        else:
            yield to, message
