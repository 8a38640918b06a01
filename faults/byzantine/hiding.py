"""The common ground of C4, C5, C10 and C11: a certificate that only the coalition knows, and the views that lack it.

In a view that the coalition leads, and whose successor it leads too, the block is shown to no more honest nodes than a
quorum needs, the coalition's votes stay inside, and the certificate X that they complete is kept. It says time-out to
the second half at once: with f+1 members that draws theirs, and a timeout certificate without X. With both in hand
it strikes; how, is the attack (`strike`). In the next view its own core is not heard. Before the first strike nothing
counts in the receipt: an attack that never held both has not bitten.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from faults.byzantine.halves import parse_halves, victims
from faults.byzantine.port import CorruptedNode
from faults.byzantine.primitives import child, leader_of, leads, proposal, timeout, vote
from faults.byzantine.rushing import Rushing
from faults.byzantine.sealing import Proposal, kind_of, own_proposal
from faults.rounds import round_of
from nodes.messages import (
    Block,
    BlockCertificate,
    BlockRequest,
    BlockResponse,
    Message,
    NodeId,
    TimeoutCertificate,
    block_hash,
)


class Hiding(Rushing):
    """`halves`: the honest tribe in two; the first is shown the block and, in time, X; the second is not."""

    def __init__(self, halves: Any = None) -> None:
        super().__init__()
        self._halves = parse_halves(halves)
        self._certificates: dict[int, BlockCertificate] = {}  # hidden view -> X
        self._struck: set[int] = set()
        self._made: dict[bytes, Block] = {}
        self._asked: list[tuple[NodeId, Block]] = []

    def strike(self, node: CorruptedNode, view: int, x: BlockCertificate, without: TimeoutCertificate) -> None:
        """Say what follows: `x` certifies a block of `view`, `without` is a timeout certificate of it below that."""
        raise NotImplementedError

    # ------------------------------------------------------------ hooks
    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        if isinstance(message, BlockRequest) and message.block in self._made:
            self._asked.append((sender, self._made[message.block]))
            return None  # the core does not know the block
        super().receive(node, sender, message)
        view, step = round_of(message)
        if step and hidden(node, view):
            self._consider(node, view)
        return message

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        self.heard.learn(message)
        view, step = round_of(message)
        if to in node.coalition or not step or not (hidden(node, view) or hidden(node, view - 1)):
            yield to, message
            return
        if hidden(node, view) and own_proposal(node, message) and to in victims(node, self._halves)[0]:
            self.receipt.matched += 1
            yield to, message
        elif hidden(node, view) or step == "proposal" or view - 1 in self._struck:
            self.receipt.dropped += bool(self._struck)
        else:
            yield to, message

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        asked, self._asked = self._asked, []
        yield from ((to, BlockResponse((block,))) for to, block in asked)
        counted = self.receipt.injected
        yield from super().act(node)
        if not self._struck:
            self.receipt.injected = counted

    # ------------------------------------------------------------ the two certificates
    def _consider(self, node: CorruptedNode, view: int) -> None:
        if view in self._struck or leader_of(node.committee, view + 1) != node.id:
            return  # the next view's leader is the brain
        block = self.heard.proposed.get(view)
        if block is None:
            return
        if view not in self._certificates:
            x = self.heard.certificate(node, block)
            if x is None:
                return
            self._certificates[view] = x
            for member in node.coalition:
                low = self._parent(block)
                if low is not None:
                    early = timeout(node, view, low, member)
                    self.heard.learn(early)
                    self.say(node, early, victims(node, self._halves)[1])
        without = self._without(node, view)
        if without is not None:
            self._struck.add(view)
            self.receipt.matched += 1
            self.strike(node, view, self._certificates[view], without)

    def _parent(self, block: bytes) -> BlockCertificate | None:
        return self.heard.certificates.get(self.heard.blocks[block].parent)

    def _without(self, node: CorruptedNode, view: int) -> TimeoutCertificate | None:
        """TC(view) of a quorum whose locks are all below the view."""
        members = [m for m in reversed(node.committee.tribe) if self.heard.said("TMO", view, (m,))]
        quorum = node.committee.quorum
        found = self.heard.timeout_certificate(node, view, members[:quorum]) if len(members) >= quorum else None
        return found if found is not None and found.high.block in self.heard.blocks else None

    # ------------------------------------------------------------ for the strike
    def block(self, node: CorruptedNode, parent: bytes, view: int, number: int = 0) -> Block:
        """A new block of the coalition, served to whoever asks for it."""
        made = child(node, self.heard.blocks[parent], view, number)
        self._made[block_hash(made)] = made
        return made

    def show(
        self, node: CorruptedNode, said: Proposal, half: int, after_ms: float = 0, votes_after_ms: float = 0
    ) -> None:
        """Propose to one half, with the whole coalition's votes, these later if that is wanted."""
        targets = [n for n in victims(node, self._halves)[half] if n in node.committee.index]
        self.heard.learn(said)
        self.say(node, said, targets, after_ms)
        for member in node.coalition:
            own = vote(node, kind_of(said), said.block.view, block_hash(said.block), member)
            self.say(node, own, targets, after_ms + votes_after_ms)

    def fallback(
        self, node: CorruptedNode, view: int, without: TimeoutCertificate, *halves: int, after_ms: float = 0
    ) -> Block:
        """The rightful fallback proposal of the next view, beside X, to one half or both."""
        made = self.block(node, without.high.block, view + 1, 1)
        for half in halves:
            self.show(node, proposal(node, made, without), half, after_ms)
        return made


def hidden(node: CorruptedNode, view: int) -> bool:
    """Does the coalition lead this view and the next, but not the one before (whose certificate is then known)?"""
    return view > 1 and leads(node, view) and leads(node, view + 1) and not leads(node, view - 1)
