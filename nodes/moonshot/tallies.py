"""Vote, commit-vote and timeout tallies. One tally a kind: kinds are different statements and are never added up."""

from __future__ import annotations

from collections.abc import Callable

from nodes.committee import Committee
from nodes.crypto import Verifier, assemble, bitmap_of
from nodes.messages import NodeId, Timeout, TimeoutCertificate
from nodes.moonshot.window import ByView

CHOICES = 2  # blocks that one voter may name per view and kind before it is ignored; two are evidence enough


class Ballots:
    """The signatures for one block by voter, and which of them have been verified."""

    __slots__ = ("signatures", "valid")

    def __init__(self) -> None:
        self.signatures: dict[NodeId, bytes] = {}
        self.valid: set[NodeId] = set()


class VoteTally:
    """Votes of one kind, by view, then block, then voter.

    A signature is verified when it could complete a quorum, not before: votes that come after the certificate cost
    nothing. A bad one is evicted then, named in `evicted`, and its place is free for the voter's next.
    """

    def __init__(self, committee: Committee, verifier: Verifier, statement: Callable[[int, bytes], bytes]) -> None:
        self._tribe = committee.tribe
        self._keys = committee.keys
        self._quorum = committee.quorum
        self._verifier = verifier
        self._statement = statement
        self._views: ByView[dict[bytes, Ballots]] = ByView()
        self.evicted: list[NodeId] = []  # voters of bad signatures since the caller last cleared it

    def add(self, view: int, block: bytes, voter: NodeId, signature: bytes, direct: bool) -> bool:
        """Count a vote; True if that may have completed a quorum. `direct`: it came over the voter's own link.

        A relayed vote, or one that disputes a place already taken, is verified at once, so that nobody can occupy
        another voter's place with rubbish.
        """
        blocks = self._views.get(view)
        if blocks is None:
            blocks = self._views[view] = {}
        ballots = blocks.get(block)
        if ballots is None:
            if blocks and sum(voter in other.signatures for other in blocks.values()) >= CHOICES:
                return False
            ballots = Ballots()
        signatures = ballots.signatures
        if not direct or voter in signatures:
            if voter in signatures and (voter in ballots.valid or signatures[voter] == signature):
                return False
            if not self._verifier.verify(self._keys[voter], self._statement(view, block), signature):
                self.evicted.append(voter)
                return False
            ballots.valid.add(voter)
        signatures[voter] = signature
        if len(signatures) == 1:
            blocks[block] = ballots
        return len(signatures) >= self._quorum

    def quorum(self, view: int, block: bytes) -> tuple[bytes, tuple[bytes, ...]] | None:
        """(bitmap, signatures) of Q verified votes, or None."""
        ballots = self._views.get(view, {}).get(block)
        if ballots is None or len(ballots.signatures) < self._quorum:
            return None
        signatures, valid, keys, verify = ballots.signatures, ballots.valid, self._keys, self._verifier.verify
        statement = self._statement(view, block)
        bad = [v for v, signed in signatures.items() if v not in valid and not verify(keys[v], statement, signed)]
        for voter in bad:
            del signatures[voter]
        self.evicted += bad
        valid.update(signatures)
        if len(signatures) < self._quorum:
            return None
        return assemble(self._tribe, signatures, self._quorum)

    def prune(self, below: int) -> None:
        """Forget views under `below`."""
        self._views.prune(below)


class TimeoutTally:
    """Verified timeouts by view, one a voter: the one with the highest lock."""

    def __init__(self, committee: Committee) -> None:
        self._committee = committee
        self._views: ByView[dict[NodeId, Timeout]] = ByView()

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
        self._views.prune(below)
