"""Evidence of equivocation (protocol.md 1.4, last paragraph, and 6.2 I-VOTE): two signed statements that no honest
replica makes in one view. Both signatures are verified before anybody is accused, and each (culprit, view, kind) once.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

import msgspec

from nodes.messages import CommitVote, FallbackProposal, NodeId, NormalProposal, OptimisticProposal, Vote
from nodes.moonshot.outbox import Outbox
from nodes.moonshot.window import ByView

Proposal = OptimisticProposal | NormalProposal | FallbackProposal
Signed = Proposal | Vote | CommitVote
KINDS = ("optimistic", "normal", "fallback", "commit")

_encoder = msgspec.msgpack.Encoder()


class Evidence:
    """Remembers the first vote of each kind, voter and view, and reports conflicts as `accuse` events."""

    def __init__(self, out: Outbox, authentic: Callable[[Vote | CommitVote], bool]) -> None:
        self._out = out
        self._authentic = authentic
        self._votes: ByView[dict[str, dict[NodeId, Vote | CommitVote]]] = ByView()  # view -> kind -> voter
        self._accused: set[tuple[int, NodeId, str]] = set()

    def vote(self, vote: Vote | CommitVote, kind: str) -> None:
        """Compare a vote, verified or not, with what its voter said before in this view. Kind: VoteKind or "commit"."""
        view, voter = vote.view, vote.voter
        said = self._votes.get(view)
        if said is None:
            said = self._votes[view] = {name: {} for name in KINDS}
        first = said[kind].setdefault(voter, vote)
        if first is not vote:
            if first.block == vote.block:
                return
            if not self._authentic(first):
                said[kind][voter] = vote
            else:
                self._conflict(voter, f"double-vote-{kind}", first, vote)
        normal = said["normal"].get(voter)
        if normal is not None and kind != "commit":
            self._compare(kind, voter, normal, said)

    def _compare(
        self, kind: str, voter: NodeId, normal: Vote | CommitVote, said: dict[str, dict[NodeId, Vote | CommitVote]]
    ) -> None:
        """A normal vote against the fallback and the optimistic vote of the same view."""
        if said["fallback"] and kind != "optimistic":
            other = said["fallback"].get(voter)
            if other is not None:
                self._conflict(voter, "normal-and-fallback-vote", normal, other)
        optimistic = said["optimistic"].get(voter)
        if optimistic is not None and optimistic.block != normal.block:
            self._conflict(voter, "optimistic-normal-mismatch", optimistic, normal)

    def accuse(self, culprit: NodeId, view: int, kind: str, *objects: Signed) -> None:
        """Emit `accuse` once; `evidence` is base64 of the msgpack array of the encoded objects."""
        if (view, culprit, kind) in self._accused:
            return
        self._accused.add((view, culprit, kind))
        evidence = base64.b64encode(_encoder.encode(objects)).decode()
        self._out.emit("accuse", culprit=culprit, kind=kind, evidence=evidence)

    def prune(self, below: int) -> None:
        """Forget views under `below`."""
        self._votes.prune(below)
        if self._accused:
            self._accused = {entry for entry in self._accused if entry[0] >= below}

    def _conflict(self, voter: NodeId, kind: str, *votes: Vote | CommitVote) -> None:
        view = votes[0].view
        if (view, voter, kind) not in self._accused and all(self._authentic(vote) for vote in votes):
            self.accuse(voter, view, kind, *votes)
