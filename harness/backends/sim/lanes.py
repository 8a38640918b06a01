"""Vote lanes: for scale runs, the votes of one statement are followed as arrival times, not as messages.

A lane is all votes of one kind for one block (or root). A receiver wakes when its quorum is reached and is handed the
certificate of the votes that have reached it by then, by the voter whose vote came last; until then its core is not
stepped. Block certificates, which every node multicasts once, have lanes with a threshold of one.

Receivers that are equally far from everybody (one region) share their arrival times, but for their own vote, which is
theirs at once. Votes that come as single messages (links with faults, corrupted senders) are counted as well, once
the referee has found them good, and reach the core too. When an obstacle appears (a cut, a crash, a frozen node), what
is on its way in lanes is turned into single messages (`explode`), and no lane takes a vote until it is gone.

Exact in what is finalised, where and when, except that at equal times the certificate's signers may differ; tests hold
it against single messages over random faulty runs. It cannot find bugs in vote handling, and is never used for that.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

from harness.backends.sim.kernel import Kernel
from nodes.committee import Committee
from nodes.crypto import Domain, Verifier, bitmap_of
from nodes.messages import (
    BlockCertificate,
    CommitCertificate,
    CommitVote,
    Message,
    NodeId,
    StateCertificate,
    StateVote,
    Vote,
)

Key: TypeAlias = tuple[Any, ...]
LANED = (Vote, CommitVote, StateVote, BlockCertificate)
FORGET_NS = 20_000_000_000  # a lane is kept that long after its first vote
NEVER = 2**62


class Floor(Protocol):
    """What lanes need of the network (links.Links)."""

    names: tuple[NodeId, ...]
    index: dict[NodeId, int]

    def delay(self, sender: int, to: int) -> int: ...

    def classes(self) -> Sequence[Sequence[int]]:
        """Nodes by equal delays from every other node, a class each."""
        ...

    def deliver(self, sender: int, to: int, message: Message) -> None:
        """Hand a message to a node now, uncounted."""
        ...

    def single(self, at: int, sender: int, to: int, message: Message) -> None:
        """Have one message arrive at `at` as an ordinary one."""
        ...


class Lane:
    """One statement's votes. `arrivals[c]` are (time, voter) in class c, sorted; a voter has its own at `own`."""

    def __init__(self, born: int, threshold: int, classes: int, members: Sequence[NodeId]) -> None:
        self.born = born
        self.threshold = threshold
        self.members = members
        self.votes: dict[int, Message] = {}  # voter -> its message
        self.own: dict[int, int] = {}  # voter -> when it voted
        self.audience: set[int] = set()
        self.placed: set[tuple[int, int]] = set()  # (voter, class) that `arrivals` has had
        self.arrivals: list[list[tuple[int, int]]] = [[] for _ in range(classes)]
        self.due = [NEVER] * classes  # when the class is looked at next
        self.single: dict[int, dict[int, int]] = {}  # receiver -> voter -> when, for votes that came as messages
        self.done: set[int] = set()  # receivers that have the certificate
        self.certificates: dict[frozenset[int], Message] = {}

    def reached(self, place: int, receiver: int, now: int) -> list[tuple[int, int]]:
        """(time, voter) of the votes that the receiver has by now, in order of arrival, at most the threshold."""
        held, own = self.arrivals[place], self.own.get(receiver)
        others = self.single.get(receiver)
        had = [entry for entry in held[: self.threshold + 1] if entry[0] <= now and entry[1] != receiver]
        if others:
            had = [(time, voter) for time, voter in held if time <= now and voter != receiver and voter not in others]
            had += [(time, voter) for voter, time in others.items()]
        if own is not None and own <= now:
            had.append((own, receiver))
        had.sort()
        return had[: self.threshold]


