"""Replica that forges a timeout certificate for each view, another flaw each time, and shows it to everybody.

Attack C13 of protocol.md 5.3 (P5): Q-1 signers, one signer repeated, an outsider, invented signatures, time-outs of
the view before; of genuine ones, a lower high certificate and lower lock views. It repeats its own time-out, too. Where
it leads, it proposes with the forgery. All are refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from msgspec.structs import replace

from faults.byzantine.forgery import FLAWS, forged_timeouts, understated
from faults.byzantine.port import CorruptedNode
from faults.byzantine.primitives import child, leader_of, proposal, timeout, vote
from faults.byzantine.rushing import Rushing
from nodes.messages import Message, NodeId, TimeoutCertificate, block_hash

FORGERIES = tuple(flaw for flaw in FLAWS if flaw != "mixed-kind")


class TimeoutForger(Rushing):
    name: ClassVar[str] = "timeout-forger"
    attacks: ClassVar[tuple[str, ...]] = ("C13",)
    breaks_at: ClassVar[str] = "1 with mutant A4 or B9"
    aims_at: ClassVar[str] = "I-TC, I-CERT, I-D: timeouts, fork, ancestry"

    def __init__(self) -> None:
        super().__init__()
        self._forged = 0  # newest view that it forged a certificate for
        self._bent = 0  # newest view of which it bent a genuine one

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        locks = [qc for qc in self.heard.certificates.values() if qc.block in self.heard.blocks]
        if locks and self.front > self._forged:
            view = self._forged = self.front
            self.receipt.matched += 1
            newest = max(locks, key=lambda qc: qc.view)
            for _ in range(node.committee.quorum):
                self.say(node, timeout(node, view, min(locks, key=lambda qc: qc.view)))
            self._show(node, forged_timeouts(node, FORGERIES[view % len(FORGERIES)], view, newest))
        if locks and self.front > self._bent:
            genuine = self.heard.timeout_certificate(node, self.front, self._timed_out(node, self.front))
            lowest = min(locks, key=lambda qc: qc.view)
            if genuine is not None and lowest.view < genuine.high.view:
                self._bent = self.front
                self._show(node, replace(genuine, high=lowest))
                self._show(node, understated(genuine, lowest))
        return super().act(node)

    def _show(self, node: CorruptedNode, forgery: TimeoutCertificate) -> None:
        """To everybody, and as the justification of an own proposal on its highest block."""
        self.say(node, forgery)
        if leader_of(node.committee, forgery.view + 1) == node.id:
            block = child(node, self.heard.blocks[forgery.high.block], forgery.view + 1, 1)
            self.say(node, proposal(node, block, forgery))
            self.say(node, vote(node, "fallback", block.view, block_hash(block)))

    def _timed_out(self, node: CorruptedNode, view: int) -> list[NodeId]:
        """A quorum of those who timed out, or fewer: then there is no certificate."""
        who = [m for m in node.committee.tribe if self.heard.said("TMO", view, (m,))][: node.committee.quorum]
        return who if len(who) >= node.committee.quorum else [*who, "?"]
