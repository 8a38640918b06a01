"""Leader that makes two optimistic proposals with different parents, which is legal, and keeps its certificate back.

Attack C2 of protocol.md 5.3. The second half gets a block on another block of the parent's view, if one was heard of,
else on the grandparent, and never the certificate that would tell which of the two is certified. Only a block on
the certified one may gather votes; with f+1 members who also equivocated in the view before, both are certified.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from faults.byzantine.halves import parse_halves, victims
from faults.byzantine.port import CorruptedNode
from faults.byzantine.rushing import Rushing
from faults.byzantine.sealing import own_proposal, reseal
from nodes.messages import Block, BlockCertificate, Message, NodeId, OptimisticProposal, block_hash


class TwoParents(Rushing):
    name: ClassVar[str] = "two-parents"
    attacks: ClassVar[tuple[str, ...]] = ("C2",)
    breaks_at: ClassVar[str] = "f+1 in the tribe, with votes for both"
    aims_at: ClassVar[str] = "I-U, I-PFX: fork, prefix"

    def __init__(self, halves: Any = None) -> None:
        super().__init__()
        self._halves = parse_halves(halves)

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        self.heard.learn(message)
        second = to in victims(node, self._halves)[1]
        if second and isinstance(message, BlockCertificate):
            self.receipt.dropped += 1
            return
        proposal = own_proposal(node, message)
        if second and isinstance(proposal, OptimisticProposal):
            self.receipt.matched += 1
            other = self._other_parent(proposal.block)
            if other is not None:
                self.receipt.changed += 1
                block = Block(
                    other.chain, other.epoch, proposal.block.view, other.height + 1, block_hash(other), node.id,
                    max(other.timestamp_ms, proposal.block.timestamp_ms), (),
                )  # fmt: skip
                message = reseal(node, proposal, block)
                self.heard.learn(message)
        yield to, message

    def _other_parent(self, block: Block) -> Block | None:
        parent = self.heard.blocks.get(block.parent)
        if parent is None:
            return None
        siblings = [b for h, b in self.heard.blocks.items() if b.view == parent.view and h != block.parent]
        return siblings[-1] if siblings else self.heard.blocks.get(parent.parent)
