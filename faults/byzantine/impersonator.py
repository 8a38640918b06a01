"""Replica that speaks in the names of honest ones, with signatures of its own under what they never said.

Attack C18 of protocol.md 5.3 (P6) by whoever has no key: proposals of the next leader, everybody's votes for them,
time-outs, availability and state votes, a state certificate, batches, and receipts to gateways. Each is refused where
it arrives; what forgets to verify its kind believes it. `every`: speak in one view of so many.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from msgspec.structs import replace

from faults.byzantine.port import CorruptedNode
from faults.byzantine.primitives import MS, child, genesis_certificate, honest, leader_of
from faults.byzantine.rushing import Rushing
from nodes.crypto import bitmap_of
from nodes.messages import (
    AvailabilityVote,
    BatchMessage,
    CommitVote,
    Forward,
    ForwardReceipt,
    Message,
    NodeId,
    OptimisticProposal,
    StateCertificate,
    StateVote,
    Timeout,
    Vote,
    block_hash,
    tx_id,
)

FALSE = b"\xee" * 32  # a block and a root that nothing leads to
AHEAD = 3  # heights: state votes for what nobody has executed yet come before the true ones


class Impersonator(Rushing):
    name: ClassVar[str] = "impersonator"
    attacks: ClassVar[tuple[str, ...]] = ("C18",)
    breaks_at: ClassVar[str] = "never: refused by whoever verifies it"
    aims_at: ClassVar[str] = "I-CERT, I-ROOT: proposals, state-root, liveness"

    def __init__(self, every: int = 3) -> None:
        super().__init__()
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"every = {every!r}: a number of views, 1 or more")
        self._every = every
        self._spoken = 0  # the last view

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        if isinstance(message, Forward) and sender in node.committee.gateways:
            self._acknowledge(node, sender, message)
        elif isinstance(message, StateVote) and sender == message.voter:
            self._certify(node, message)
        elif isinstance(message, BatchMessage) and sender == message.batch.header.proposer:
            self._batch(node, sender, message)
        elif isinstance(message, AvailabilityVote) and sender == message.voter:
            others = [n for n in node.committee.clans[message.clan] if n not in (*node.coalition, sender)]
            for voter in others[:1]:
                self.say(node, replace(message, voter=voter, signature=node.sign(voter.encode())))
        return super().receive(node, sender, message)

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        if self.front >= self._spoken + self._every:
            self._spoken = self.front
            self._propose(node, self.front)
        return super().act(node)

    def _propose(self, node: CorruptedNode, view: int) -> None:
        """A block of the next leader, if that is an honest one, with everybody's votes; and time-outs of everybody."""
        parent = self.heard.blocks.get(self.heard.proposed.get(view, b""))
        leader, others = leader_of(node.committee, view + 1), honest(node)
        if parent is not None and leader in others:
            block = child(node, parent, view + 1, 1)
            identity = block_hash(block)
            listeners = [n for n in others if n != leader]
            signature = node.sign(node.domain.proposal("optimistic", view + 1, identity))
            self.say(node, OptimisticProposal(block, signature), listeners)
            voted = node.sign(node.domain.vote("optimistic", view + 1, identity))
            committed = node.sign(node.domain.commit(view + 1, identity))
            for voter in others:
                self.say(node, Vote("optimistic", view + 1, identity, voter, voted), listeners)
                self.say(node, CommitVote(view + 1, identity, voter, committed), listeners)
        lock = genesis_certificate(node)
        signature = node.sign(node.domain.timeout(view + 1, lock.view))
        for voter in others:
            self.say(node, Timeout(view + 1, lock, voter, signature))

    def _certify(self, node: CorruptedNode, vote: StateVote) -> None:
        """Votes of a whole clan for the root of a height to come, and a certificate of a false root."""
        d, members = node.domain, node.committee.clans[vote.clan]
        audience = (*honest(node), *node.committee.gateways)
        later = replace(vote, height=vote.height + AHEAD, block=FALSE, root=FALSE, signature=bytes(64))
        for voter in members:
            self.say(node, replace(later, voter=voter), audience)
        signature = node.sign(d.root(vote.clan, vote.height, vote.block, vote.previous_root, FALSE))
        signers = members[: node.committee.majority(vote.clan)]
        certificate = StateCertificate(
            d.epoch, d.cycle, vote.clan, vote.height, vote.block, vote.previous_root, FALSE,
            bitmap_of(members, signers), (signature,) * len(signers),
        )  # fmt: skip
        self.say(node, certificate, audience)

    def _batch(self, node: CorruptedNode, proposer: NodeId, message: BatchMessage) -> None:
        """The batch once more, made a millisecond earlier, as if its proposer had equivocated."""
        header = message.batch.header
        if proposer in node.coalition or not header.created_ms:
            return
        forged = replace(header, created_ms=header.created_ms - 1)
        batch = replace(message.batch, header=forged, signature=node.sign(proposer.encode()))
        self.say(node, BatchMessage(batch))

    def _acknowledge(self, node: CorruptedNode, gateway: NodeId, forward: Forward) -> None:
        """Receipts of the rest of the family, who may never have got the transaction."""
        tx, clan = tx_id(forward.transaction), node.committee.clan_of_key(forward.transaction.sender)
        now_ms = node.now // MS
        for member in node.committee.family(tx, clan):
            if member not in node.coalition:
                signature = node.sign(node.domain.receipt(tx, member, now_ms))
                self.say(node, ForwardReceipt(tx, member, now_ms, signature), (gateway,))
