"""What a vote lane holds and hands out, and what it refuses (harness/backends/sim/lane.py, lanes.py)."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.backends.sim.kernel import Kernel
from harness.backends.sim.lane import Lane, voters_of
from harness.backends.sim.lanes import Lanes
from harness.bench.cores import Size, config_of, seed_of
from nodes.committee import Committee
from nodes.crypto import Domain, certificate_fault
from nodes.ideal import IdealSigner, IdealVerifier
from nodes.messages import BlockCertificate, CommitVote, Message, StateVote

COMMITTEE = Committee(config_of(Size(7, 1, 0, 0)))
NAMES = COMMITTEE.members("everyone")
INDEX = {name: i for i, name in enumerate(NAMES)}
DOMAIN = Domain(COMMITTEE.config.chain, COMMITTEE.config.epoch, COMMITTEE.config.cycle)
REFEREE = IdealVerifier(seed_of(name) for name in NAMES)
BLOCK = b"b" * 32


class Floor:
    """Links of one delay, one after the other."""

    names, index = NAMES, INDEX

    def __init__(self) -> None:
        self.handed: list[tuple[int, int, Message]] = []

    def delay(self, sender: int, to: int) -> int:
        return 10

    def classes(self) -> list[list[int]]:
        return [list(range(len(NAMES)))]

    def early(self, senders: Any, to: int, at: int, tie: int) -> list[int]:
        return list(senders)

    def ties(self, senders: Any, to: Any, at: int) -> Any:
        return np.zeros((len(senders), len(to)), dtype=np.uint64)

    def deliver(self, sender: int, to: int, message: Message) -> None:
        self.handed.append((sender, to, message))

    def single(self, *_: Any) -> None:
        raise AssertionError("nothing is in the way here")


def vote_of(place: int) -> CommitVote:
    signer = IdealSigner(seed_of(NAMES[place]))
    return CommitVote(3, BLOCK, NAMES[place], signer.sign(DOMAIN.commit(3, BLOCK)))


def lanes_on(floor: Floor, kernel: Kernel) -> Lanes:
    return Lanes(floor, kernel, COMMITTEE, DOMAIN, REFEREE)


def test_each_receiver_gets_a_good_certificate_of_the_votes_that_reached_it_and_equal_ones_are_one_object() -> None:
    floor, kernel = Floor(), Kernel()
    lanes = lanes_on(floor, kernel)
    everyone = range(len(NAMES))
    for sender in range(COMMITTEE.quorum):
        lanes.offer(sender, [to for to in everyone if to != sender], vote_of(sender))
    kernel.advance(20)
    assert sorted(to for _, to, _ in floor.handed) == list(everyone)
    for _, _, certificate in floor.handed:
        signed = (certificate.signers, certificate.signatures, DOMAIN.commit(3, BLOCK))  # type: ignore[union-attr]
        assert certificate_fault(COMMITTEE.tribe, COMMITTEE.keys, COMMITTEE.quorum, *signed, REFEREE) is None
    assert len({id(certificate) for _, _, certificate in floor.handed}) == 1


def test_a_vote_for_a_clan_that_there_is_not_or_of_somebody_elses_is_no_vote() -> None:
    """A corrupted node may send anything that decodes: it must not bring the simulation down."""
    floor, kernel = Floor(), Kernel()
    lanes = lanes_on(floor, kernel)
    gateway = INDEX["g0"]
    for voter, clan in ((0, 99), (gateway, 0)):
        signer = IdealSigner(seed_of(NAMES[voter]))
        signature = signer.sign(DOMAIN.root(clan, 1, BLOCK, BLOCK, BLOCK))
        vote = StateVote(clan, 1, BLOCK, BLOCK, BLOCK, NAMES[voter], signature)
        lanes.cast(voter, vote)
        lanes.arrived(voter, 1, vote)
    kernel.advance(20)
    assert not floor.handed


ARRIVALS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 6)), max_size=7, unique_by=lambda pair: pair[1])


@given(ARRIVALS, st.dictionaries(st.integers(0, 6), st.integers(0, 8)), st.integers(0, 9), st.integers(0, 3))
def test_before_and_at_are_what_their_texts_say(
    arrivals: list[tuple[int, int]], single: dict[int, int], time: int, since: int
) -> None:
    receiver = 2
    single.pop(receiver, None)
    tribe, _ = voters_of(COMMITTEE, INDEX)
    lane = Lane(0, tribe, tribe.threshold, 1)
    lane.audience = set(range(7))
    for at, voter in arrivals:
        lane.insert(0, at, voter)
        lane.placed[voter, 0] = 1
        lane.own[voter] = at
    if single:
        lane.single[receiver] = single
    own = [receiver] if lane.own.get(receiver, -1) >= since else []
    others = [v for _, v in sorted(arrivals) if v != receiver and v not in single]
    when = {v: t for t, v in arrivals}
    assert lane.before(0, receiver, time, since) == own + list(single) + [v for v in others if since <= when[v] < time]
    assert lane.at(0, receiver, time) == [v for v in others if when[v] == time]
    assert [v for _, v in lane.arrivals[0]] == lane.order[0]


def test_the_certificate_lane_hands_on_the_certificate_itself() -> None:
    tribe, _ = voters_of(COMMITTEE, INDEX)
    lane = Lane(0, tribe, 1, 1)
    certificate = BlockCertificate(0, "normal", 3, BLOCK, b"\x1f", (bytes(64),) * 5)
    assert lane.note(4, certificate) and not lane.note(4, certificate)
    assert lane.certificate(DOMAIN, [4], len(NAMES)) is certificate
