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

_encoder = msgspec.msgpack.Encoder()


class Evidence:
    """Remembers the first vote of each kind, voter and view, and reports conflicts as `accuse` events."""

    def __init__(self, out: Outbox, authentic: Callable[[Vote | CommitVote], bool], voters: int) -> None:
        self._out = out
        self._authentic = authentic
        self._voters = voters
        self._votes: ByView[dict[str, list[Vote | CommitVote | None]]] = ByView()  # view -> kind -> by voter's place
        self._accused: set[tuple[int, NodeId, str]] = set()

    def vote(self, place: int, vote: Vote | CommitVote, kind: str) -> None:
        """Compare a vote, verified or not, with what its voter (at `place` of the tribe) said before in this view.

        `kind` is the VoteKind, or "commit".
        """
        said = self._votes.get(vote.view)
        if said is None:
            said = self._votes[vote.view] = {}
        firsts = said.get(kind)
        if firsts is None:
            firsts = said[kind] = [None] * self._voters
        first = firsts[place]
        if first is None:
            firsts[place] = vote
        elif first.block == vote.block:
            return
        elif not self._authentic(first):
            firsts[place] = vote
        else:
            self._conflict(vote.voter, f"double-vote-{kind}", first, vote)
        if kind != "commit" and len(said) > 1:
            self._compare(place, kind, said)

    def _compare(self, place: int, kind: str, said: dict[str, list[Vote | CommitVote | None]]) -> None:
        """A normal vote against the fallback and the optimistic vote of the same view."""
        normals = said.get("normal")
        normal = normals[place] if normals else None
        if normal is None:
            return
        others = said.get("fallback")
        other = others[place] if others and kind != "optimistic" else None
        if other is not None:
            self._conflict(normal.voter, "normal-and-fallback-vote", normal, other)
        others = said.get("optimistic")
        other = others[place] if others else None
        if other is not None and other.block != normal.block:
            self._conflict(normal.voter, "optimistic-normal-mismatch", other, normal)

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
