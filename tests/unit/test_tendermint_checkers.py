"""CometBFT's encodings, hashes and sign bytes against a recorded chain and against known vectors."""

from __future__ import annotations

import base64
import copy
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import VerifyKey

from checkers.evidence import EvidenceError
from checkers.index import index_of
from checkers.registry import judge
from checkers.tendermint import records, wire
from checkers.tendermint.chain import chain_of, names_of, sealed
from checkers.tendermint.records import Block, Validator, validators_hash
from results.verdict import Status
from tests.golden.plants_cometbft import block, recorded


def blocks() -> list[Block]:
    return [records.read(event, Block) for event in recorded().events("tendermint-block", node="n0")]


def test_every_recorded_hash_is_computed_again() -> None:
    assert len(blocks()) == 8
    assert all(held.misfit() == "" for held in blocks())


def test_votes_of_the_evidence_verify_and_are_for_different_blocks() -> None:
    (proof,) = [records.duplicate_vote(e) for held in blocks() for e in held.evidence]
    keys = {one.address: one.key for one in chain_of(index_of(recorded().run())).genesis}
    for vote in (proof.vote_a, proof.vote_b):
        key = VerifyKey(bytes.fromhex(keys[vote.validator_address]))
        key.verify(vote.sign_bytes("moonquake-1"), base64.b64decode(vote.signature or ""))
    assert proof.vote_a.block_id != proof.vote_b.block_id


@pytest.mark.parametrize(("number", "encoded"), [(0, "00"), (1, "01"), (300, "ac02"), (-1, "ff" * 9 + "01")])
def test_varints(number: int, encoded: str) -> None:
    assert wire.varint(number).hex() == encoded


def test_an_absent_validators_time_is_the_first_day_of_the_calendar() -> None:
    assert wire.instant("0001-01-01T00:00:00Z") == (-62135596800, 0)
    assert wire.instant("2026-11-26T04:45:01.000000012Z") == (1795668301, 12)


@pytest.mark.parametrize("text", ["", "2026-11-26", "2026-13-01T00:00:00Z", "2026-11-26T04:45:01+01:00"])
def test_what_is_no_time_in_utc_is_refused(text: str) -> None:
    with pytest.raises(EvidenceError, match="time"):
        wire.timestamp(text)


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=40))
def test_merkle_roots_are_those_of_rfc_6962(items: list[bytes]) -> None:
    """Built from below, level by level, where the code divides from above."""
    level = [hashlib.sha256(b"\0" + item).digest() for item in items]
    while len(level) > 1:
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        level = [hashlib.sha256(b"\1" + b"".join(p)).digest() if len(p) == 2 else p[0] for p in pairs]
    assert wire.merkle_root(items) == level[0]


@given(st.permutations(range(4)))
def test_the_order_of_validators_does_not_matter_and_equal_powers_go_by_address(order: list[int]) -> None:
    held = [Validator(hashlib.sha256(bytes([i])).hexdigest(), 10) for i in range(4)]
    assert validators_hash(tuple(held[i] for i in order)) == validators_hash(tuple(held))


@given(
    st.sampled_from(
        [
            "chain_id", "height", "time", "last_commit_hash", "data_hash", "validators_hash", "next_validators_hash",
            "consensus_hash", "app_hash", "last_results_hash", "evidence_hash", "proposer_address",
        ]
    ),
    st.integers(1, 8),
)  # fmt: skip
@settings(max_examples=40)
def test_no_field_of_a_header_may_change_unseen(field: str, height: int) -> None:
    story = recorded()
    header = block(story, "n0", height)["header"]
    other = {"chain_id": "x", "height": str(int(header["height"]) + 1), "time": "2026-01-01T00:00:01Z"}
    header[field] = other.get(field, "CD" * 32)
    (verdict,) = judge(story.run(), ["tendermint-commits"])
    assert verdict.status is Status.FAIL
    assert "wrong-hash" in {anomaly.kind for anomaly in verdict.anomalies}


@settings(max_examples=30)
@given(st.integers(2, 8), st.integers(0, 63), st.integers(0, 7))
def test_no_bit_of_a_signature_may_change_unseen(height: int, byte: int, bit: int) -> None:
    story = recorded()
    for event in story.events("tendermint-block", height=height):
        one = next(s for s in event["last_commit"]["signatures"] if s["signature"])
        damaged = bytearray(base64.b64decode(one["signature"]))
        damaged[byte] ^= 1 << bit
        one["signature"] = base64.b64encode(damaged).decode()
    kinds = {anomaly.kind for anomaly in judge(story.run(), ["tendermint-commits"])[0].anomalies}
    assert {"wrong-hash", "invalid-signature"} <= kinds


def test_twins_are_one_validator_by_the_name_of_both() -> None:
    info = recorded().run().info
    assert sorted(names_of(info).values()) == ["n0", "n1", "n2", "n3/n4"]


def test_without_the_genesis_nothing_is_believed() -> None:
    story = recorded()
    del story.info["parameters"]["validators"]
    for verdict in judge(story.run(), ["tendermint-commits", "tendermint-evidence"]):
        assert verdict.status is Status.UNKNOWN and "names no validators" in verdict.reason


def test_a_twin_that_nobody_accused_leaves_the_verdict_open() -> None:
    story = recorded()
    for event in story.trace:
        if event["event"] == "tendermint-block":
            event["evidence"] = []
    (verdict,) = judge(story.run(), ["tendermint-evidence"])
    assert verdict.status is Status.UNKNOWN and "n3/n4 votes with a key that is used twice" in verdict.reason


def test_an_unknown_set_of_validators_is_a_doubt_and_no_pass() -> None:
    story = recorded()
    story.trace = [e for e in story.trace if not (e["event"] == "tendermint-validators" and e["height"] == 7)]
    (verdict,) = judge(story.run(), ["tendermint-commits"])
    assert verdict.status is Status.UNKNOWN and "validators that vote on height" in verdict.reason


def test_what_a_corrupted_node_tells_proves_nothing() -> None:
    story = recorded()
    forged = copy.deepcopy(block(story, "n0", 8)) | {"node": "n4", "txs": ["cjA9OQ=="]}
    story.trace.append(forged)
    assert judge(story.run(), ["tendermint-commits"])[0].status is Status.PASS


def test_each_signature_is_verified_once() -> None:
    chain = chain_of(index_of(recorded().run()))
    found, doubts = sealed(chain)
    assert not doubts and all(not one.fault for one in found)
    assert chain.signatures == len(
        {(c.height, s.signature) for c, _, _ in chain.commits for s in c.signatures if s.signature}
    )


def test_two_validators_of_four_are_beyond_the_bound_and_two_nodes_of_one_are_not() -> None:
    story = recorded()
    assert judge(story.run(), ["prefix"])[0].status is Status.PASS
    story.info |= {"byzantine": ["n2", "n3", "n4"], "honest": ["n0", "n1"]}
    (verdict,) = judge(story.run(), ["prefix"])
    assert verdict.status is Status.UNKNOWN and "'within the bound' with n2, n3, n4 Byzantine" in verdict.reason
