"""Coalition that certifies batches with signatures that do not count: of outsiders, of too few, of another cycle.

Attacks D5 and D6 of protocol.md 5.6. Nothing breaks at any count below f_c+1 in one clan, since each such certificate
is invalid by itself: under correct rules everybody refuses it (aimed at I-CERT, I-DA). Every `every_s` seconds each
member sends everybody one of each `kinds`, and as a leader it puts them into its own blocks, which thereby die.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from msgspec.structs import replace

from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.sealing import availability_vote, own_proposal, reseal
from nodes.crypto import bitmap_of
from nodes.messages import AvailabilityCertificate, BatchHeader, Message, NodeId, sha256

KINDS = ("outsiders", "too-few", "repeated", "cycle")


class ForeignCertificate(Behaviour):
    name: ClassVar[str] = "foreign-certificate"
    attacks: ClassVar[tuple[str, ...]] = ("D5", "D6")
    breaks_at: ClassVar[str] = "none: refused by itself (1 with a mutated check)"
    aims_at: ClassVar[str] = "I-CERT, I-DA: availability"

    def __init__(self, every_s: float = 0.5, kinds: tuple[str, ...] = KINDS) -> None:
        super().__init__()
        if not 0.05 <= every_s <= 3600:
            raise ValueError(f"every_s = {every_s!r}: seconds between forgeries, from 0.05 to 3600")
        if not kinds or set(kinds) - set(KINDS):
            raise ValueError(f"kinds = {kinds!r}: some of {', '.join(KINDS)}")
        self._every_ns, self._kinds = int(every_s * 1e9), kinds
        self._next = 0
        self._forged: tuple[AvailabilityCertificate, ...] = ()

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        proposal = own_proposal(node, message)
        if proposal is not None and self._forged:
            self.receipt.matched += 1
            self.receipt.changed += 1
            payload = (*proposal.block.payload[:40], *self._forged)
            message = reseal(node, proposal, replace(proposal.block, payload=payload))
        yield to, message

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        if node.now < self._next:
            return
        self._next = node.now + self._every_ns
        self._forged = tuple(self._forge(node, kind) for kind in self._kinds)
        everyone = [to for to in node.committee.members("everyone") if to != node.id]
        self.receipt.injected += len(everyone) * len(self._forged)
        yield from ((to, certificate) for certificate in self._forged for to in everyone)

    def _forge(self, node: CorruptedNode, kind: str) -> AvailabilityCertificate:
        """A certificate for a batch that does not exist."""
        committee, d = node.committee, node.domain
        own = committee.clan_of[node.id]
        clan = (own + 1) % len(committee.clans) if kind == "outsiders" else own
        members, needed = committee.clans[clan], committee.majority(clan)
        proposer = members[0] if kind == "outsiders" else node.id
        cycle = d.cycle + 1 if kind == "cycle" else d.cycle
        root = sha256(b"FOREIGN", kind.encode(), node.rng.randbytes(8))
        header = BatchHeader(d.chain, d.epoch, cycle, clan, proposer, 900, root, 1, 200, node.now // 1_000_000)
        accomplices = [member for member in members if member in node.coalition][: needed - 1] or [node.id]
        votes = [availability_vote(node, header, member) for member in accomplices]
        if kind != "too-few":  # their signatures again, under the names of as many as it takes
            votes = (votes * needed)[:needed]
        v, signers = votes[0], bitmap_of(members, members[: len(votes)])
        facts = (v.clan, v.proposer, v.seq, v.batch, v.tx_count, v.byte_length, v.created_ms)
        return AvailabilityCertificate(d.epoch, cycle, *facts, signers, tuple(vote.signature for vote in votes))
