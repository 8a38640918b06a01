"""Replica that signs every vote that anybody else signs: it votes for both branches of any fork.

Attacks C5, C6, C7 and C14 of protocol.md 5.3. Smallest breaking count: f+1 while the honest are cut into two halves
that both still reach the coalition. Aimed at I-U, I-D and I-PFX. For each honest vote, commit vote or timeout it sends
its own of the same content to that voter's half; for each proposal it sees it votes at once. What its honest core
would have told the victims about votes and certificates is held back, so that neither half learns of the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from faults.byzantine.halves import parse_halves, victims
from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.sealing import kind_of
from nodes.messages import (
    BlockCertificate,
    CommitCertificate,
    CommitVote,
    FallbackProposal,
    Message,
    NodeId,
    NormalProposal,
    OptimisticProposal,
    Timeout,
    TimeoutCertificate,
    Vote,
    block_hash,
)

HELD_BACK = (Vote, CommitVote, Timeout, BlockCertificate, CommitCertificate, TimeoutCertificate)
KEPT = 4096  # statements remembered, so that each is echoed once a half


class DoubleVoter(Behaviour):
    name: ClassVar[str] = "double-voter"
    attacks: ClassVar[tuple[str, ...]] = ("C5", "C6", "C7", "C14")
    breaks_at: ClassVar[str] = "f+1 in the tribe"
    aims_at: ClassVar[str] = "I-U, I-D, I-PFX: fork, prefix"

    def __init__(self, halves: Any = None) -> None:
        super().__init__()
        self._halves = parse_halves(halves)
        self._done: dict[tuple[int, Message], None] = {}
        self._queue: list[tuple[NodeId, Message]] = []

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        if isinstance(message, Vote | CommitVote | Timeout) and message.voter not in node.coalition:
            for half, members in enumerate(victims(node, self._halves)):
                if message.voter in members:
                    self._echo(node, half, members, self._mine(node, message))
        self._vote(node, message)
        if isinstance(message, HELD_BACK) and sender in victims(node, self._halves)[1]:
            return None  # the own core lives in the first half's world: it would stop at two contradicting quorums
        return message

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        self._vote(node, message)
        if isinstance(message, HELD_BACK) and to not in node.coalition:
            self.receipt.matched += 1
            self.receipt.dropped += 1
            return
        yield to, message

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        queue, self._queue = self._queue, []
        return queue

    def _vote(self, node: CorruptedNode, message: Message) -> None:
        """Vote for a proposal, whoever made it: to the half it was made for, or to both when that is not known."""
        if isinstance(message, OptimisticProposal | NormalProposal | FallbackProposal):
            block = block_hash(message.block)
            for half, members in enumerate(victims(node, self._halves)):
                if node.blackboard.get(f"variant/{block.hex()}", half) == half:
                    vote = Vote(kind_of(message), message.block.view, block, node.id, bytes(64))
                    self._echo(node, half, members, self._mine(node, vote))

    def _mine(self, node: CorruptedNode, vote: Vote | CommitVote | Timeout) -> Vote | CommitVote | Timeout:
        if isinstance(vote, Vote):
            signature = node.sign(node.domain.vote(vote.kind, vote.view, vote.block))
            return Vote(vote.kind, vote.view, vote.block, node.id, signature)
        if isinstance(vote, CommitVote):
            return CommitVote(vote.view, vote.block, node.id, node.sign(node.domain.commit(vote.view, vote.block)))
        signature = node.sign(node.domain.timeout(vote.view, vote.lock.view))
        return Timeout(vote.view, vote.lock, node.id, signature)

    def _echo(self, node: CorruptedNode, half: int, members: tuple[NodeId, ...], vote: Message) -> None:
        self.receipt.matched += 1
        if (half, vote) in self._done and not isinstance(vote, Timeout):  # timeouts are repeated for lossy links
            return
        self._done[half, vote] = None
        if len(self._done) > KEPT:
            del self._done[next(iter(self._done))]
        everyone = isinstance(vote, CommitVote)  # votes and timeouts go to the tribe only, commit votes to gateways too
        targets = [n for n in members if everyone or n in node.committee.index]
        self._queue += [(to, vote) for to in targets]
        self.receipt.injected += len(targets)
