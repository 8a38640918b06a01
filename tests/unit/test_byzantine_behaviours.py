"""Each behaviour against real nodes in memory: does it bite, and what comes of it at its bound and beyond?"""

from __future__ import annotations

from typing import Any

import pytest

from faults.byzantine.registry import load_behaviour
from nodes.messages import (
    AvailabilityVote,
    BatchRequest,
    Block,
    CommitVote,
    Forward,
    ForwardReceipt,
    OptimisticProposal,
    StateVote,
    Timeout,
    Vote,
    block_hash,
)
from nodes.port import Multicast, Send
from nodes.wallet import Wallet
from tests.coalition import Arena, Canned, receive, sends, shell_of
from tests.driver import domain_of, signer_of, small_config

AT_BOUND = ("n4", "n5", "n6")  # f_c = 3 of a clan of seven
BEYOND = ("n3", "n4", "n5", "n6")


def arena(coalition: tuple[str, ...], use: str, until_ms: int = 4000, **parameters: Any) -> Arena:
    made = Arena(coalition, [(use, parameters)], delay_ms=50, start_ms=0, batch_retry_ms=250)
    made.load(until_ms - 2000, every_ms=100)
    made.driver.run(until_ms)
    assert all(all(bits) for bits in made.bit().values()), made.bit()
    assert made.forks() == {}
    return made


# ---------------------------------------------------------------- leaders and voters
def proposal(payload_ms: int = 5) -> OptimisticProposal:
    block = Block("test", 0, 3, 2, bytes(32), "n6", payload_ms, ())
    signature = signer_of("n6").sign(domain_of(small_config(7)).proposal("optimistic", 3, block_hash(block)))
    return OptimisticProposal(block, signature)


def test_the_two_variants_are_valid_different_and_go_to_different_halves() -> None:
    leader = load_behaviour("equivocating-leader", {})
    original = proposal()
    shell = shell_of(Canned(Multicast("everyone", original)), leader, coalition=("n5", "n6"))
    heard: dict[str, list[bytes]] = {}
    for to, message in sends(receive(shell, "n0", BatchRequest(bytes(32)))):
        assert isinstance(message, OptimisticProposal)
        ident = block_hash(message.block)
        statement = domain_of(small_config(7)).proposal("optimistic", 3, ident)
        assert message.signature == signer_of("n6").sign(statement)
        assert (message.block.view, message.block.parent, message.block.height) == (3, bytes(32), 2)
        heard.setdefault(to, []).append(ident)
    first = block_hash(original.block)
    assert all(heard[n] == [first] for n in ("n0", "n1", "n2", "g0"))
    assert heard["n3"] == heard["n4"] != [first] and len(heard["n3"]) == 1
    assert sorted(heard["n5"]) == sorted([first, *heard["n3"]])  # the accomplice can vote for both


def test_the_double_voter_returns_every_vote_to_its_half() -> None:
    domain = domain_of(small_config(7))
    shell = shell_of(
        Canned(Send("n0", Vote("normal", 9, bytes(32), "n6", bytes(64)))), load_behaviour("double-voter", {})
    )
    for voter, half in (("n1", {"n0", "n1", "n2"}), ("n4", {"n3", "n4", "n5"})):
        out = sends(receive(shell, voter, CommitVote(4, voter.encode() * 16, voter, bytes(64))))
        tribe = {to for to, _ in out if to != "g0"}
        assert tribe == half, "its own core's vote must not leak, the echo must reach the half"
        for _, message in out:
            assert isinstance(message, CommitVote) and message.voter == "n6"
            assert message.signature == signer_of("n6").sign(domain.commit(4, voter.encode() * 16))


def test_a_silent_leader_stops_nobody() -> None:
    made = arena(("n5", "n6"), "silent-leader", until_ms=9000)
    assert made.height() > 5
    assert {f["proposer"] for _, f in made.events("finalise")} <= set(made.honest)


def test_withheld_votes_stop_nobody_at_f_and_everybody_at_f_plus_one() -> None:
    assert arena(("n5", "n6"), "vote-withholder", until_ms=3000).height() > 15
    assert arena(("n4", "n5", "n6"), "vote-withholder", until_ms=3000).height() == 0


@pytest.mark.parametrize("kinds", [[], ["votes"], "vote", None])
def test_unknown_kinds_are_refused(kinds: Any) -> None:
    with pytest.raises(ValueError, match="kinds"):
        load_behaviour("vote-withholder", {"kinds": kinds})


def test_the_withholder_withholds_what_it_is_told() -> None:
    vote, timeout = Vote("normal", 9, bytes(32), "n6", bytes(64)), CommitVote(9, bytes(32), "n6", bytes(64))
    shell = shell_of(
        Canned(Send("n0", vote), Send("n0", timeout)), load_behaviour("vote-withholder", {"kinds": ["commit"]})
    )
    assert sends(receive(shell, "n0", BatchRequest(bytes(32)))) == [("n0", vote)]
    assert Timeout not in {type(m) for _, m in sends(receive(shell, "n0", timeout))}


