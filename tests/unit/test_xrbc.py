"""xRBC alone: certificates, equivocation, restarts, loss, hostile input (protocol.md 2.3)."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.committee import ClusterConfig, Committee
from nodes.messages import (
    AvailabilityCertificate,
    AvailabilityVote,
    Batch,
    BatchMessage,
    BatchRequest,
    Message,
    batch_id,
)
from nodes.port import Available, Finalised, Propose, Stored
from nodes.records import BatchKeyRecord, BatchRecord
from nodes.xrbc.core import SEQ_WINDOW
from nodes.xrbc.early import EARLY_BATCHES, EarlyBodies
from nodes.xrbc.make import make_batch
from nodes.xrbc.tally import OPEN_VOTES, Tally
from tests.availability import certificate_for, certified, cluster, fields, losing, notices, own_batch, vote_of
from tests.cores import account_in, altered, appends, block_of
from tests.driver import MS, Driver, domain_of, signer_of, small_config


# ---------------------------------------------------------------- the ordinary case
def test_everyone_holds_the_certificate_after_two_message_delays() -> None:
    config = small_config(7, clans=1)
    driver = cluster(config)
    driver.submit("n3", 0, Propose(appends(config, 3)))
    driver.run(20)
    assert {who for _, who, n in driver.unrouted if isinstance(n, Available)} == set(driver.nodes)
    assert all(at == 20 * MS for at, _, n in driver.unrouted if isinstance(n, Available))
    assert {who for _, who, n in driver.unrouted if isinstance(n, Stored)} == set(driver.nodes)


def test_gateway_has_the_body_as_soon_as_the_certificate_and_no_earlier() -> None:
    config = small_config(7)
    driver = cluster(config)
    driver.submit("n3", 0, Propose(appends(config, 3)))
    driver.run(15)
    assert not notices(driver, Stored, "g0") and driver.logs["g0"] == []
    driver.run(20)
    assert [type(n) for _, who, n in driver.unrouted if who == "g0"] == [Stored, Available]
    assert [type(r) for r in driver.logs["g0"]] == [BatchRecord]
    driver.run(5000)
    assert not driver.events("retrieve") and len(notices(driver, Stored, "g0")) == 1


def test_gateway_fetches_a_body_that_was_withheld_from_it() -> None:
    config = small_config(7)
    driver = cluster(config, delay=losing(BatchMessage, to=("g0",)))
    driver.submit("n3", 0, Propose(appends(config, 3)))
    driver.run(40)
    assert len(notices(driver, Stored, "g0")) == 1
    assert [f["ok"] for f in fields(driver, "retrieve", "g0")] == [True]


def test_gateway_uses_a_body_that_comes_after_its_certificate() -> None:
    config = small_config(7)
    driver = cluster(config, delay=losing(BatchMessage, BatchRequest, to=("g0", *(f"n{i}" for i in range(7)))))
    batch = own_batch(config, "n3", 0)[1]
    driver.inject("g0", "n1", certificate_for(config, batch))
    driver.inject("g0", "n3", BatchMessage(batch))
    assert [n.batch for n in notices(driver, Stored, "g0")] == [batch]
    assert [f["from"] for f in fields(driver, "retrieve", "g0")] == ["n3"]


def test_gateway_keeps_few_bodies_of_a_hostile_proposer_and_only_good_ones() -> None:
    config = small_config(7)
    driver = cluster(config)
    batches = [own_batch(config, "n0", seq)[1] for seq in range(EARLY_BATCHES + 5)]
    for batch in batches:
        driver.inject("g0", "n0", BatchMessage(batch))
    early: EarlyBodies = driver.nodes["g0"].core._early  # type: ignore[attr-defined]
    kept = [batch for batch in batches if early.take("n0", batch_id(batch.header))]
    assert kept == batches[5:] and driver.logs["g0"] == []
    good = batches[0]
    for sender, bad in (
        ("n1", good),
        ("g0", good),
        ("n0", Batch(good.header, good.transactions, bytes(64))),
        ("n0", Batch(good.header, good.transactions * 2, good.signature)),
    ):
        driver.inject("g0", sender, BatchMessage(bad))
    assert len(fields(driver, "reject", "g0")) == 4 and early.take("n0", batch_id(good.header)) is None


def test_only_the_clan_votes_and_everyone_counts() -> None:
    config = small_config(10, clans=2)
    driver = cluster(config)
    certificate = certified(driver, config)
    assert certificate.clan == 0 and len(certificate.signatures) == Committee(config).majority(0) == 3
    assert {e[1] for e in driver.events("availability_vote")} == {f"n{i}" for i in range(5)}
    assert {who for _, who, n in driver.unrouted if isinstance(n, Available)} == set(driver.nodes)


def test_certificates_are_multicast_by_proposer_and_gateway_only() -> None:
    config = small_config(7)
    spreaders = set()

    def delay(src: str, dst: str, message: Message) -> int:
        if isinstance(message, AvailabilityCertificate):
            spreaders.add(src)
        return 10 * MS

    driver = cluster(config, delay=delay)
    certificate = certified(driver, config, "n2")
    for name in driver.nodes:
        driver.submit(name, 0, Finalised(block_of(config, 1, certificate)))
    driver.run(5000)
    assert spreaders == {"n2", "g0"}


def test_a_clan_of_one_certifies_alone() -> None:
    config = small_config(1, gateways=0)
    driver = cluster(config)
    driver.submit("n0", 0, Propose(appends(config, 1)))
    assert len(notices(driver, Available)) == 1


# ---------------------------------------------------------------- durability
def test_body_and_vote_are_durable_before_the_vote_leaves() -> None:
    config = small_config(4)
    driver = cluster(config)
    certified(driver, config)
    for name in ("n0", "n1", "n2", "n3"):
        assert [type(r) for r in driver.logs[name]] == [BatchRecord, BatchKeyRecord]


def test_restarted_proposer_continues_its_sequence_and_repeats_what_is_open() -> None:
    config = small_config(4)
    driver = cluster(config, delay=losing(BatchMessage, AvailabilityVote))
    driver.submit("n1", 0, Propose(appends(config, 1)))
    driver.crash("n1")
    driver.delay = losing()
    driver.start("n1")
    driver.submit("n1", 0, Propose(appends(config, 1, start=5)))
    driver.run(3000)
    certificates = [n.certificate for n in notices(driver, Available, "n1")]
    assert sorted(c.seq for c in certificates) == [0, 1]
    assert not driver.events("accuse")


def test_restarted_member_never_votes_for_a_second_batch() -> None:
    config = small_config(4)
    driver = cluster(config)
    _, first = own_batch(config, "n0", 0)
    _, second = own_batch(config, "n0", 0, start=7)
    driver.inject("n1", "n0", BatchMessage(first))
    driver.crash("n1")
    driver.start("n1")
    driver.inject("n1", "n0", BatchMessage(second))
    assert len(fields(driver, "availability_vote", "n1")) == 1
    assert fields(driver, "reject", "n1")[0]["reason"] == "a second batch under one key"


def test_node_with_a_lost_disk_leaves_its_certified_keys_alone() -> None:
    config = small_config(4)
    driver = cluster(config)
    certificate = certified(driver, config)
    driver.crash("n1", lose_disk=True)
    driver.start("n1")
    driver.submit("n1", 0, Finalised(block_of(config, 1, certificate)))
    driver.submit("n1", 0, Propose(appends(config, 1, start=9)))
    driver.run(500)
    assert notices(driver, Available, "n2")[-1].certificate.seq == certificate.seq + 1


# ---------------------------------------------------------------- loss
def test_a_repeated_batch_gets_its_vote_repeated() -> None:
    config = small_config(4)
    driver = cluster(config, delay=losing(AvailabilityVote))
    driver.submit("n1", 0, Propose(appends(config, 1)))
    driver.run(500)
    assert not notices(driver, Available)
    driver.delay = losing()
    driver.run(2000)
    assert {who for _, who, n in driver.unrouted if isinstance(n, Available)} == set(driver.nodes)
    assert all(len(fields(driver, "availability_vote", f"n{i}")) == 1 for i in range(4))


def test_a_certificate_known_to_few_is_spread_after_the_retry_interval() -> None:
    config = small_config(7)
    driver = cluster(config, delay=losing(AvailabilityVote, AvailabilityCertificate, to=("n5", "n6", "g0")))
    certified(driver, config)
    driver.delay = losing()
    driver.run(1500)
    assert {who for _, who, n in driver.unrouted if isinstance(n, Available)} == set(driver.nodes)


# ---------------------------------------------------------------- equivocation
def equivocate(config: ClusterConfig, driver: Driver) -> tuple[bytes, bytes]:
    """n0 of a clan of three: b1 to n1, b2 to n2, and its own vote for both."""
    (one, first), (two, second) = own_batch(config, "n0", 0), own_batch(config, "n0", 0, start=7)
    driver.inject("n1", "n0", BatchMessage(first))
    driver.inject("n2", "n0", BatchMessage(second))
    for name in (*[f"n{i}" for i in range(1, 9)], "g0"):
        driver.inject(name, "n0", vote_of(config, "n0", first.header))
        driver.inject(name, "n0", vote_of(config, "n0", second.header))
    driver.run(100)
    return one, two


def test_one_equivocating_proposer_in_a_clan_of_three_gets_two_certificates() -> None:
    config = small_config(9, clans=3)
    driver = cluster(config)
    batches = set(equivocate(config, driver))
    for name in (f"n{i}" for i in range(1, 9)):
        assert {n.certificate.batch for n in notices(driver, Available, name)} == batches
        payload = driver.nodes[name].core.collect(driver.now, frozenset())
        assert {c.batch for c in payload} == batches
        assert driver.nodes[name].core.fault(block_of(config, 1, *payload), frozenset()) is None
        assert {(f["culprit"], f["kind"]) for f in fields(driver, "accuse", name)} == {
            ("n0", "double-availability-vote"),
            ("n0", "batch-equivocation"),
        }


def test_second_batch_for_one_key_is_refused_and_proves_the_proposer_guilty() -> None:
    config = small_config(4)
    driver = cluster(config)
    for start in (0, 7):
        driver.inject("n1", "n0", BatchMessage(own_batch(config, "n0", 0, start=start)[1]))
    assert [f["kind"] for f in fields(driver, "accuse", "n1")] == ["batch-equivocation"]
    assert len(fields(driver, "availability_vote", "n1")) == 1


def test_a_forged_second_batch_accuses_nobody() -> None:
    config = small_config(4)
    driver = cluster(config)
    driver.inject("n1", "n0", BatchMessage(own_batch(config, "n0", 0)[1]))
    forged = altered(own_batch(config, "n0", 0, start=7)[1], signature=bytes(64))
    driver.inject("n1", "n0", BatchMessage(forged))
    assert not fields(driver, "accuse", "n1")


# ---------------------------------------------------------------- what a member refuses to vote for
REFUSED: dict[str, Any] = {
    "epoch": ("not of the current cycle", lambda h: altered(h, epoch=1)),
    "cycle": ("not of the current cycle", lambda h: altered(h, cycle=1)),
    "clan": ("batch of clan 1", lambda h: altered(h, clan=1)),
    "proposer": ("may not propose", lambda h: altered(h, proposer="n2")),
    "no transactions": ("batch of 0 transactions", lambda h: altered(h, tx_count=0)),
    "too many": ("limit 200", lambda h: altered(h, tx_count=201)),
    "too large": ("limit 500000", lambda h: altered(h, byte_length=500_001)),
    "count": ("header says 3", lambda h: altered(h, tx_count=3)),
    "length": ("byte length", lambda h: altered(h, byte_length=h.byte_length + 1)),
    "root": ("transaction root", lambda h: altered(h, tx_root=bytes(32))),
    "future": ("in the future", lambda h: altered(h, created_ms=10_000)),
    "window": ("beyond the window", lambda h: altered(h, seq=SEQ_WINDOW + 1)),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_a_member_refuses(case: str) -> None:
    reason, change = REFUSED[case]
    config = small_config(8, clans=2)
    driver = cluster(config)
    batch = own_batch(config, "n0", 0, count=2)[1]
    header = change(batch.header)
    signature = signer_of("n0").sign(domain_of(config).batch(batch_id(header)))
    driver.inject("n1", "n0", BatchMessage(Batch(header, batch.transactions, signature)))
    assert reason in fields(driver, "reject", "n1")[0]["reason"]
    assert not driver.logs["n1"] and not notices(driver, Stored, "n1")


def test_a_member_refuses_bad_transactions_and_other_clans_accounts() -> None:
    config = small_config(8, clans=2)
    domain, signer = domain_of(config), signer_of("n0")
    good = appends(config, 1, account_in(config, 0))[0]
    cases = {
        "bad wallet signature": altered(good, signature=bytes(64)),
        "does not belong to clan 0": appends(config, 1, account_in(config, 1))[0],
        "transaction of chain": altered(good, chain="other"),
    }
    for seq, (reason, transaction) in enumerate(cases.items()):
        driver = cluster(config)
        batch = make_batch(domain, signer, "n0", 0, seq, (good, transaction), 0)[1]
        driver.inject("n1", "n0", BatchMessage(batch))
        assert reason in fields(driver, "reject", "n1")[0]["reason"]
        assert not driver.logs["n1"]


def test_votes_of_strangers_forged_and_relayed_votes_do_not_count() -> None:
    config = small_config(8, clans=2)
    driver = cluster(config)
    header = own_batch(config, "n0", 0)[1].header
    driver.inject("n7", "n5", vote_of(config, "n5", header))
    driver.inject("n7", "n1", altered(vote_of(config, "n1", header), signature=bytes(64)))
    driver.inject("n7", "n5", vote_of(config, "n1", header))
    driver.inject("n7", "n1", vote_of(config, "n1", altered(header, seq=SEQ_WINDOW + 1)))
    assert len(fields(driver, "reject", "n7")) == 4
    driver.inject("n7", "n1", vote_of(config, "n1", header))
    driver.inject("n7", "n1", vote_of(config, "n1", header))
    assert not notices(driver, Available)
    driver.inject("n7", "n2", vote_of(config, "n2", header))
    assert len(notices(driver, Available, "n7")) == 1


def test_a_voter_has_a_bounded_number_of_open_votes_and_pushes_out_only_its_own() -> None:
    config = small_config(5)
    committee = Committee(config)

    class Credulous:
        def verify(self, public_key: bytes, statement: bytes, signature: bytes) -> bool:
            return True

    tally = Tally(committee, domain_of(config), Credulous())
    template = vote_of(config, "n1", own_batch(config, "n0", 0)[1].header)
    first = altered(template, voter="n2")
    tally.offer(first)
    for seq in range(OPEN_VOTES + 500):
        tally.offer(altered(template, seq=seq))
    assert tally.voters((0, "n0", 0), template.batch) == {"n2"}
    assert not tally.voters((0, "n0", 499), template.batch)
    assert tally.voters((0, "n0", 500), template.batch) == {"n1"}
    assert len(tally._slots) == OPEN_VOTES + 1
    assert tally.offer(altered(template, voter="n3")).certificate is None
    assert tally.offer(altered(template, voter="n4")).certificate is not None
