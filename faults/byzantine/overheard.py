"""What a corrupted node heard of consensus, kept so that it can be used: blocks, votes, timeouts and certificates.

A rushing adversary sees every message before it decides. From what it heard, and from its own signatures, it builds the
certificates that exist nowhere else yet (protocol.md 5.1 P2, P5, P17).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from faults.byzantine.port import CorruptedNode
from nodes.crypto import assemble, bitmap_of
from nodes.messages import (
    Block,
    BlockCertificate,
    BlockResponse,
    CommitVote,
    FallbackProposal,
    Message,
    NodeId,
    NormalProposal,
    OptimisticProposal,
    Timeout,
    TimeoutCertificate,
    Vote,
    VoteKind,
    block_hash,
)

KEPT = 64  # views behind the newest one that are remembered
KINDS: tuple[VoteKind, ...] = ("optimistic", "normal", "fallback")
Statement: TypeAlias = tuple[str, int, bytes]  # kind (commit too), view, block


class Overheard:
    """Feed it every message with `learn`; what it returns is true to what was heard, signatures included."""

    def __init__(self) -> None:
        self.blocks: dict[bytes, Block] = {}
        self.proposed: dict[int, bytes] = {}  # view -> the block first proposed for it
        self.certificates: dict[bytes, BlockCertificate] = {}
        self._votes: dict[Statement, dict[NodeId, bytes]] = {}
        self._timeouts: dict[int, dict[NodeId, Timeout]] = {}
        self._said: set[tuple[str, int, NodeId]] = set()  # wire tag, view, signer
        self._newest = 0
        self._last: Message | None = None

    def learn(self, message: Message) -> None:
        """Take in a message, whoever sent it."""
        if message is self._last:  # a multicast, recipient by recipient
            return
        self._last = message
        match message:
            case OptimisticProposal(block):
                self._propose("OPT", block)
            case NormalProposal(block, certificate):
                self._propose("NRM", block)
                self._certificate(certificate)
            case FallbackProposal(block, certificate):
                self._propose("FBK", block)
                self._certificate(certificate.high)
            case Vote(kind, view, block, voter, signature):
                self._votes.setdefault((kind, view, block), {})[voter] = signature
                self._said.add(("VOTE", view, voter))
            case CommitVote(view, block, voter, signature):
                self._votes.setdefault(("commit", view, block), {})[voter] = signature
                self._said.add(("CMT", view, voter))
            case Timeout(view, lock, voter):
                held = self._timeouts.setdefault(view, {})
                if voter not in held or lock.view < held[voter].lock.view:
                    held[voter] = message  # the lowest lock serves an adversary best
                self._said.add(("TMO", view, voter))
                self._certificate(lock)
            case BlockCertificate():
                self._certificate(message)
            case BlockResponse(blocks):
                self.blocks.update((block_hash(block), block) for block in blocks)

    def said(self, tag: str, view: int, nodes: Iterable[NodeId]) -> bool:
        """Has each of the nodes signed a VOTE, CMT, TMO or proposal of this view?"""
        return all((tag, view, node) in self._said for node in nodes)

    def certificate(self, node: CorruptedNode, block: bytes, kind: VoteKind | None = None) -> BlockCertificate | None:
        """A certificate for the block, of `kind` if that is given: one that was heard, or one made of Q votes, those of
        the whole coalition included."""
        body, heard = self.blocks.get(block), self.certificates.get(block)
        if heard is not None and kind in (None, heard.kind):
            return heard
        if body is None:
            return None
        for each in KINDS if kind is None else (kind,):
            statement, signatures = node.domain.vote(each, body.view, block), dict(self.votes(each, body.view, block))
            signatures |= {member: node.sign(statement, member) for member in node.coalition}
            if len(signatures) >= node.committee.quorum:
                bits, ordered = assemble(node.committee.tribe, signatures, node.committee.quorum)
                return BlockCertificate(node.domain.epoch, each, body.view, block, bits, ordered)
        return None

    def votes(self, kind: str, view: int, block: bytes) -> Mapping[NodeId, bytes]:
        """Signatures of those who were heard to vote so (kind "commit": of commit votes)."""
        return self._votes.get((kind, view, block), {})

    def timeout_certificate(
        self, node: CorruptedNode, view: int, signers: Sequence[NodeId]
    ) -> TimeoutCertificate | None:
        """TC(view) of exactly these signers, coalition members' timeouts included once they are learnt."""
        held = self._timeouts.get(view, {})
        chosen = [held[member] for member in node.committee.tribe if member in signers and member in held]
        if len(chosen) < len(signers) or not chosen:
            return None
        return TimeoutCertificate(
            epoch=node.domain.epoch,
            view=view,
            high=max((t.lock for t in chosen), key=lambda lock: lock.view),
            signers=bitmap_of(node.committee.tribe, [t.voter for t in chosen]),
            lock_views=tuple(t.lock.view for t in chosen),
            signatures=tuple(t.signature for t in chosen),
        )

    def _propose(self, tag: str, block: Block) -> None:
        identity = block_hash(block)
        self.blocks[identity] = block
        self.proposed.setdefault(block.view, identity)
        self._said.add((tag, block.view, block.proposer))
        if block.view > self._newest:
            self._newest = block.view
            self._forget(block.view - KEPT)

    def _certificate(self, certificate: BlockCertificate) -> None:
        self.certificates.setdefault(certificate.block, certificate)

    def _forget(self, below: int) -> None:
        self.blocks = {h: block for h, block in self.blocks.items() if block.view >= below}
        self.proposed = {view: h for view, h in self.proposed.items() if view >= below}
        self.certificates = {h: qc for h, qc in self.certificates.items() if qc.view >= below}
        self._votes = {key: votes for key, votes in self._votes.items() if key[1] >= below}
        self._timeouts = {view: held for view, held in self._timeouts.items() if view >= below}
        self._said = {entry for entry in self._said if entry[1] >= below}