class Lanes:
    """All lanes of one run."""

    def __init__(self, floor: Floor, kernel: Kernel, committee: Committee, domain: Domain, referee: Verifier) -> None:
        self._floor = floor
        self._kernel = kernel
        self._committee = committee
        self._domain = domain
        self._referee = referee
        self._lanes: dict[Key, Lane] = {}
        self._classes: list[tuple[int, ...]] = []
        self._place: list[int] = []
        self._opened = 0
        self._delays: list[list[int]] = []  # by sender and class; -1: nobody else is in it
        self.renew()

    def renew(self) -> None:
        """The delays changed: work out the classes again. Nothing may be on its way (`explode` first)."""
        floor = self._floor
        for lane in self._lanes.values():
            for place, members in enumerate(self._classes):
                for receiver in members:
                    had = lane.single.setdefault(receiver, {})
                    had.update({voter: time for time, voter in lane.arrivals[place] if voter != receiver})
        self._classes = [tuple(c) for c in floor.classes()]
        self._place = [0] * len(floor.names)
        for place, members in enumerate(self._classes):
            for member in members:
                self._place[member] = place
        self._delays = [
            [next((floor.delay(sender, m) for m in members if m != sender), -1) for members in self._classes]
            for sender in range(len(floor.names))
        ]
        for lane in self._lanes.values():
            lane.arrivals = [[] for _ in self._classes]
            lane.due = [NEVER] * len(self._classes)

    # ------------------------------------------------------------ votes in
    def offer(self, sender: int, targets: Sequence[int], message: Any) -> None:
        """A vote multicast over links with constant delays and no obstacle."""
        now = self._kernel.now
        lane = self._lane(message)
        lane.audience.update(targets)
        if sender not in lane.votes:
            lane.votes[sender] = message
            lane.own[sender] = now
        if type(message) is BlockCertificate:
            lane.done.add(sender)
        places = {self._place[target] for target in targets}
        for place in sorted(places):
            if (sender, place) not in lane.placed and self._delays[sender][place] >= 0:
                lane.placed.add((sender, place))
                insort(lane.arrivals[place], (now + self._delays[sender][place], sender))
                self._plan(lane, place)
        self._look(lane, sender)

    def arrived(self, sender: int, to: int, message: Any) -> None:
        """A vote that reached a node as a message of its own: count it, if it is good and its sender's own."""
        if type(message) is BlockCertificate:
            return  # the core has it, and answers with its own multicast
        voter = self._floor.index.get(message.voter)
        if voter is None or not self._good(message):
            return
        lane = self._lane(message)
        if message.voter not in lane.members:
            return
        lane.votes.setdefault(voter, message)
        lane.single.setdefault(to, {}).setdefault(voter, self._kernel.now)
        self._look(lane, to)

    def _good(self, vote: Vote | CommitVote | StateVote) -> bool:
        domain = self._domain
        if isinstance(vote, Vote):
            statement = domain.vote(vote.kind, vote.view, vote.block)
        elif isinstance(vote, CommitVote):
            statement = domain.commit(vote.view, vote.block)
        else:
            statement = domain.root(vote.clan, vote.height, vote.block, vote.previous_root, vote.root)
        key = self._committee.keys.get(vote.voter)
        return key is not None and self._referee.verify(key, statement, vote.signature)

    # ------------------------------------------------------------ certificates out
    def _plan(self, lane: Lane, place: int) -> None:
        """Look at the class when its quorum is reached, and one vote earlier: a receiver's own may be the last."""
        held = lane.arrivals[place]
        for needed in (lane.threshold - 1, lane.threshold):
            if 1 <= needed <= len(held):
                at = held[needed - 1][0]
                if at < lane.due[place] and at >= self._kernel.now:
                    lane.due[place] = at
                    self._kernel.at(at, 0, self._wake, lane, place)
                    return

    def _wake(self, lane: Lane, place: int) -> None:
        now = self._kernel.now
        if lane.due[place] > now:
            return
        lane.due[place] = NEVER
        for receiver in self._classes[place]:
            if receiver not in lane.done and receiver in lane.audience:
                self._look(lane, receiver)
        held = lane.arrivals[place]
        if len(held) >= lane.threshold and held[lane.threshold - 1][0] > now:
            lane.due[place] = at = held[lane.threshold - 1][0]
            self._kernel.at(at, 0, self._wake, lane, place)

    def _look(self, lane: Lane, receiver: int) -> None:
        """Hand the receiver its certificate if its quorum is there."""
        if receiver in lane.done:
            return
        now = self._kernel.now
        had = lane.reached(self._place[receiver], receiver, now)
        if len(had) < lane.threshold:
            return
        lane.done.add(receiver)
        sender = next((voter for _, voter in reversed(had) if voter != receiver), receiver)
        certificate = self._certificate(lane, frozenset(voter for _, voter in had))
        self._kernel.at(now, 0, self._hand_over, (sender, receiver), certificate)

    def _hand_over(self, link: tuple[int, int], certificate: Message) -> None:
        self._floor.deliver(*link, certificate)

    # ------------------------------------------------------------ obstacles
    def explode(self) -> None:
        """Turn what is on its way into single messages; from here on receivers' tallies are their own again."""
        now = self._kernel.now
        for lane in self._lanes.values():
            for place, members in enumerate(self._classes):
                held = lane.arrivals[place]
                coming = [(time, voter) for time, voter in held if time > now]
                lane.arrivals[place] = held[: len(held) - len(coming)]
                lane.due[place] = NEVER
                for time, voter in coming:
                    for receiver in members:
                        if receiver != voter:
                            self._floor.single(time, voter, receiver, lane.votes[voter])

    def prune(self) -> None:
        """Forget lanes that nobody needs any more."""
        old = self._kernel.now - FORGET_NS
        for key in [key for key, lane in self._lanes.items() if lane.born < old]:
            del self._lanes[key]

    # ------------------------------------------------------------ lanes
    def _lane(self, message: Any) -> Lane:
        key = _key(message)
        lane = self._lanes.get(key)
        if lane is None:
            members: Sequence[NodeId] = self._committee.tribe
            threshold = self._committee.quorum
            if type(message) is BlockCertificate:
                threshold = 1
            elif type(message) is StateVote:
                members, threshold = self._committee.clans[message.clan], self._committee.majority(message.clan)
            lane = self._lanes[key] = Lane(self._kernel.now, threshold, len(self._classes), members)
            self._opened += 1
            if self._opened % 64 == 0:
                self.prune()
        return lane

    def _certificate(self, lane: Lane, voters: frozenset[int]) -> Message:
        """What these votes prove: one object for all receivers with the same signers."""
        held = lane.certificates.get(voters)
        if held is not None:
            return held
        vote: Any = lane.votes[min(voters)]
        if type(vote) is BlockCertificate:
            held = vote
        else:
            index, domain = self._floor.index, self._domain
            signers = [member for member in lane.members if index[member] in voters]
            signatures = tuple(_signature(lane.votes[index[member]]) for member in signers)
            bitmap = bitmap_of(lane.members, signers)
            if type(vote) is Vote:
                held = BlockCertificate(domain.epoch, vote.kind, vote.view, vote.block, bitmap, signatures)
            elif type(vote) is CommitVote:
                held = CommitCertificate(domain.epoch, vote.view, vote.block, bitmap, signatures)
            else:
                held = StateCertificate(
                    domain.epoch, domain.cycle, vote.clan, vote.height, vote.block, vote.previous_root, vote.root,
                    bitmap, signatures,
                )  # fmt: skip
        lane.certificates[voters] = held
        return held


def _signature(vote: Any) -> bytes:
    signature: bytes = vote.signature
    return signature


def _key(message: Any) -> Key:
    if isinstance(message, Vote):
        return ("vote", message.kind, message.view, message.block)
    if isinstance(message, CommitVote):
        return ("commit", message.view, message.block)
    if isinstance(message, StateVote):
        return ("state", message.clan, message.height, message.block, message.previous_root, message.root)
    return ("certificate", message.kind, message.view, message.block)
