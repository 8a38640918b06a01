"""Vote lanes: for scale runs, the votes of one statement are followed as arrival times, not as messages.

A lane is all votes of one kind for one block (or root). A receiver wakes when its quorum is reached and is handed the
certificate of the votes that have reached it by then, by the voter whose vote came last; until then its core is not
stepped. Block certificates, which every node multicasts once, have lanes with a threshold of one.

Receivers that are equally far from everybody (one region) share their arrival times, but for their own vote, which is
theirs at once. Votes that come as single messages (links with faults, corrupted senders) are counted as well,
once the referee has found them good, and reach the core too; a corrupted receiver gets every vote as a message. When an
obstacle appears (a cut, a crash), what is on its way in lanes is turned into single messages (`explode`), and no lane
takes a vote until it is gone.

Exact in what is finalised, where and when, but for two things: at equal times a certificate's signers may differ, and a
node that restarts into a backlog may catch up in other steps. Tests hold it against single messages over random faulty
runs. It cannot find bugs in vote handling, and is never used for that.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.backends.sim.kernel import Kernel
from harness.backends.sim.lane import NEVER, Lane, Voters, voters_of
from nodes.committee import Committee
from nodes.crypto import Domain, Verifier
from nodes.messages import (
    BlockCertificate,
    CommitVote,
    Message,
    NodeId,
    StateVote,
    Vote,
)

Key: TypeAlias = tuple[Any, ...]
LANED = (Vote, CommitVote, StateVote, BlockCertificate)
FORGET_NS = 6_000_000_000  # a lane is kept that long after its first vote


class Floor(Protocol):
    """What lanes need of the network (floor.LaneFloor)."""

    names: tuple[NodeId, ...]
    index: dict[NodeId, int]

    def delay(self, sender: int, to: int) -> int: ...

    def classes(self) -> Sequence[Sequence[int]]:
        """Nodes by equal delays from every other node, a class each."""
        ...

    def early(self, senders: Sequence[int], to: int, at: int, tie: int) -> list[int]:
        """Those of the senders whose message that arrives at `at` has a tie-break of `tie` at most."""
        ...

    def ties(self, senders: Sequence[int], to: Sequence[int], at: int) -> NDArray[np.uint64]:
        """Tie-breaks of messages that arrive at `at`: senders by receivers."""
        ...

    def deliver(self, sender: int, to: int, message: Message) -> None:
        """Hand a message to a node now, uncounted."""
        ...

    def single(self, at: int, sender: int, to: int, message: Message, sequence: int) -> None:
        """Have one message arrive at `at` as an ordinary one that was sent with this sequence number."""
        ...


class Audience(msgspec.Struct, frozen=True):
    """Receivers of a multicast, the classes that they are in, and a number for their group, sender included."""

    receivers: Sequence[int]
    places: tuple[int, ...]
    group: int


class Lanes:
    """All lanes of one run."""

    def __init__(
        self,
        floor: Floor,
        kernel: Kernel,
        committee: Committee,
        domain: Domain,
        referee: Verifier,
        exempt: Container[int] = (),
    ) -> None:
        """`exempt` receivers get every vote as a message and nothing from lanes."""
        self._exempt = exempt
        self._floor = floor
        self._kernel = kernel
        self._committee = committee
        self._domain = domain
        self._referee = referee
        self._lanes: dict[Key, Lane] = {}
        self._classes: list[tuple[int, ...]] = []
        self._place: list[int] = []
        self._tribe, self._clans = voters_of(committee, floor.index)
        self._audiences: dict[int, Audience] = {}  # by id of the list of receivers
        self._groups: dict[frozenset[int], int] = {}
        self._opened = 0
        self._since: dict[int, int] = {}  # receiver -> votes from before that time died with its process
        self._era = 0  # how often the classes were worked out
        self._delays: list[list[int]] = []  # by sender and class; -1: nobody else is in it
        self.renew()

    def renew(self) -> None:
        """The delays changed: work out the classes again. Nothing may be on its way (`explode` first)."""
        floor = self._floor
        self._era += 1
        self._audiences = {}
        for lane in self._lanes.values():
            for place, members in enumerate(self._classes):
                for receiver in members:
                    if receiver not in lane.audience:
                        continue
                    since = self._since.get(receiver, 0)
                    had = {v: time for time, v in lane.arrivals[place] if v != receiver and time >= since}
                    lane.single[receiver] = had | lane.single.get(receiver, {})
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
            lane.arrivals, lane.order = [[] for _ in self._classes], [[] for _ in self._classes]
            lane.due = [NEVER] * len(self._classes)
            lane.extra = [max((len(lane.single.get(m, ())) for m in c), default=0) for c in self._classes]

    # ------------------------------------------------------------ votes in
    def offer(self, sender: int, targets: Sequence[int], message: Any) -> None:
        """A vote multicast over links with constant delays and no obstacle."""
        now = self._kernel.now
        lane = self._lane(message)
        audience = self._audience(sender, targets)
        missing = lane.invited.get(audience.group)
        if missing is None:
            lane.invited[audience.group] = sender
            lane.audience.update(targets)
        elif missing >= 0 and missing != sender:
            lane.invited[audience.group] = -1
            lane.audience.add(missing)
        if lane.note(sender, message):
            lane.own[sender] = now
        if type(message) is BlockCertificate:
            lane.done.add(sender)
        delays, placed, reserve = self._delays[sender], lane.placed, self._kernel.scheduler.reserve
        for place in audience.places:
            if delays[place] >= 0 and (sender, place) not in placed:
                placed[sender, place] = reserve()
                lane.insert(place, now + delays[place], sender)
                self._plan(lane, place)
        self._look(lane, sender)

    def _audience(self, sender: int, targets: Sequence[int]) -> Audience:
        """What is known of these receivers, worked out once for each list of them."""
        known = self._audiences.get(id(targets))
        if known is None:  # it holds the list, so that its id stays its own
            places = tuple(sorted({self._place[target] for target in targets}))
            group = self._groups.setdefault(frozenset((sender, *targets)), len(self._groups))
            known = self._audiences[id(targets)] = Audience(targets, places, group)
        return known

    def cast(self, sender: int, message: Any) -> None:
        """A vote multicast as single messages: its sender has it at once."""
        if type(message) is BlockCertificate or message.voter != self._floor.names[sender]:
            return
        if self._may_vote(sender, message):
            lane = self._lane(message)
            lane.note(sender, message)
            lane.own.setdefault(sender, self._kernel.now)
            self._look(lane, sender)

    def arrived(self, sender: int, to: int, message: Any) -> None:
        """A vote that reached a node as a message of its own: count it, if it is good and its sender's own."""
        if type(message) is BlockCertificate:
            return  # the core has it, and answers with its own multicast
        voter = self._floor.index.get(message.voter)
        if voter is None or not self._may_vote(voter, message) or not self._good(message):
            return
        lane = self._lane(message)
        lane.note(voter, message)
        single = lane.single.setdefault(to, {})
        single.setdefault(voter, self._kernel.now)
        place = self._place[to]
        if len(single) > lane.extra[place]:
            lane.extra[place] = len(single)
            self._plan(lane, place)
        self._look(lane, to)

    def _may_vote(self, voter: int, message: Vote | CommitVote | StateVote) -> bool:
        """Is the voter in the committee that the vote is for? A corrupted node may name any."""
        clan = message.clan if isinstance(message, StateVote) else None
        if clan is None:
            return voter in self._tribe.place
        return clan < len(self._clans) and voter in self._clans[clan].place

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
        """Look at the class whenever somebody in it may reach its quorum: its own vote and those that came to it as
        single messages may be in the count, so some arrivals before the threshold's matter as well."""
        held = lane.arrivals[place]
        first = max(lane.threshold - 2 - lane.extra[place], 0)
        if len(held) <= first:  # most votes come before there could be a quorum
            return
        now = self._kernel.now
        for time, _ in held[first : lane.threshold]:
            if time >= now:
                if time < lane.due[place]:
                    lane.due[place] = time
                    self._kernel.at(time, 0, self._wake, lane, (self._era, place))
                return

    def _wake(self, lane: Lane, which: tuple[int, int]) -> None:
        """The time at which the class's quorum is reached, before any message of that time: find each receiver's."""
        now, (era, place) = self._kernel.now, which
        if era != self._era or lane.due[place] > now:
            return
        lane.due[place] = NEVER
        waiting = [m for m in self._classes[place] if m not in lane.done and m in lane.audience]
        self._cross(lane, place, waiting)
        first = max(lane.threshold - 2 - lane.extra[place], 0)
        for time, _ in lane.arrivals[place][first : lane.threshold]:
            if time > now:
                lane.due[place] = time
                self._kernel.at(time, 0, self._wake, lane, (self._era, place))
                return

    def _cross(self, lane: Lane, place: int, receivers: Sequence[int]) -> None:
        """Put each receiver's crossing at the tie-break of the vote that completes its quorum, if one does so now."""
        now = self._kernel.now
        first = bisect_left(lane.arrivals[place], (now, -1))
        last = bisect_left(lane.arrivals[place], (now + 1, -1))
        arriving = [voter for _, voter in lane.arrivals[place][first:last]]
        if not arriving or not receivers:
            return
        ties = np.sort(self._floor.ties(arriving, receivers, now).astype(np.int64), axis=0)
        for column, receiver in enumerate(receivers):
            missing = lane.threshold - self._had(lane, place, receiver, first)
            fresh = ties[:, column]
            if receiver in arriving or lane.single.get(receiver):  # its own has another time; single ones count once
                those = lane.at(place, receiver, now)
                fresh = np.sort(self._floor.ties(those, [receiver], now).astype(np.int64), axis=0)[:, 0]
            if 1 <= missing <= len(fresh):
                self._kernel.at(now, int(fresh[missing - 1]), self._look, lane, receiver)

    def _had(self, lane: Lane, place: int, receiver: int, first: int) -> int:
        """How many votes the receiver has from before this instant; `first` of its class's arrivals are older."""
        if not self._regular(lane, receiver):
            return len(lane.before(place, receiver, self._kernel.now, self._since.get(receiver, 0)))
        own = receiver in lane.own
        # The receiver's own vote has an entry in its class too, which is not to be counted beside it.
        entered = own and (receiver, place) in lane.placed
        older = entered and lane.own[receiver] + self._delays[receiver][place] < self._kernel.now
        return first + own - older

    def _look(self, lane: Lane, receiver: int) -> None:
        """Hand the receiver its certificate if its quorum is there, at this point of this instant."""
        if receiver in lane.done or receiver in self._exempt:
            return
        place = self._place[receiver]
        if len(lane.arrivals[place]) + 1 + len(lane.single.get(receiver, ())) < lane.threshold:
            return  # with all that it could have
        now, tie = self._kernel.now, self._kernel.tie
        first = bisect_left(lane.arrivals[place], (now, -1))
        had = self._had(lane, place, receiver, first)
        here = lane.at(place, receiver, now)
        if had + len(here) < lane.threshold:
            return
        arrived = sorted(self._floor.early(here, receiver, now, tie))
        if had + len(arrived) < lane.threshold:
            self._cross(lane, place, [receiver])  # this vote may have made an earlier one the last that is needed
            return
        lane.done.add(receiver)
        signers = self._common(lane, place, first, arrived) if self._regular(lane, receiver) else None
        if signers is None:
            voters = lane.before(place, receiver, now, self._since.get(receiver, 0)) + arrived
            signers = voters[: lane.threshold]
        sender = arrived[-1] if arrived else min((v for v in signers if v != receiver), default=receiver)
        certificate = lane.certificate(self._domain, signers, len(self._place))
        self._kernel.at(now, tie, self._hand_over, (sender, receiver), certificate)

    def _regular(self, lane: Lane, receiver: int) -> bool:
        """Has the receiver had all its votes through this lane, in this incarnation?"""
        return receiver in lane.audience and not self._since.get(receiver) and not lane.single.get(receiver)

    def _common(self, lane: Lane, place: int, first: int, arrived: Sequence[int]) -> list[int] | None:
        """The first voters of the class, if the receiver has them all by now: then its members share a certificate."""
        held = lane.order[place][: lane.threshold]
        if len(held) < lane.threshold or not set(arrived).issuperset(held[first:]):
            return None
        return held

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
                lane.cut(place, len(held) - len(coming))
                lane.due[place] = NEVER
                for time, voter in coming:
                    for receiver in members:
                        if receiver != voter and receiver in lane.audience:
                            order = lane.placed[voter, place]
                            self._floor.single(time, voter, receiver, lane.votes[voter], order)

    def forget(self, receiver: int) -> None:
        """A process ended: what it had counted is gone."""
        self._since[receiver] = self._kernel.now + 1
        for lane in self._lanes.values():
            lane.done.discard(receiver)
            lane.single.pop(receiver, None)

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
            voters: Voters = self._clans[message.clan] if type(message) is StateVote else self._tribe
            threshold = 1 if type(message) is BlockCertificate else voters.threshold
            lane = self._lanes[key] = Lane(self._kernel.now, voters, threshold, len(self._classes))
            self._opened += 1
            if self._opened % 64 == 0:
                self.prune()
        return lane


def _key(message: Any) -> Key:
    kind = type(message)
    if kind is Vote:
        return ("vote", message.kind, message.view, message.block)
    if kind is CommitVote:
        return ("commit", message.view, message.block)
    if kind is StateVote:
        return ("state", message.clan, message.height, message.block, message.previous_root, message.root)
    return ("certificate", message.kind, message.view, message.block)
