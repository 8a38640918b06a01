"""HotStuff's encodings against a recorded chain, and what any change to a certificate or a block leads to."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nacl.signing import VerifyKey

from checkers.evidence import EvidenceError
from checkers.hotstuff_certificates import Validators, encoded, signed, validators_of
from checkers.index import index_of
from checkers.registry import judge
from results.verdict import Status, Verdict
from tests.golden.plants_hotstuff import QUORUM, block, recorded, votes
from tests.golden.story import Story

NAME = "hotstuff-certificates"
MEND = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture(scope="module")
def story() -> Story:
    return recorded()


def verdict(story: Story) -> Verdict:
    (found,) = judge(story.run(), [NAME])
    return found


def test_every_recorded_vote_verifies(story: Story) -> None:
    """With the library alone: nothing of the checker but the bytes that are signed."""
    keys = [key for _, key, _ in validators_of(index_of(story.run()).info).members]
    seen = 0
    for event in story.events("finalise"):
        for key, vote in zip(keys, event["certificate"]["signatures"], strict=True):
            if vote is not None:
                VerifyKey(key).verify(signed(event["certificate"]), bytes.fromhex(vote))
                seen += 1
    assert seen >= 4 * len(story.events("finalise"))


def test_known_bytes() -> None:
    certificate = {"chain": 7, "view": 258, "block": "ab" * 32, "phase": "commit", "signatures": [None, "cd" * 64]}
    head = "0700000000000000" + "0201000000000000" + "ab" * 32 + "03"
    assert signed(certificate).hex() == head
    assert encoded(certificate).hex() == head + "02000000" + "00" + "01" + "cd" * 64


@given(st.integers(1, 400))
def test_two_quorums_share_more_than_a_third(replicas: int) -> None:
    quorum = Validators(7, tuple((f"n{i}", b"", 1) for i in range(replicas))).quorum
    faulty = (replicas - 1) // 3
    assert 2 * quorum - replicas > faulty and quorum <= replicas - faulty


@MEND
@given(at=st.integers(1, 5), vote=st.integers(0, 4), byte=st.integers(0, 63), bit=st.integers(0, 7))
def test_no_bit_of_a_signature_may_be_another(story: Story, at: int, vote: int, byte: int, bit: int) -> None:
    changed = story.copy()
    signatures = block(changed, "n0", at)["certificate"]["signatures"]
    if signatures[vote] is None:
        return
    raw = bytearray.fromhex(signatures[vote])
    raw[byte] ^= 1 << bit
    signatures[vote] = raw.hex()
    assert verdict(changed).status is Status.FAIL


@pytest.mark.parametrize("field", ["data", "data_hash", "parent", "block", "view"])
def test_no_part_of_a_block_may_be_another(story: Story, field: str) -> None:
    changed = story.copy()
    held = block(changed, "n1", 3)
    value: Any = held[field]
    held[field] = value + 1 if isinstance(value, int) else "00" + value[2:]
    assert verdict(changed).status is Status.FAIL


@pytest.mark.parametrize(("names", "status"), [(QUORUM, Status.PASS), (QUORUM[1:], Status.FAIL), ((), Status.FAIL)])
def test_the_threshold_is_exact(story: Story, names: tuple[str, ...], status: Status) -> None:
    changed = story.copy()
    tip = block(changed, "n0", 5)
    tip["certificate"] = votes(tip["certificate"], names)
    assert verdict(changed).status is status


def test_one_voter_is_not_counted_twice(story: Story) -> None:
    changed = story.copy()
    tip = block(changed, "n0", 5)["certificate"]
    made = votes(tip, QUORUM[:3])["signatures"]
    tip["signatures"] = [*made, made[0]]  # too many places for five validators
    assert verdict(changed).status is Status.FAIL
    tip["signatures"] = [*made[:3], made[0], None]
    assert verdict(changed).status is Status.FAIL


@pytest.mark.parametrize(("field", "value"), [("phase", "maybe"), ("view", -1), ("block", "zz"), ("chain", 7.5)])
def test_what_is_no_certificate_leaves_it_open_or_fails(story: Story, field: str, value: Any) -> None:
    changed = story.copy()
    block(changed, "n0", 5)["certificate"][field] = value
    assert verdict(changed).status is not Status.PASS


def test_without_the_validators_nothing_is_judged(story: Story) -> None:
    changed = copy.deepcopy(story)
    changed.info["parameters"] = {}
    assert verdict(changed).status is Status.UNKNOWN
    with pytest.raises(EvidenceError, match="chain and validators"):
        validators_of(index_of(changed.run()).info)