# ---------------------------------------------------------------- censorship
def test_a_censored_transaction_gets_in_through_the_others() -> None:
    censor = ("censoring-primary", {"blocks": True})
    made = Arena(("n5", "n6"), [censor], delay_ms=50, inclusion_timeout_ms=500)
    made.load(2000, every_ms=100)
    made.driver.run(4000)
    assert all(all(bits) for bits in made.bit().values())
    assert made.phases()["exec"] == made.phases()["accepted"] > 15


def test_victims_roles_and_fake_receipts() -> None:
    config = small_config(7)
    wallet, other = (Wallet(signer_of(a), domain_of(config)) for a in ("acct0", "acct1"))

    def forward(who: Wallet) -> Forward:
        return Forward(who.list_append(0, [["append", 1, 1]]), "g0", 1, bytes(64))

    core = Canned()
    censor = load_behaviour("censoring-primary", {"victims": [wallet.address.hex()], "receipt": "fake"})
    out = sends(receive(shell_of(core, censor), "g0", forward(wallet)))
    assert [(to, type(m)) for to, m in out] == [("g0", ForwardReceipt)] and not core.seen
    assert sends(receive(shell_of(core, censor), "g0", forward(other))) == [] and len(core.seen) == 1
    with pytest.raises(ValueError, match="victims"):
        load_behaviour("censoring-primary", {"victims": ["acct0"]})
    with pytest.raises(ValueError, match="role"):
        load_behaviour("censoring-primary", {"role": "leader"})


# ---------------------------------------------------------------- data availability
def test_withheld_batches_are_fetched_at_the_bound() -> None:
    made = arena(AT_BOUND, "data-withholding", until_ms=4500)
    assert made.phases()["exec"] == made.phases()["accepted"] > 15
    assert made.executed() > 30


def test_two_batches_under_one_key_are_both_certified_and_all_settle_on_one() -> None:
    made = arena(AT_BOUND, "equivocating-batch", until_ms=3500)
    certified: dict[tuple[str, int], set[str]] = {}
    for _, fields in made.events("available"):
        certified.setdefault((fields["proposer"], fields["seq"]), set()).add(fields["batch"])
    assert any(len(batches) == 2 for batches in certified.values())
    assert {f["culprit"] for _, f in made.events("accuse")} <= set(AT_BOUND) and made.events("accuse")
    roots: dict[int, set[str]] = {}
    for _, fields in made.events("execute"):
        roots.setdefault(fields["height"], set()).add(fields["root"])
    assert all(len(found) == 1 for found in roots.values())


def test_a_clan_majority_certifies_what_nobody_holds() -> None:
    made = arena(BEYOND, "colluding-clan-majority")
    assert made.executed() < made.height() - 20  # ordering goes on, execution never does
    held = {f["batch"] for _, f in made.events("batch")}
    assert {f["batch"] for _, f in made.events("available")} - held


def test_without_a_majority_nothing_comes_of_it() -> None:
    made = arena(AT_BOUND, "colluding-clan-majority")
    assert made.phases()["exec"] == made.phases()["accepted"] > 15
    votes = [m for s in made.shells.values() for m in s.stack if m.behaviour.receipt.injected > 0]
    assert len(votes) == 3  # every accomplice voted with its own key, and the tally still fell short


# ---------------------------------------------------------------- execution
def test_liars_at_the_bound_change_nothing() -> None:
    made = arena(AT_BOUND, "lying-executor")
    assert made.phases()["exec"] == made.phases()["accepted"] > 15
    assert not made.events("halt") and made.events("state_certificate")


def test_a_lying_majority_is_refused_by_the_gateway() -> None:
    made = arena(BEYOND, "lying-executor")
    assert made.phases()["refused"] > 0
    assert {node for node, _ in made.events("halt")} >= set(made.honest)
    assert not [e for e in made.driver.events("halt") if e[1] in BEYOND]


@pytest.mark.parametrize(("collude", "roots"), [(True, 1), (False, 2)])
def test_liars_agree_only_if_they_collude(collude: bool, roots: int) -> None:
    lies: set[bytes] = set()
    for me in ("n5", "n6"):
        vote = StateVote(0, 1, bytes(32), bytes(32), b"t" * 32, me, bytes(64))
        liar = load_behaviour("lying-executor", {"collude": collude})
        shell = shell_of(Canned(Send("n0", vote)), liar, me=me, coalition=("n5", "n6"))
        for _, message in sends(receive(shell, "n0", BatchRequest(bytes(32)))):
            assert isinstance(message, StateVote) and message.root != vote.root
            statement = domain_of(small_config(7)).root(0, 1, bytes(32), bytes(32), message.root)
            assert message.signature == signer_of(me).sign(statement)
            lies.add(message.root)
    assert len(lies) == roots


def test_availability_votes_are_for_the_own_key_only() -> None:
    made = Arena(BEYOND, [("colluding-clan-majority", {"every_s": 0.5})], delay_ms=50)
    made.driver.run(1500)
    assert not [
        f for _, f in made.events("reject") if AvailabilityVote.__name__ in str(f) or "sent by another" in str(f)
    ]
