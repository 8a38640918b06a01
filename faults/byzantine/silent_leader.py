"""Leader that never proposes: its own blocks, of all three kinds, reach nobody.

Attacks L1 and L8 of protocol.md 5.4. Aimed at L-COMMIT: each view that it leads costs 3 Delta + 2 delta. It still
votes, so no count of silent leaders stops the tribe as long as one honest leader comes round.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.sealing import own_proposal
from nodes.messages import Message, NodeId


class SilentLeader(Behaviour):
    name: ClassVar[str] = "silent-leader"
    attacks: ClassVar[tuple[str, ...]] = ("L1", "L8")
    breaks_at: ClassVar[str] = "never: as long as one honest leader comes round"
    aims_at: ClassVar[str] = "L-COMMIT: liveness"

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        if own_proposal(node, message) is None:
            yield to, message
        else:
            self.receipt.matched += 1
            self.receipt.dropped += 1
