"""Leader that proposes one block optimistically to one half, and another one normally to the other half.

Attack C3 of protocol.md 5.3. Who voted optimistically may vote normally for the same block only, and the halves need
each other's votes; f+1 members with votes for both (`double-voter`) certify both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from faults.byzantine.halves import parse_halves, victims
from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.primitives import sibling
from faults.byzantine.sealing import own_proposal, reseal
from nodes.messages import FallbackProposal, Message, NodeId, OptimisticProposal, block_hash


class TwoKindsLeader(Behaviour):
    name: ClassVar[str] = "two-kinds-leader"
    attacks: ClassVar[tuple[str, ...]] = ("C3",)
    breaks_at: ClassVar[str] = "f+1 in the tribe, with votes for both, or 1 with mutant MM3"
    aims_at: ClassVar[str] = "I-U: fork, votes"

    def __init__(self, halves: Any = None) -> None:
        super().__init__()
        self._halves = parse_halves(halves)

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        proposal = own_proposal(node, message)
        if proposal is None or isinstance(proposal, FallbackProposal):
            yield to, message
            return
        self.receipt.matched += 1
        first, second = victims(node, self._halves)
        if isinstance(proposal, OptimisticProposal):
            if to in second:
                self.receipt.dropped += 1
            else:
                yield to, message
        elif to in first:
            self.receipt.dropped += 1
        else:
            self.receipt.changed += 1
            other = reseal(node, proposal, sibling(proposal.block))
            node.share(f"variant/{block_hash(other.block).hex()}", 1)
            yield to, other
