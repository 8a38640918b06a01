"""Replica whose votes reach the leader of the next view and nobody else; certificates it keeps to itself.

Attack C9 of protocol.md 5.3. If its vote is the one that completes a quorum, a single node knows the certificate; that
one shows it on first sight, so the others learn within one message delay, and nothing forks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.primitives import leader_of
from nodes.messages import BlockCertificate, CommitCertificate, Message, NodeId, Vote


class SelectiveVoter(Behaviour):
    name: ClassVar[str] = "selective-voter"
    attacks: ClassVar[tuple[str, ...]] = ("C9",)
    breaks_at: ClassVar[str] = "never: certificates are shown on first sight"
    aims_at: ClassVar[str] = "L-VIEW, I-U: liveness, fork"

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        if isinstance(message, Vote):
            self.receipt.matched += 1
            keep = to == leader_of(node.committee, message.view + 1)
        else:
            keep = not isinstance(message, BlockCertificate | CommitCertificate)
        if keep:
            yield to, message
        else:
            self.receipt.dropped += 1
