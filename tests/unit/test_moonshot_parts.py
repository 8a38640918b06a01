"""The parts of Moonshot by themselves: leaders, caches, tallies, the block tree."""

from __future__ import annotations

import pytest

from nodes.committee import LeaderSchedule
from nodes.crypto import Ed25519Verifier
from nodes.messages import BlockCertificate, block_hash
from nodes.moonshot.certificates import Certificates, Recent
from nodes.moonshot.chain import Chain
from nodes.moonshot.leaders import Leaders, fair_succession
from nodes.moonshot.tallies import CHOICES, TimeoutTally, VoteTally
from nodes.remember import RememberingVerifier
from tests.moonshot_kit import Forge, ladder, small

CONFIG = small()
FORGE = Forge(CONFIG)
TRIBE = ("n0", "n1", "n2", "n3")


@pytest.mark.parametrize("n", range(2, 14))
def test_fair_succession_has_every_ordered_pair_once(n: int) -> None:
    cycle = fair_succession(n)
    pairs = list(zip(cycle, (*cycle[1:], cycle[0]), strict=True))
    assert len(pairs) == n * (n - 1)
    assert set(pairs) == {(i, j) for i in range(n) for j in range(n) if i != j}


def test_the_other_schedules() -> None:
    assert [Leaders(TRIBE, LeaderSchedule(kind="round-robin"))(v) for v in range(5)] == [*TRIBE, "n0"]
    fixed = Leaders(TRIBE, LeaderSchedule(kind="fixed", order=("n2", "n2", "n1")))
    assert [fixed(v) for v in range(4)] == ["n2", "n2", "n1", "n2"]
    assert Leaders(TRIBE, LeaderSchedule(kind="fair-succession"))(0) == "n0"


def test_recent_forgets_the_oldest() -> None:
    recent: Recent[int, int] = Recent(10)
    for key in range(100):
        recent.put(key, key)
    held = [key for key in range(100) if recent.get(key) is not None]
    assert held == list(range(100 - len(held), 100)) and 10 <= len(held) <= 20


class Counting(Ed25519Verifier):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def verify(self, public_key: bytes, statement: bytes, signature: bytes) -> bool:
        self.calls += 1
        return super().verify(public_key, statement, signature)


def test_a_signature_is_verified_once_whatever_it_is_part_of() -> None:
    inner = Counting()
    certificates = Certificates(FORGE.committee, FORGE.domain, RememberingVerifier(inner))
    block = FORGE.block(FORGE.genesis, 1, "n1")
    assert certificates.block_fault(FORGE.qc("normal", block, TRIBE[:3])) is None
    assert inner.calls == 3
    assert certificates.block_fault(FORGE.qc("normal", block, TRIBE[:3])) is None
    assert certificates.block_fault(FORGE.qc("normal", block, TRIBE[1:])) is None
    assert inner.calls == 4
    other = FORGE.block(FORGE.genesis, 1, "n1", tag=1)
    qc = FORGE.qc("normal", block, TRIBE[:3])
    stolen = BlockCertificate(0, "normal", 1, block_hash(other), qc.signers, qc.signatures)
    assert certificates.block_fault(stolen) == "bad signature of n0"  # the cache is by statement, too


def tally() -> tuple[VoteTally, Counting]:
    inner = Counting()
    return VoteTally(FORGE.committee, inner, lambda v, h: FORGE.domain.vote("normal", v, h)), inner


def test_votes_are_verified_when_they_can_make_a_quorum() -> None:
    votes, inner = tally()
    block = FORGE.block(FORGE.genesis, 1, "n1")
    for voter in TRIBE[:2]:
        vote = FORGE.vote("normal", block, voter)
        assert not votes.add(1, vote.block, voter, vote.signature, direct=True)
    assert inner.calls == 0 and votes.quorum(1, block_hash(block)) is None
    vote = FORGE.vote("normal", block, "n3")
    assert votes.add(1, vote.block, "n3", vote.signature, direct=True)
    bits, signatures = votes.quorum(1, vote.block) or (b"", ())
    assert bits == b"\x0b" and len(signatures) == inner.calls == 3
    votes.prune(2)
    assert votes.quorum(1, vote.block) is None


def test_a_voter_cannot_fill_the_memory() -> None:
    votes, _ = tally()
    for tag in range(50):
        vote = FORGE.vote("normal", FORGE.block(FORGE.genesis, 1, "n1", tag=tag), "n0")
        votes.add(1, vote.block, "n0", vote.signature, direct=True)
    assert len(votes._views[1].blocks) == CHOICES


def test_a_timeout_certificate_takes_the_highest_lock() -> None:
    _, qcs = ladder(FORGE, 3)
    timeouts = TimeoutTally(FORGE.committee)
    for voter, lock in zip(TRIBE, (1, 3, 2, 3), strict=True):
        timeouts.add(FORGE.tmo(5, qcs[lock], voter))
    certificate = timeouts.certificate(5, 0)
    assert certificate is not None
    assert (certificate.high.view, certificate.lock_views) == (3, (1, 3, 2))
    assert timeouts.known(FORGE.tmo(5, qcs[1], "n1")) and not timeouts.known(FORGE.tmo(5, qcs[2], "n0"))
    certificates = Certificates(FORGE.committee, FORGE.domain, Ed25519Verifier())
    assert certificates.timeout_fault(certificate) is None
    assert timeouts.certificate(6, 0) is None


def test_the_chain_finds_paths_gaps_and_conflicts() -> None:
    chain = Chain(FORGE.domain)
    blocks, _ = ladder(FORGE, 5)
    names = [block_hash(b) for b in blocks]
    fork = FORGE.block(blocks[1], 3, "n1", tag=7)
    for block in (*blocks[1:3], *blocks[4:], fork):
        assert chain.insert(block, block_hash(block))
    assert not chain.insert(blocks[4], names[4])
    assert chain.path(names[2]).blocks == blocks[1:3]
    assert chain.path(names[5]).missing == names[3]
    assert chain.extends(names[5], names[4], 4) and not chain.extends(names[5], names[2], 2)
    chain.finalise(blocks[1], names[1])
    chain.finalise(blocks[2], names[2])
    chain.trim()
    assert (chain.height, chain.head_view) == (2, 2)
    assert chain.path(block_hash(fork)).conflict
    assert chain.is_final(names[1]) and not chain.is_final(names[4])
    assert not chain.insert(FORGE.block(blocks[1], 2, "n1", tag=8), b"x" * 32)
    response = chain.response(names[2], 64)
    assert response is not None and list(response.blocks) == [blocks[2], blocks[1]]
    assert chain.response(names[0], 64) is None
