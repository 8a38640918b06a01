"""Replica that signs every vote that anybody else signs: it votes for both branches of any fork.

Attacks C5, C6, C7 and C14 of protocol.md 5.3. Smallest breaking count: f+1 while the honest are cut into two halves
that both still reach the coalition. Aimed at I-U, I-D and I-PFX. For each honest vote, commit vote or timeout it sends
its own of the same content to that voter's half; for each proposal it sees it votes at once. What its honest core
would have told the victims about votes and certificates is held back, so that neither half learns of the other.
`kinds`: what it signs twice, of vote, commit and timeout (default: all).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from faults.byzantine.halves import parse_halves, victims
from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.primitives import commit_vote, timeout, vote
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
ECHOED: dict[str, type[Message]] = {"vote": Vote, "commit": CommitVote, "timeout": Timeout}
KEPT = 4096  # statements remembered, so that each is echoed once a half


class DoubleVoter(Behaviour):
    name: ClassVar[str] = "double-voter"
    attacks: ClassVar[tuple[str, ...]] = ("C5", "C6", "C7", "C14", "C20")
    breaks_at: ClassVar[str] = "f+1 in the tribe"
    aims_at: ClassVar[str] = "I-U, I-D, I-PFX: fork, prefix"

    def __init__(self, halves: Any = None, kinds: Any = tuple(ECHOED)) -> None:
        super().__init__()
        self._halves = parse_halves(halves)
        if not isinstance(kinds, Sequence) or isinstance(kinds, str) or not kinds or set(kinds) - set(ECHOED):
            raise ValueError(f"kinds = {kinds!r}: a list of {', '.join(ECHOED)}")
        self._echoed = tuple(ECHOED[kind] for kind in kinds)
        self._done: dict[tuple[int, Message], None] = {}
        self._queue: list[tuple[NodeId, Message]] = []

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        if (
            isinstance(message, Vote | CommitVote | Timeout)
            and isinstance(message, self._echoed)
            and message.voter not in node.coalition
        ):
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
        if isinstance(message, OptimisticProposal | NormalProposal | FallbackProposal) and Vote in self._echoed:
            block = block_hash(message.block)
            for half, members in enumerate(victims(node, self._halves)):
                if node.blackboard.get(f"variant/{block.hex()}", half) == half:
                    self._echo(node, half, members, vote(node, kind_of(message), message.block.view, block))

    def _mine(self, node: CorruptedNode, said: Vote | CommitVote | Timeout) -> Vote | CommitVote | Timeout:
        if isinstance(said, Vote):
            return vote(node, said.kind, said.view, said.block)
        if isinstance(said, CommitVote):
            return commit_vote(node, said.view, said.block)
        return timeout(node, said.view, said.lock)

    def _echo(self, node: CorruptedNode, half: int, members: tuple[NodeId, ...], said: Message) -> None:
        self.receipt.matched += 1
        if (half, said) in self._done and not isinstance(said, Timeout):  # timeouts are repeated for lossy links
            return
        self._done[half, said] = None
        if len(self._done) > KEPT:
            del self._done[next(iter(self._done))]
        everyone = isinstance(said, CommitVote)  # votes and timeouts go to the tribe only, commit votes to gateways too
        targets = [n for n in members if everyone or n in node.committee.index]
        self._queue += [(to, said) for to in targets]
        self.receipt.injected += len(targets)
