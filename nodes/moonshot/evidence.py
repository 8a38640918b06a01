"""Evidence of equivocation (protocol.md 1.4, last paragraph, and 6.2 I-VOTE): two signed statements that no honest
replica makes in one view. Both signatures are verified before anybody is accused, and each (culprit, view, kind) once.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping

import msgspec

from nodes.messages import CommitVote, FallbackProposal, NodeId, NormalProposal, OptimisticProposal, Vote, VoteKind
from nodes.moonshot.outbox import Outbox
from nodes.moonshot.tallies import VoteTally

Proposal = OptimisticProposal | NormalProposal | FallbackProposal
Signed = Proposal | Vote | CommitVote

_encoder = msgspec.msgpack.Encoder()


class Evidence:
    """Compares votes with the first ones of each kind, voter and view, and reports conflicts as `accuse` events."""

    __slots__ = ("_accused", "_authentic", "_firsts", "_out")

    def __init__(
        self, out: Outbox, authentic: Callable[[Vote | CommitVote], bool], firsts: Mapping[VoteKind, VoteTally]
    ) -> None:
        self._out = out
        self._authentic = authentic
        self._firsts = firsts
        self._accused: set[tuple[int, NodeId, str]] = set()

    def again(self, place: int, vote: Vote | CommitVote, tally: VoteTally, kind: str) -> None:
        """A vote, verified or not, that is not the first of its voter (at `place`) in this view and kind."""
        first = tally.first(vote.view, place)
        if first is None or first.block == vote.block:
            return
        if not self._authentic(first):
            tally.replace_first(place, vote)
        else:
            self._conflict(vote.voter, f"double-vote-{kind}", first, vote)

    def compare(self, place: int, view: int, kind: VoteKind) -> None:
        """A vote of this kind has become a first one: normal ones against the fallback and the optimistic one."""
        normal = self._firsts["normal"].first(view, place)
        if normal is None:
            return
        other = self._firsts["fallback"].first(view, place) if kind != "optimistic" else None
        if other is not None:
            self._conflict(normal.voter, "normal-and-fallback-vote", normal, other)
        other = self._firsts["optimistic"].first(view, place)
        if other is not None and other.block != normal.block:
            self._conflict(normal.voter, "optimistic-normal-mismatch", other, normal)

    def accuse(self, culprit: NodeId, view: int, kind: str, *objects: Signed) -> None:
        """Emit `accuse` once; `evidence` is base64 of the msgpack array of the encoded objects."""
        if (view, culprit, kind) in self._accused:
            return
        self._accused.add((view, culprit, kind))
        evidence = base64.b64encode(_encoder.encode(objects)).decode()
        self._out.emit("accuse", culprit=culprit, kind=kind, evidence=evidence)

    def size(self) -> int:
        """Accusations that are remembered."""
        return len(self._accused)

    def prune(self, below: int) -> None:
        """Forget views under `below`."""
        if self._accused:
            self._accused = {entry for entry in self._accused if entry[0] >= below}

    def _conflict(self, voter: NodeId, kind: str, *votes: Vote | CommitVote) -> None:
        view = votes[0].view
        if (view, voter, kind) not in self._accused and all(self._authentic(vote) for vote in votes):
            self.accuse(voter, view, kind, *votes)
