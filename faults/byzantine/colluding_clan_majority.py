"""Coalition with a clan majority that certifies batches which do not exist: whoever orders them can never execute.

Attack D1 of protocol.md 5.6. Smallest breaking count: f_c+1 in the clan. Aimed at I-DA. The first member of the
coalition in each clan invents a batch header every `every_s` seconds; all members vote for it, and if their keys are a
majority it sends everybody the certificate. With fewer keys nothing may come of the votes. Requests are refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from faults.byzantine.accomplices import JointVotes
from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.sealing import availability_vote, coalition_of_clan
from nodes.crypto import assemble
from nodes.messages import (
    AvailabilityCertificate,
    BatchHeader,
    BatchMessage,
    BatchRequest,
    Message,
    NodeId,
    sha256,
)

SEQ_GAP = 500  # ahead of the proposer's real batches, yet inside the window that honest nodes accept
SEQ_STEP = 10  # the core goes on from a certified number, invented ones included: leave it room
TX_BYTES = 200


class ColludingClanMajority(Behaviour):
    name: ClassVar[str] = "colluding-clan-majority"
    attacks: ClassVar[tuple[str, ...]] = ("D1",)
    breaks_at: ClassVar[str] = "f_c+1 in the clan"
    aims_at: ClassVar[str] = "I-DA: availability"

    def __init__(self, every_s: float = 1.0) -> None:
        super().__init__()
        if isinstance(every_s, bool) or not isinstance(every_s, int | float) or not 0.05 <= every_s <= 3600:
            raise ValueError(f"every_s = {every_s!r}: seconds between inventions, from 0.05 to 3600")
        self._every_ns = int(every_s * 1e9)
        self._votes = JointVotes("invented-batch")
        self._next = 0
        self._seq = 0  # highest sequence number used by this node, real or invented

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        if isinstance(message, BatchMessage) and message.batch.header.proposer == node.id:
            self._seq = max(self._seq, message.batch.header.seq)
        yield to, message

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        if isinstance(message, BatchRequest) and sender not in node.coalition:
            self.receipt.matched += 1
            self.receipt.dropped += 1
            return None
        return message

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        out = [*self._attack(node), *self._votes.due(node)]
        self.receipt.injected += len(out)
        return out

    def _attack(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        clan = node.committee.clan_of.get(node.id)
        if clan is None or node.now < self._next:
            return
        accomplices = coalition_of_clan(node.committee, node.coalition, clan)
        if node.id != accomplices[0]:
            return
        self._next = node.now + self._every_ns
        header = self._invent(node, clan)
        self._votes.ask(node, header)
        weight = node.committee.majority(clan)
        if len(accomplices) >= weight:
            votes = [availability_vote(node, header, voter) for voter in accomplices]
            signers, signatures = assemble(node.committee.clans[clan], {v.voter: v.signature for v in votes}, weight)
            v = votes[0]
            facts = (v.clan, v.proposer, v.seq, v.batch, v.tx_count, v.byte_length, v.created_ms)
            certificate = AvailabilityCertificate(header.epoch, header.cycle, *facts, signers, signatures)
            yield from ((to, certificate) for to in node.committee.members("everyone") if to != node.id)

    def _invent(self, node: CorruptedNode, clan: int) -> BatchHeader:
        self._seq = max(SEQ_GAP, self._seq + SEQ_STEP)
        d, now_ms = node.domain, node.now // 1_000_000
        root = sha256(b"INVENTED", node.id.encode(), self._seq.to_bytes(8, "big"), node.rng.randbytes(8))
        return BatchHeader(d.chain, d.epoch, d.cycle, clan, node.id, self._seq, root, 1, TX_BYTES, now_ms)
