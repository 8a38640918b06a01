"""Evidence of equivocation (protocol.md 1.4, last paragraph, and 6.2 I-VOTE): two signed statements that no honest
replica makes in one view. Both signatures are verified before anybody is accused, and each (culprit, view, kind) once.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

import msgspec

from nodes.messages import CommitVote, FallbackProposal, NodeId, NormalProposal, OptimisticProposal, Vote
from nodes.moonshot.outbox import Outbox

Proposal = OptimisticProposal | NormalProposal | FallbackProposal
Signed = Proposal | Vote | CommitVote

_encoder = msgspec.msgpack.Encoder()


class Evidence:
    """Remembers the first vote of each kind, voter and view, and reports conflicts as `accuse` events."""

    def __init__(self, out: Outbox, authentic: Callable[[Vote | CommitVote], bool]) -> None:
        self._out = out
        self._authentic = authentic
        self._votes: dict[int, dict[NodeId, dict[str, Vote | CommitVote]]] = {}
        self._accused: set[tuple[int, NodeId, str]] = set()

    def vote(self, vote: Vote | CommitVote) -> None:
        """Compare a vote, verified or not, with what its voter said before in this view."""
        kind = vote.kind if isinstance(vote, Vote) else "commit"
        held = self._votes.setdefault(vote.view, {}).setdefault(vote.voter, {})
        first = held.get(kind)
        if first is None:
            held[kind] = vote
        elif first.block != vote.block:
            if not self._authentic(first):
                held[kind] = vote
            else:
                self._conflict(vote.voter, f"double-vote-{kind}", first, vote)
        else:
            return
        normal, other = held.get("normal"), held.get("fallback")
        if normal is not None and other is not None and kind in ("normal", "fallback"):
            self._conflict(vote.voter, "normal-and-fallback-vote", normal, other)
        optimistic = held.get("optimistic")
        if optimistic is not None and normal is not None and optimistic.block != normal.block:
            self._conflict(vote.voter, "optimistic-normal-mismatch", optimistic, normal)

    def accuse(self, culprit: NodeId, view: int, kind: str, *objects: Signed) -> None:
        """Emit `accuse` once; `evidence` is base64 of the msgpack array of the encoded objects."""
        if (view, culprit, kind) in self._accused:
            return
        self._accused.add((view, culprit, kind))
        evidence = base64.b64encode(_encoder.encode(objects)).decode()
        self._out.emit("accuse", culprit=culprit, kind=kind, evidence=evidence)

    def prune(self, below: int) -> None:
        """Forget views under `below`."""
        for view in [v for v in self._votes if v < below]:
            del self._votes[view]
        self._accused = {entry for entry in self._accused if entry[0] >= below}

    def _conflict(self, voter: NodeId, kind: str, *votes: Vote | CommitVote) -> None:
        view = votes[0].view
        if (view, voter, kind) not in self._accused and all(self._authentic(vote) for vote in votes):
            self.accuse(voter, view, kind, *votes)
