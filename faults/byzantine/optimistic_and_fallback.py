"""Leader that has one half vote optimistically on a hidden certificate, and the other for a fallback block beside it.

Attack C5 of protocol.md 5.3, on the hidden certificate X of hiding.py: X goes to the first half, so that it enters the
next view and may vote for O on X; a timeout certificate without X justifies F. Who timed out may not vote for O, so
within the bound O and F are not both certified; f+1 members certify both.
"""

from __future__ import annotations

from typing import ClassVar

from faults.byzantine.halves import victims
from faults.byzantine.hiding import Hiding
from faults.byzantine.port import CorruptedNode
from faults.byzantine.primitives import proposal
from nodes.messages import BlockCertificate, TimeoutCertificate


class OptimisticAndFallback(Hiding):
    name: ClassVar[str] = "optimistic-and-fallback"
    attacks: ClassVar[tuple[str, ...]] = ("C5",)
    breaks_at: ClassVar[str] = "f+1 in the tribe, or 1 with mutant MM1"
    aims_at: ClassVar[str] = "I-U: fork, votes"

    def strike(self, node: CorruptedNode, view: int, x: BlockCertificate, without: TimeoutCertificate) -> None:
        self.say(node, x, victims(node, self._halves)[0])
        self.show(node, proposal(node, self.block(node, x.block, view + 1)), 0)
        self.fallback(node, view, without, 1)
