"""Vote, commit-vote and timeout tallies. One tally a kind: kinds are different statements and are never added up."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from nodes.committee import Committee
from nodes.crypto import Verifier, assemble, bitmap_of
from nodes.messages import NodeId, Timeout, TimeoutCertificate

CHOICES = 2  # blocks that one voter may name per view and kind before it is ignored; two are evidence enough


class Ballot(msgspec.Struct):
    """One signature in a tally; `valid` once it has been verified."""

    signature: bytes
    valid: bool


class VoteTally:
    """Votes of one kind, by view, then block, then voter.

    A signature is verified when it could complete a quorum, not before: votes that come after the certificate cost
    nothing. A bad one is evicted then, named in `evicted`, and its place is free for the voter's next.
    """

    def __init__(self, committee: Committee, verifier: Verifier, statement: Callable[[int, bytes], bytes]) -> None:
        self._committee = committee
        self._verifier = verifier
        self._statement = statement
        self._views: dict[int, dict[bytes, dict[NodeId, Ballot]]] = {}
        self.evicted: list[NodeId] = []  # voters of bad signatures since the caller last cleared it

    def add(self, view: int, block: bytes, voter: NodeId, signature: bytes, direct: bool) -> bool:
        """Count a vote; True if that may have completed a quorum. `direct`: it came over the voter's own link.

        A relayed vote, or one that disputes a place already taken, is verified at once, so that nobody can occupy
        another voter's place with rubbish.
        """
        blocks = self._views.setdefault(view, {})
        ballots = blocks.get(block)
        if ballots is None:
            if sum(voter in other for other in blocks.values()) >= CHOICES:
                return False
            ballots = {}
        elif (known := ballots.get(voter)) is not None and (known.valid or known.signature == signature):
            return False
        valid = False
        if not direct or voter in ballots:
            if not self._verify(voter, self._statement(view, block), signature):
                self.evicted.append(voter)
                return False
            valid = True
        ballots[voter] = Ballot(signature, valid)
        blocks[block] = ballots
        return len(ballots) >= self._committee.quorum

    def quorum(self, view: int, block: bytes) -> tuple[bytes, tuple[bytes, ...]] | None:
        """(bitmap, signatures) of Q verified votes, or None."""
        ballots = self._views.get(view, {}).get(block, {})
        if len(ballots) < self._committee.quorum:
            return None
        statement = self._statement(view, block)
        for voter in [v for v, ballot in ballots.items() if not ballot.valid]:
            if self._verify(voter, statement, ballots[voter].signature):
                ballots[voter].valid = True
            else:
                del ballots[voter]
                self.evicted.append(voter)
        if len(ballots) < self._committee.quorum:
            return None
        signatures = {voter: ballot.signature for voter, ballot in ballots.items()}
        return assemble(self._committee.tribe, signatures, self._committee.quorum)

    def prune(self, below: int) -> None:
        """Forget views under `below`."""
        for view in [v for v in self._views if v < below]:
            del self._views[view]

    def _verify(self, voter: NodeId, statement: bytes, signature: bytes) -> bool:
        return self._verifier.verify(self._committee.keys[voter], statement, signature)


class TimeoutTally:
    """Verified timeouts by view, one a voter: the one with the highest lock."""

    def __init__(self, committee: Committee) -> None:
        self._committee = committee
        self._views: dict[int, dict[NodeId, Timeout]] = {}

    def known(self, timeout: Timeout) -> bool:
        """Is there nothing to learn from this one?"""
        held = self._views.get(timeout.view, {}).get(timeout.voter)
        return held is not None and held.lock.view >= timeout.lock.view

    def add(self, timeout: Timeout) -> int:
        """Count a verified timeout; returns the number of distinct senders for its view."""
        held = self._views.setdefault(timeout.view, {})
        held[timeout.voter] = timeout
        return len(held)

    def certificate(self, view: int, epoch: int) -> TimeoutCertificate | None:
        """TC(view) of the first Q senders in committee order; its high certificate is their highest lock (1.2)."""
        held = self._views.get(view, {})
        if len(held) < self._committee.quorum:
            return None
        chosen = [held[node] for node in self._committee.tribe if node in held][: self._committee.quorum]
        return TimeoutCertificate(
            epoch=epoch,
            view=view,
            high=max((t.lock for t in chosen), key=lambda lock: lock.view),
            signers=bitmap_of(self._committee.tribe, [t.voter for t in chosen]),
            lock_views=tuple(t.lock.view for t in chosen),
            signatures=tuple(t.signature for t in chosen),
        )

    def prune(self, below: int) -> None:
        """Forget views under `below`."""
        for view in [v for v in self._views if v < below]:
            del self._views[view]
