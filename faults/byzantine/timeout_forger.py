"""Replica that forges a timeout certificate for each view, another flaw each time, and shows it to everybody.

Attack C13 of protocol.md 5.3 (P5): Q-1 signers, one signer repeated, an outsider, invented signatures, time-outs of
the view before, lock views below what was signed. Where it leads, it proposes with the forgery too. All are refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from faults.byzantine.forgery import FLAWS, forged_timeouts, understated
from faults.byzantine.port import CorruptedNode
from faults.byzantine.primitives import child, genesis_certificate, leader_of, proposal
from faults.byzantine.rushing import Rushing
from nodes.messages import Message, NodeId

FORGERIES = tuple(flaw for flaw in FLAWS if flaw != "mixed-kind")


class TimeoutForger(Rushing):
    name: ClassVar[str] = "timeout-forger"
    attacks: ClassVar[tuple[str, ...]] = ("C13",)
    breaks_at: ClassVar[str] = "1 with mutant A4, A11, B9 or MM9"
    aims_at: ClassVar[str] = "I-TC, I-CERT, I-D: timeouts, fork, ancestry"

    def __init__(self) -> None:
        super().__init__()
        self._tried = 0  # newest view that was forged for

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        locks = [qc for qc in self.heard.certificates.values() if qc.block in self.heard.blocks]
        if locks and self.front > self._tried:
            view = self._tried = self.front
            self.receipt.matched += 1
            high = max(locks, key=lambda qc: qc.view)
            below = min(locks, key=lambda qc: qc.view) if view % 2 else high
            forgery = forged_timeouts(node, FORGERIES[view % len(FORGERIES)], view, below)
            self.say(node, forgery)
            if leader_of(node.committee, view + 1) == node.id:
                block = child(node, self.heard.blocks[below.block], view + 1, 1)
                self.say(node, proposal(node, block, forgery))
            genuine = self.heard.timeout_certificate(node, view - 1, self._timed_out(node, view - 1))
            if genuine is not None:
                self.say(node, understated(genuine, genesis_certificate(node)))
        return super().act(node)

    def _timed_out(self, node: CorruptedNode, view: int) -> list[NodeId]:
        return [m for m in node.committee.tribe if self.heard.said("TMO", view, (m,))][: node.committee.quorum]
