"""The building blocks of attacks: what they sign is genuine, what they forge is refused for the flaw it has."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from faults.byzantine.forgery import FLAWS, forged, forged_commit, forged_timeouts, understated
from faults.byzantine.port import CorruptedNode
from faults.byzantine.primitives import (
    NEVER,
    Held,
    child,
    commit_vote,
    enough,
    genesis_certificate,
    honest,
    leader_of,
    malleated,
    proposal,
    sibling,
    spoiled,
    timeout,
    under,
    vote,
)
from nodes.committee import Committee, LeaderSchedule
from nodes.crypto import Ed25519Verifier, bitmap_of
from nodes.messages import (
    Block,
    BlockCertificate,
    FallbackProposal,
    NormalProposal,
    OptimisticProposal,
    TimeoutCertificate,
    block_hash,
)
from nodes.moonshot.certificates import Certificates
from nodes.moonshot.leaders import Leaders
from nodes.moonshot.state import genesis_certificate as true_genesis_certificate
from tests.coalition import Canned, shell_of
from tests.driver import domain_of, signer_of, small_config

CONFIG = small_config(7)
COMMITTEE = Committee(CONFIG)
DOMAIN = domain_of(CONFIG)
VERIFIER = Ed25519Verifier()
PARENT = Block("test", 0, 3, 2, bytes(32), "n0", 5, ())
X = block_hash(PARENT)


def brain(coalition: Sequence[str] = ("n5", "n6")) -> CorruptedNode:
    return shell_of(Canned(), me="n6", coalition=coalition, config=CONFIG).node


def certificates() -> Certificates:
    return Certificates(COMMITTEE, DOMAIN, VERIFIER)


def votes_of(*voters: str) -> dict[str, bytes]:
    return {voter: signer_of(voter).sign(DOMAIN.vote("normal", 3, X)) for voter in voters}


def genuine() -> BlockCertificate:
    signed = votes_of("n0", "n1", "n2", "n3", "n4")
    return BlockCertificate(0, "normal", 3, X, bitmap_of(COMMITTEE.tribe, signed), tuple(signed.values()))


# ---------------------------------------------------------------- statements
def test_a_member_speaks_for_its_coalition_and_for_nobody_else() -> None:
    node, high = brain(), genuine()
    for voter in (None, "n5"):
        name = voter or "n6"
        key = signer_of(name).public_key
        said = vote(node, "normal", 3, X, voter)
        assert said.voter == name and VERIFIER.verify(key, DOMAIN.vote("normal", 3, X), said.signature)
        assert VERIFIER.verify(key, DOMAIN.commit(3, X), commit_vote(node, 3, X, voter).signature)
        assert VERIFIER.verify(key, DOMAIN.timeout(4, 3), timeout(node, 4, high, voter).signature)
    with pytest.raises(KeyError):
        vote(node, "normal", 3, X, "n0")


def test_a_proposal_is_of_the_kind_of_its_justification() -> None:
    node, high = brain(), genuine()
    block = sibling(PARENT, proposer="n6")
    timeouts = TimeoutCertificate(0, 2, high, b"", (), ())
    for justification, kind, made in (
        (None, "optimistic", OptimisticProposal),
        (high, "normal", NormalProposal),
        (timeouts, "fallback", FallbackProposal),
    ):
        said = proposal(node, block, justification)
        assert isinstance(said, made)
        statement = DOMAIN.proposal(kind, 3, block_hash(block))
        assert VERIFIER.verify(signer_of("n6").public_key, statement, said.signature)


def test_siblings_and_children_are_different_blocks_in_their_place() -> None:
    assert len({block_hash(sibling(PARENT, number)) for number in range(4)}) == 4
    assert (sibling(PARENT).view, sibling(PARENT).parent) == (PARENT.view, PARENT.parent)
    below = child(brain(), PARENT, 5)
    assert (below.parent, below.height, below.view) == (X, 3, 5)
    assert below.proposer == leader_of(COMMITTEE, 5)


def test_the_lowest_lock_is_one_that_every_replica_takes() -> None:
    assert genesis_certificate(brain()) == true_genesis_certificate(DOMAIN)
    assert certificates().block_fault(genesis_certificate(brain())) is None


def test_signatures_that_are_spoiled_malleated_or_of_another_domain_do_not_verify() -> None:
    node, key, statement = brain(), signer_of("n6").public_key, DOMAIN.vote("normal", 3, X)
    good = node.sign(statement)
    assert VERIFIER.verify(key, statement, good)
    for bad in (spoiled(good), malleated(good), node.sign(under(node, epoch=7).vote("normal", 3, X))):
        assert len(bad) == 64 and bad != good and not VERIFIER.verify(key, statement, bad)
    assert malleated(good)[:32] == good[:32]


# ---------------------------------------------------------------- forgeries
def test_the_control_a_genuine_certificate_is_taken() -> None:
    assert certificates().block_fault(genuine()) is None


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_forged_certificate_is_refused_whatever_its_flaw(flaw: str) -> None:
    node, heard = brain(), votes_of("n0", "n1")  # with the coalition's two: Q-1
    if flaw == "other-epoch":
        node.domain = under(node, epoch=1)
        found = Certificates(COMMITTEE, under(node, epoch=1), VERIFIER)
    else:
        found = certificates()
    assert found.block_fault(forged(node, flaw, "normal", 3, X, heard)) is not None
    assert found.commit_fault(forged_commit(node, flaw, 3, X)) is not None
    high = genuine() if flaw != "other-epoch" else genesis_certificate(node)
    assert found.timeout_fault(forged_timeouts(node, flaw, 4, high)) is not None


def test_a_quorum_of_keys_forges_what_is_taken() -> None:
    """Past every bound the flaws that need invented signatures are none: the coalition has a quorum of real ones."""
    node = brain(("n0", "n1", "n2", "n3", "n6"))
    assert certificates().block_fault(forged(node, "made-up", "normal", 3, X)) is None
    assert certificates().block_fault(forged(node, "below-threshold", "normal", 3, X)) is not None


def test_an_unknown_flaw_is_named() -> None:
    with pytest.raises(KeyError, match="below-threshold"):
        forged(brain(), "nice", "normal", 3, X)


def test_lock_views_that_were_signed_cannot_be_understated() -> None:
    high, low = genuine(), genesis_certificate(brain())
    signers = ("n0", "n1", "n2", "n3", "n4")
    signatures = tuple(signer_of(n).sign(DOMAIN.timeout(4, 3)) for n in signers)
    good = TimeoutCertificate(0, 4, high, bitmap_of(COMMITTEE.tribe, signers), (3,) * 5, signatures)
    assert certificates().timeout_fault(good) is None
    assert certificates().timeout_fault(understated(good, low)) is not None


# ---------------------------------------------------------------- when and who
def test_held_messages_go_when_they_are_due_or_released() -> None:
    held, said = Held(), genuine()
    held.keep("n0", said, 10)
    held.keep("n1", said, NEVER)
    held.keep("n2", said)
    assert held.due(9) == [] and held.due(10) == [("n0", said)]
    assert held.due(NEVER - 1) == [] and len(held) == 2
    assert held.release() == [("n1", said), ("n2", said)] and len(held) == 0


def test_every_quorum_needs_as_many_honest_nodes_as_are_enough() -> None:
    node = brain()
    assert honest(node) == ("n0", "n1", "n2", "n3", "n4")
    assert enough(node) == ("n0", "n1", "n2")
    assert enough(brain(("n2", "n3", "n4", "n5", "n6"))) == ("n0",)


@pytest.mark.parametrize("kind", ["round-robin", "fair-succession", "fixed"])
@pytest.mark.parametrize("n", [4, 5, 7])
def test_the_leader_is_whom_the_cores_take_for_it(kind: str, n: int) -> None:
    order = ("n1", "n1", "n3") if kind == "fixed" else ()
    committee = Committee(small_config(n, leaders=LeaderSchedule(kind, order)))  # type: ignore[arg-type]
    leaders = Leaders(committee.tribe, committee.config.leaders)
    assert [leader_of(committee, view) for view in range(100)] == [leaders(view) for view in range(100)]
