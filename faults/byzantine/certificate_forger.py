"""Replica that forges certificates: bare ones, and inside normal proposals, time-outs and timeout certificates.

Attacks C16 (kinds mixed, view or epoch transplanted) and C17 (believed unverified) of protocol.md 5.3. For every block
that is proposed it shows a block and a commit certificate with one of `flaws` (forgery.FLAWS; default: all, in turn), a
time-out with the block certificate as its lock, with mixed-kind its votes of the other kinds, and, where it leads the
next view, a normal proposal on the forgery. All are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from faults.byzantine.forgery import FLAWS, forged, forged_commit
from faults.byzantine.overheard import KINDS
from faults.byzantine.port import CorruptedNode
from faults.byzantine.primitives import PROPOSALS, child, leader_of, proposal, timeout, vote
from faults.byzantine.rushing import Rushing
from faults.byzantine.sealing import Proposal, kind_of
from nodes.messages import Message, NodeId, block_hash


class CertificateForger(Rushing):
    name: ClassVar[str] = "certificate-forger"
    attacks: ClassVar[tuple[str, ...]] = ("C16", "C17")
    breaks_at: ClassVar[str] = "1 with mutant MM2, MM9, A5 or A7"
    aims_at: ClassVar[str] = "I-CERT, I-U: fork, votes"

    def __init__(self, flaws: Any = tuple(FLAWS)) -> None:
        super().__init__()
        if not isinstance(flaws, Sequence) or isinstance(flaws, str) or not flaws or set(flaws) - set(FLAWS):
            raise ValueError(f"flaws = {flaws!r}: a list of {', '.join(FLAWS)}")
        self._flaws = tuple(flaws)
        self._newest = 0

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        super().receive(node, sender, message)
        if isinstance(message, PROPOSALS) and message.block.view > self._newest:
            self._newest = message.block.view
            self._forge(node, message)
        return message

    def _forge(self, node: CorruptedNode, seen: Proposal) -> None:
        block, kind = seen.block, kind_of(seen)
        self.receipt.matched += 1
        flaw, identity = self._flaws[block.view % len(self._flaws)], block_hash(block)
        certificate = forged(node, flaw, kind, block.view, identity)
        if flaw == "mixed-kind":
            for other in (k for k in KINDS if k != kind):
                self.say(node, vote(node, other, block.view, identity))
        self.say(node, certificate)
        self.say(node, forged_commit(node, flaw, block.view, identity))
        self.say(node, timeout(node, block.view + 1, certificate))
        if leader_of(node.committee, block.view + 1) == node.id:
            self.say(node, proposal(node, child(node, block, block.view + 1, 1), certificate))
