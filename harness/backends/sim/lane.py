"""One vote lane: the votes for one statement as arrival times (lanes.py says what they are for)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any, TypeAlias

import msgspec

from nodes.committee import Committee
from nodes.crypto import Domain, bitmap_of_flags
from nodes.messages import BlockCertificate, CommitCertificate, CommitVote, Message, NodeId, StateCertificate, Vote

Pick: TypeAlias = Callable[[bytearray], bytes]  # of one flag a node: those of a group's members, in order
NEVER = 2**62


class Voters(msgspec.Struct, frozen=True):
    """Who may vote in a lane: `place` of each by its node's index, and how many votes are a quorum."""

    members: Sequence[NodeId]
    place: dict[int, int]
    pick: Pick
    threshold: int


class Lane:
    """One statement's votes. `arrivals[c]` are (time, voter) in class c, sorted, and `order[c]` the voters alone; a
    voter has its own at `own`."""

    def __init__(self, born: int, voters: Voters, threshold: int, classes: int) -> None:
        self.born = born
        self.voters = voters
        self.threshold = threshold
        self.votes: dict[int, Message] = {}  # voter -> its message
        self.signatures: list[bytes] = [b""] * len(voters.members)  # by place
        self.own: dict[int, int] = {}  # voter -> when it voted
        self.audience: set[int] = set()
        self.invited: dict[int, int] = {}  # groups in the audience -> the first sender while it is missing, or -1
        self.placed: dict[tuple[int, int], int] = {}  # (voter, class) that `arrivals` has had -> its place in order
        self.arrivals: list[list[tuple[int, int]]] = [[] for _ in range(classes)]
        self.order: list[list[int]] = [[] for _ in range(classes)]
        self.due = [NEVER] * classes  # when the class is looked at next
        self.extra = [0] * classes  # most single votes that a receiver of the class has
        self.single: dict[int, dict[int, int]] = {}  # receiver -> voter -> when, for votes that came as messages
        self.done: set[int] = set()  # receivers that have the certificate
        self._certificates: dict[bytes, Message] = {}  # by signers

    def note(self, voter: int, message: Any) -> bool:
        """Hold a vote; False if the voter's is held already."""
        if voter in self.votes:
            return False
        self.votes[voter] = message
        if type(message) is not BlockCertificate:
            self.signatures[self.voters.place[voter]] = message.signature
        return True

    def insert(self, place: int, time: int, voter: int) -> None:
        """A vote will reach the class."""
        arrivals, order, arrival = self.arrivals[place], self.order[place], (time, voter)
        if not arrivals or arrivals[-1] < arrival:
            arrivals.append(arrival)
            order.append(voter)
        else:
            at = bisect_left(arrivals, arrival)
            arrivals.insert(at, arrival)
            order.insert(at, voter)

    def cut(self, place: int, count: int) -> None:
        """Keep the first arrivals of a class only."""
        del self.arrivals[place][count:], self.order[place][count:]

    def before(self, place: int, receiver: int, time: int, since: int) -> list[int]:
        """Voters whose votes the receiver had before `time`, in order of arrival; single ones and its own whenever."""
        others = self.single.get(receiver)
        arrivals = self.arrivals[place] if receiver in self.audience else []
        first = bisect_left(arrivals, (time, -1))
        if others or since:
            others = others or {}
            held = [v for t, v in arrivals[:first] if since <= t and v != receiver and v not in others]
        else:
            held = self.order[place][:first]
            if (receiver, place) in self.placed and receiver in held:
                held.remove(receiver)
        own = [receiver] if self.own.get(receiver, -1) >= since else []
        return [*own, *(others or ()), *held]

    def at(self, place: int, receiver: int, time: int) -> list[int]:
        """Voters whose votes reach the receiver's class at this very time."""
        if receiver not in self.audience:
            return []
        others = self.single.get(receiver, ())
        arrivals = self.arrivals[place]
        first = bisect_left(arrivals, (time, -1))
        last = bisect_left(arrivals, (time + 1, -1), first)
        here = self.order[place][first:last]
        return [v for v in here if v != receiver and v not in others] if others or receiver in here else here

    def certificate(self, domain: Domain, voters: Sequence[int], nodes: int) -> Message:
        """What these votes prove: one object for all receivers with the same signers. `nodes`: how many there are."""
        vote: Any = next(iter(self.votes.values()))
        if type(vote) is BlockCertificate:
            return self.votes[min(voters)]
        flags = bytearray(nodes)
        for voter in voters:
            flags[voter] = 1
        signed = self.voters.pick(flags)
        bitmap = bitmap_of_flags(signed)
        held = self._certificates.get(bitmap)
        if held is None:
            signatures = tuple(compress(self.signatures, signed))
            if type(vote) is Vote:
                held = BlockCertificate(domain.epoch, vote.kind, vote.view, vote.block, bitmap, signatures)
            elif type(vote) is CommitVote:
                held = CommitCertificate(domain.epoch, vote.view, vote.block, bitmap, signatures)
            else:
                held = StateCertificate(
                    domain.epoch, domain.cycle, vote.clan, vote.height, vote.block, vote.previous_root, vote.root,
                    bitmap, signatures,
                )  # fmt: skip
            self._certificates[bitmap] = held
        return held


def voters_of(committee: Committee, index: dict[NodeId, int]) -> tuple[Voters, list[Voters]]:
    """The tribe's and each clan's voters. `index`: every node's."""

    def group(members: Sequence[NodeId], threshold: int) -> Voters:
        indices = [index[member] for member in members]
        place = {at: i for i, at in enumerate(indices)}

        first, end = indices[0], indices[-1] + 1
        contiguous = indices == list(range(first, end))

        def pick(flags: bytearray) -> bytes:
            return bytes(flags[first:end]) if contiguous else bytes(map(flags.__getitem__, indices))

        return Voters(members, place, pick, threshold)

    clans = [group(clan, committee.majority(i)) for i, clan in enumerate(committee.clans)]
    return group(committee.tribe, committee.quorum), clans
