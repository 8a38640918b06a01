"""Every rule of protocol.md 1.4 with a step that it permits and the steps that it forbids."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nodes.messages import Block, BlockCertificate, TimeoutCertificate
from nodes.moonshot import rules
from nodes.moonshot.state import Replica

H = {name: name.encode() * 32 for name in "PXOFY"}


def certificate(view: int, block: str) -> BlockCertificate:
    return BlockCertificate(0, "normal", view, H[block], b"", ())


def block(view: int, parent: str) -> Block:
    return Block("test", 0, view, view, H[parent], "n0", 0, ())


def replica(**changes: Any) -> Replica:
    """In view 5, locked on X of view 4, with nothing voted there yet."""
    return msgspec.structs.replace(Replica(lock=certificate(4, "X"), view=5), **changes)


O5 = block(5, "X")


def test_a_certificate_enters_the_next_view_only_from_below() -> None:
    assert rules.enters(replica(view=5), 5)
    assert not rules.enters(replica(view=5), 4)


def test_the_lock_only_rises() -> None:
    assert rules.advances_lock(replica(), certificate(5, "O"))
    assert not rules.advances_lock(replica(), certificate(4, "Y"))


def test_no_second_optimistic_proposal_for_the_block_just_voted_for() -> None:
    assert rules.may_propose_optimistically(replica(opt_block=H["Y"]), H["O"])
    assert not rules.may_propose_optimistically(replica(opt_block=H["O"]), H["O"])


@pytest.mark.parametrize(
    ("view", "parent", "fits"), [(4, "X", True), (3, "X", False), (5, "X", False), (4, "Y", False)]
)
def test_a_normal_proposal_extends_its_certificate_from_the_view_before(view: int, parent: str, fits: bool) -> None:
    assert rules.normal_fits(O5, certificate(view, parent)) is fits


@pytest.mark.parametrize(("view", "high", "fits"), [(4, "X", True), (3, "X", False), (4, "P", False)])
def test_a_fallback_proposal_is_on_the_highest_block_of_the_view_before(view: int, high: str, fits: bool) -> None:
    tc = TimeoutCertificate(0, view, certificate(3, high), b"", (), ())
    assert rules.fallback_fits(O5, tc) is fits


OPTIMISTIC_BARS: list[dict[str, Any]] = [
    {"view": 4},
    {"view": 6},
    {"timed_out": {5}},
    {"fallback_view": 5},
    {"normal_view": 5},
    {"opt_view": 5},
    {"lock": certificate(3, "X")},
    {"lock": certificate(4, "Y")},
    {"timeout_view": 4},  # MM1: a timeout of v-1 bars the optimistic vote in v
]


def test_the_optimistic_vote() -> None:
    assert rules.may_vote_optimistic(replica(), O5)
    assert rules.may_vote_optimistic(replica(timeout_view=3), O5)
    for bar in OPTIMISTIC_BARS:
        assert not rules.may_vote_optimistic(replica(**bar), O5), bar


NORMAL_BARS: list[dict[str, Any]] = [
    {"view": 4},
    {"timed_out": {5}},
    {"normal_view": 5},
    {"fallback_view": 5},  # MM4
    {"timeout_view": 5},
    {"opt_view": 5, "opt_block": H["Y"]},  # MM3: contradicts the own optimistic vote
]


def test_the_normal_vote() -> None:
    assert rules.may_vote_normal(replica(), O5, H["O"])
    assert rules.may_vote_normal(replica(timeout_view=4), O5, H["O"])
    assert rules.may_vote_normal(replica(opt_view=5, opt_block=H["O"]), O5, H["O"])
    for bar in NORMAL_BARS:
        assert not rules.may_vote_normal(replica(**bar), O5, H["O"]), bar


def test_the_fallback_vote() -> None:
    assert rules.may_vote_fallback(replica(timeout_view=4), O5)
    assert rules.may_vote_fallback(replica(opt_view=5, opt_block=H["Y"]), O5)  # a_o is not consulted
    for bar in [{"view": 4}, {"timed_out": {5}}, {"normal_view": 5}, {"fallback_view": 5}, {"timeout_view": 5}]:
        assert not rules.may_vote_fallback(replica(**bar), O5), bar


def test_the_direct_commit_vote() -> None:
    qc = certificate(5, "O")
    assert rules.may_commit_vote(replica(timeout_view=4), qc)
    bars: list[dict[str, Any]] = [
        {"timeout_view": 5},  # MM7
        {"view": 6},
        {"lock": certificate(5, "O")},
        {"commit_voted": {(5, H["O"])}},
        {"commit_voted": {(5, H["Y"])}},
    ]
    for bar in bars:
        assert not rules.may_commit_vote(replica(**bar), qc), bar


def test_the_indirect_commit_vote() -> None:
    qc = certificate(3, "P")
    assert rules.may_commit_vote_indirectly(replica(), qc, descendant_voted=True)
    assert not rules.may_commit_vote_indirectly(replica(), qc, descendant_voted=False)
    assert not rules.may_commit_vote_indirectly(replica(timeout_view=3), qc, descendant_voted=True)
    assert not rules.may_commit_vote_indirectly(replica(commit_voted={(3, H["P"])}), qc, descendant_voted=True)


def test_a_two_chain_is_of_consecutive_views() -> None:
    assert rules.two_chain(4, 5)
    assert not rules.two_chain(3, 5)  # MM6
    assert not rules.two_chain(5, 5)


def test_a_timeout_is_sent_once_and_not_for_a_view_left() -> None:
    assert rules.may_time_out(replica(), 5)
    assert rules.may_time_out(replica(), 7)
    assert not rules.may_time_out(replica(), 4)
    assert not rules.may_time_out(replica(timed_out={5}), 5)


def test_a_timeout_carries_an_older_lock() -> None:
    assert rules.timeout_fits(5, certificate(4, "X"))
    assert not rules.timeout_fits(4, certificate(4, "X"))


@pytest.mark.parametrize(
    ("view", "locks", "high", "good"),
    [
        (5, (3, 4, 1), 4, True),
        (5, (3, 3, 1), 4, False),  # nobody claims the high certificate
        (5, (3, 4, 1), 3, False),  # somebody claims a higher one
        (4, (3, 4, 1), 4, False),  # not older than the view
        (5, (), 0, False),
    ],
)
def test_a_timeout_certificate_is_well_formed(view: int, locks: tuple[int, ...], high: int, good: bool) -> None:
    assert rules.well_formed(view, locks, certificate(high, "X")) is good


def test_a_recovered_replica_is_the_one_that_was_saved() -> None:
    state = replica(opt_view=4, opt_block=H["O"], timed_out={6, 5}, commit_voted={(4, H["X"])}, timeout_view=6)
    again = Replica.recover(state.snapshot())
    assert again == state
    again.prune(6)
    assert again.timed_out == {6}
    assert again.commit_voted == set()
    assert again.timeout_view == 6
