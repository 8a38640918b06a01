"""Leader that proposes normally to one half and by fallback to the other in one view: it has what justifies either.

Attack C4 of protocol.md 5.3: Hiding (hiding.py) gives it both for the view before. The first half gets the fallback
block too, once it has voted and before the coalition has. Nobody votes in both kinds, so within the bound at most one
of the two blocks is certified; f+1 members certify both.
"""

from __future__ import annotations

from typing import ClassVar

from faults.byzantine.hiding import Hiding
from faults.byzantine.port import CorruptedNode
from faults.byzantine.primitives import proposal
from nodes.messages import BlockCertificate, TimeoutCertificate


class NormalAndFallback(Hiding):
    name: ClassVar[str] = "normal-and-fallback"
    attacks: ClassVar[tuple[str, ...]] = ("C4",)
    breaks_at: ClassVar[str] = "f+1 in the tribe, or 1 with mutant MM4"
    aims_at: ClassVar[str] = "I-U: fork, votes"

    def strike(self, node: CorruptedNode, view: int, x: BlockCertificate, without: TimeoutCertificate) -> None:
        soon = node.committee.parameters.delta_ms / 4
        self.fallback(node, view, without, 0, 1, after_ms=soon)  # queued first, so it leaves before the votes
        normal = proposal(node, self.block(node, x.block, view + 1), x)
        self.show(node, normal, 0, votes_after_ms=soon)
