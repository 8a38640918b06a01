"""Vote, commit-vote and timeout tallies. One tally a kind: kinds are different statements and are never added up."""

from __future__ import annotations

from collections.abc import Callable

from nodes.committee import Committee
from nodes.crypto import Verifier, assemble, bitmap_of
from nodes.messages import CommitVote, NodeId, Timeout, TimeoutCertificate, Vote
from nodes.moonshot.window import ByView

CHOICES = 2  # blocks that one voter may name per view and kind before it is ignored; two are evidence enough


class Ballots:
    """The signatures for one block by voter: those that have been verified, and those that have not."""

    __slots__ = ("pending", "verified")

    def __init__(self) -> None:
        self.pending: dict[NodeId, bytes] = {}
        self.verified: dict[NodeId, bytes] = {}


class Poll:
    """Votes of one kind in one view: the first of each voter (evidence against it), and those that count.

    As long as every vote that counts is the first of its voter, came from it, and names one `block`, `order` says whose
    they are, and that is all. Whatever else happens turns it into `blocks`.
    """

    __slots__ = ("block", "blocks", "firsts", "order")

    def __init__(self, voters: int) -> None:
        self.firsts: list[Vote | CommitVote | None] = [None] * voters  # by place in the tribe
        self.block = b""
        self.order: list[int] = []  # places, by arrival
        self.blocks: dict[bytes, Ballots] = {}


class VoteTally:
    """Votes of one kind, by view, then block, then voter.

    A signature is verified when it could complete a quorum, not before: votes that come after the certificate cost
    nothing. A bad one is evicted then, named in `evicted`, and its place is free for the voter's next.
    """

    __slots__ = ("_keys", "_quorum", "_statement", "_tribe", "_verifier", "_views", "evicted")

    def __init__(self, committee: Committee, verifier: Verifier, statement: Callable[[int, bytes], bytes]) -> None:
        self._tribe = committee.tribe
        self._keys = committee.keys
        self._quorum = committee.quorum
        self._verifier = verifier
        self._statement = statement
        self._views: ByView[Poll] = ByView()
        self.evicted: list[NodeId] = []  # voters of bad signatures since the caller last cleared it

    def first(self, view: int, place: int) -> Vote | CommitVote | None:
        """The first vote of the voter at `place` in this view, verified or not."""
        poll = self._views.get(view)
        return poll.firsts[place] if poll is not None else None

    def replace_first(self, place: int, vote: Vote | CommitVote) -> None:
        """The first vote of this voter was not its own: `vote` takes its place."""
        self._views[vote.view].firsts[place] = vote

    def meet(self, place: int, vote: Vote | CommitVote, direct: bool, needed: bool) -> bool | None:
        """Note the first vote of a voter and, if it is `needed`, count it; as `add`. None: not its voter's first."""
        poll = self._views.get(vote.view)
        if poll is None:
            poll = self._views[vote.view] = Poll(len(self._tribe))
        if poll.firsts[place] is not None:
            self._spread(poll)
            return None
        poll.firsts[place] = vote
        if not needed:
            return False
        order = poll.order
        if not direct or poll.blocks or (order and poll.block != vote.block):
            return self.add(vote.view, vote.block, vote.voter, vote.signature, direct)
        if not order:
            poll.block = vote.block
        order.append(place)
        return len(order) >= self._quorum

    def add(self, view: int, block: bytes, voter: NodeId, signature: bytes, direct: bool) -> bool:
        """Count a vote; True if that may have completed a quorum. `direct`: it came over the voter's own link.

        A relayed vote, or one that disputes a place already taken, is verified at once, so that nobody can occupy
        another voter's place with rubbish.
        """
        poll = self._views.get(view)
        if poll is None:
            poll = self._views[view] = Poll(len(self._tribe))
        blocks = self._spread(poll)
        ballots = blocks.get(block)
        if ballots is None:
            if sum(voter in other.pending or voter in other.verified for other in blocks.values()) >= CHOICES:
                return False
            ballots = Ballots()
        pending, verified = ballots.pending, ballots.verified
        if voter in verified:
            return False
        if direct and voter not in pending:
            pending[voter] = signature
        elif pending.get(voter) == signature:
            return False
        elif self._verifier.verify(self._keys[voter], self._statement(view, block), signature):
            pending.pop(voter, None)
            verified[voter] = signature
        else:
            self.evicted.append(voter)
            return False
        blocks[block] = ballots
        return len(pending) + len(verified) >= self._quorum

    def _spread(self, poll: Poll) -> dict[bytes, Ballots]:
        """The poll's `blocks`, with everything that counts in them."""
        if poll.order:
            ballots = poll.blocks[poll.block] = Ballots()
            for place in poll.order:
                vote = poll.firsts[place]
                assert vote is not None  # `order` names places of first votes
                ballots.pending[vote.voter] = vote.signature
            poll.order = []
        return poll.blocks

    def quorum(self, view: int, block: bytes) -> tuple[bytes, tuple[bytes, ...]] | None:
        """(bitmap, signatures) of Q verified votes, or None."""
        poll = self._views.get(view)
        ballots = self._spread(poll).get(block) if poll is not None else None
        if ballots is None or len(ballots.pending) + len(ballots.verified) < self._quorum:
            return None
        pending, keys, verify, statement = (
            ballots.pending,
            self._keys,
            self._verifier.verify,
            self._statement(view, block),
        )
        bad = [voter for voter, signature in pending.items() if not verify(keys[voter], statement, signature)]
        for voter in bad:
            del pending[voter]
        self.evicted += bad
        ballots.verified = {**ballots.verified, **pending} if ballots.verified else pending
        ballots.pending = {}
        if len(ballots.verified) < self._quorum:
            return None
        return assemble(self._tribe, ballots.verified, self._quorum)

    def prune(self, below: int) -> None:
        """Forget views under `below`."""
        self._views.prune(below)

    def sizes(self) -> tuple[int, int]:
        """Polls, and votes that are kept in them to be counted."""
        ballots = 0
        for poll in self._views.values():
            ballots += len(poll.order)
            for held in poll.blocks.values():
                ballots += len(held.pending) + len(held.verified)
        return len(self._views), ballots


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

    def size(self) -> int:
        """Timeouts that are held."""
        return sum(map(len, self._views.values()))

    def prune(self, below: int) -> None:
        """Forget views under `below`."""
        self._views.prune(below)
