"""Leader that shows a hidden certificate at the very moment when a timeout certificate without it has formed.

Attack C11 of protocol.md 5.3 (hiding.py): everybody gets it with the coalition's commit votes, and a fallback block
beside it. Who timed out in its view may not vote to commit it any more, so it is never committed.
"""

from __future__ import annotations

from typing import ClassVar

from faults.byzantine.hiding import Hiding
from faults.byzantine.port import CorruptedNode
from faults.byzantine.primitives import commit_vote
from nodes.messages import BlockCertificate, TimeoutCertificate


class LateRelease(Hiding):
    name: ClassVar[str] = "late-release"
    attacks: ClassVar[tuple[str, ...]] = ("C11",)
    breaks_at: ClassVar[str] = "1 with mutant MM7"
    aims_at: ClassVar[str] = "I-D: ancestry, fork, votes"

    def strike(self, node: CorruptedNode, view: int, x: BlockCertificate, without: TimeoutCertificate) -> None:
        self.say(node, x)
        for member in node.coalition:
            self.say(node, commit_vote(node, view, x.block, member))
        self.fallback(node, view, without, 0, 1)
