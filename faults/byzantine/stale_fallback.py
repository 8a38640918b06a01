"""Leader that builds its fallback block below the highest certificate of the timeout certificate that justifies it.

Attack C12 of protocol.md 5.3. It is silent in its optimistic and normal views, so that they time out. The proposal is
refused wherever it arrives, so no count of such leaders breaks anything but their own views.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from msgspec.structs import replace

from faults.byzantine.port import CorruptedNode
from faults.byzantine.primitives import vote
from faults.byzantine.rushing import Rushing
from faults.byzantine.sealing import own_proposal, reseal
from nodes.messages import FallbackProposal, Message, NodeId, block_hash


class StaleFallback(Rushing):
    name: ClassVar[str] = "stale-fallback"
    attacks: ClassVar[tuple[str, ...]] = ("C12",)
    breaks_at: ClassVar[str] = "never: refused by each replica alone; 1 with mutant MM5"
    aims_at: ClassVar[str] = "I-D, I-TC: ancestry, timeouts, fork"

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        self.heard.learn(message)
        proposal = own_proposal(node, message)
        if proposal is None:
            yield to, message
            return
        self.receipt.matched += 1
        parent = self.heard.blocks.get(proposal.block.parent)
        if parent is None or not isinstance(proposal, FallbackProposal):
            self.receipt.dropped += 1
            return
        self.receipt.changed += 1
        block = replace(proposal.block, parent=parent.parent, height=parent.height)
        yield to, reseal(node, proposal, block)
        yield from ((to, vote(node, "fallback", block.view, block_hash(block), member)) for member in node.coalition)
