"""Buckets alone: who includes what, when, and how often (protocol.md 2.5)."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.buckets.core import MAX_RETURNS, BucketsCore
from nodes.committee import ClusterConfig, Committee
from nodes.crypto import Ed25519Signer
from nodes.messages import (
    AvailabilityCertificate,
    Batch,
    Forward,
    ForwardReceipt,
    Message,
    Transaction,
    batch_id,
    encode,
    tx_id,
)
from nodes.port import Finalised, Ordered, Propose, Stored
from nodes.xrbc.make import make_batch
from tests.cores import VERIFIER, altered, appends, block_of, drive, transaction_for, wallet_of
from tests.driver import MS, Driver, domain_of, signer_of, small_config

SECOND = 1000
PARAMETERS: dict[str, Any] = {"max_batch_delay_ms": 100, "inclusion_timeout_ms": 2000}


def buckets(config: ClusterConfig, name: str = "n0") -> tuple[Driver, list[tuple[str, Message]]]:
    """A lone core and the list that collects what it sends."""
    sent: list[tuple[str, Message]] = []

    def make(me: str, committee: Committee) -> BucketsCore:
        return BucketsCore(me, committee, domain_of(config), signer_of(me), VERIFIER)

    def delay(src: str, dst: str, message: Message) -> None:
        sent.append((dst, message))

    driver = drive(config, make, [name], delay=delay)
    driver._life.update(g0=0, g1=0)
    return driver, sent


def mine(config: ClusterConfig, name: str = "n0", rank: int = 0, **options: Any) -> Transaction:
    """A transaction in whose family `name` has this rank."""
    return transaction_for(config, lambda family: len(family) > rank and family[rank] == name, **options)


def forward(config: ClusterConfig, transaction: Transaction, gateway: str = "g0", **changes: Any) -> Forward:
    statement = domain_of(config).forward(tx_id(transaction), gateway, 5)
    return altered(Forward(transaction, gateway, 5, signer_of(gateway).sign(statement)), **changes)


def proposals(driver: Driver) -> list[tuple[int, tuple[Transaction, ...]]]:
    return [(at // MS, n.transactions) for at, _, n in driver.unrouted if isinstance(n, Propose)]


def rejects(driver: Driver) -> list[str]:
    return [f["reason"] for _, _, e, f in driver.trace if e == "reject"]


def batch_of(config: ClusterConfig, *transactions: Transaction, by: str = "n1", seq: int = 0) -> Batch:
    return make_batch(domain_of(config), signer_of(by), by, 0, seq, transactions, 0)[1]


def certificate_of(batch: Batch) -> AvailabilityCertificate:
    """What a finalised block says of the batch; nobody verifies it any more."""
    h = batch.header
    return AvailabilityCertificate(
        0, 0, h.clan, h.proposer, h.seq, batch_id(h), h.tx_count, h.byte_length, h.created_ms, b"", ()
    )


def ordered(config: ClusterConfig, height: int, transaction: Transaction, reason: str) -> Ordered:
    return Ordered(0, height, bytes(32), bytes(32), (), ((tx_id(transaction), reason),), {}, (transaction,))


def order(driver: Driver, config: ClusterConfig, height: int, *batches: Batch) -> None:
    driver.submit("n0", 0, Finalised(block_of(config, height, *(certificate_of(b) for b in batches))))


# ---------------------------------------------------------------- intake
def test_primary_includes_at_once_when_nothing_went_before_and_sends_a_receipt() -> None:
    config = small_config(7, **PARAMETERS)
    driver, sent = buckets(config)
    transaction = mine(config)
    driver.run(50)
    driver.inject("n0", "g0", forward(config, transaction))
    driver.run(SECOND)
    assert proposals(driver) == [(50, (transaction,))]
    [(to, receipt)] = sent
    assert to == "g0" and isinstance(receipt, ForwardReceipt)
    assert (receipt.transaction, receipt.member, receipt.received_ms) == (tx_id(transaction), "n0", 50)
    statement = domain_of(config).receipt(tx_id(transaction), "n0", 50)
    assert VERIFIER.verify(signer_of("n0").public_key, statement, receipt.signature)


def test_batches_follow_each_other_no_closer_than_the_batch_delay() -> None:
    config = small_config(7, **PARAMETERS)
    driver, _ = buckets(config)
    transactions = [mine(config, account=f"acct{i}") for i in range(6)]
    for transaction, at in zip(transactions, (50, 60, 140, 160, 400, 401), strict=True):
        driver.run(at)
        driver.inject("n0", "g0", forward(config, transaction))
    driver.run(SECOND)
    t = transactions
    assert proposals(driver) == [(50, (t[0],)), (150, (t[1], t[2])), (250, (t[3],)), (400, (t[4],)), (500, (t[5],))]


def test_secondary_includes_only_after_its_deadline() -> None:
    config = small_config(7, **PARAMETERS)
    driver, _ = buckets(config)
    transaction = mine(config, rank=1)
    driver.inject("n0", "g0", forward(config, transaction))
    driver.inject("n0", "g0", forward(config, mine(config)))
    driver.run(5 * SECOND)
    assert proposals(driver) == [(0, (mine(config),)), (2000, (transaction,))]
    roles = [f["role"] for _, _, e, f in driver.trace if e == "received"]
    assert roles == ["secondary", "primary"]


def test_same_transaction_from_two_gateways_is_included_once_with_two_receipts() -> None:
    config = small_config(7, gateways=2, **PARAMETERS)
    driver, sent = buckets(config)
    for gateway in ("g0", "g1", "g0"):
        driver.inject("n0", gateway, forward(config, mine(config), gateway))
    driver.run(SECOND)
    driver.inject("n0", "g1", forward(config, mine(config), "g1"))
    driver.run(2 * SECOND)
    assert len(proposals(driver)) == 1
    assert [to for to, _ in sent] == ["g0", "g1", "g0", "g1"]
    assert len({receipt for _, receipt in sent}) == 1


def test_refused_forwards_get_no_receipt_and_no_place() -> None:
    config = small_config(7, max_batch_bytes=1000, **PARAMETERS)
    driver, sent = buckets(config)
    good = mine(config)
    stranger = transaction_for(config, lambda family: "n0" not in family)
    driver.run(100)
    cases: list[tuple[str, str, Forward]] = [
        ("no gateway", "n1", altered(forward(config, good), gateway="n1")),
        ("sent by another", "n1", forward(config, good)),
        ("bad signature of the gateway", "g0", forward(config, good, sent_ms=6)),
        ("not in the family", "g0", forward(config, stranger)),
        ("has expired", "g0", forward(config, mine(config, expiry_ms=99))),
        ("bad wallet signature", "g0", forward(config, altered(good, signature=bytes(64)))),
        ("transaction of chain", "g0", _rechained(config)),
        ("larger than a batch", "g0", forward(config, _padded(config, 1000))),
    ]
    for reason, sender, message in cases:
        driver.inject("n0", sender, message)
        assert reason in rejects(driver)[-1]
    assert len(rejects(driver)) == len(cases)
    driver.run(5 * SECOND)
    assert not sent and not proposals(driver)


def _rechained(config: ClusterConfig) -> Forward:
    committee = Committee(config)
    for value in range(1000):
        foreign = altered(appends(config, 1)[0], chain="other", seq=value)
        if "n0" in committee.family(tx_id(foreign), 0):
            return forward(config, foreign)
    raise AssertionError


def _padded(config: ClusterConfig, padding: int) -> Transaction:
    committee, wallet = Committee(config), wallet_of(config)
    for value in range(1000):
        transaction = wallet.list_append(0, [["append", 1, value]], padding=padding)
        if "n0" in committee.family(tx_id(transaction), 0):
            return transaction
    raise AssertionError


def test_buckets_are_bounded() -> None:
    config = small_config(1, max_bucket_txs=3, **PARAMETERS)
    driver, sent = buckets(config)
    for transaction in appends(config, 5):
        driver.inject("n0", "g0", forward(config, transaction))
    assert len(sent) == 3 and len(rejects(driver)) == 2


# ---------------------------------------------------------------- building
def test_a_full_bucket_does_not_wait_and_respects_both_limits() -> None:
    config = small_config(1, max_batch_txs=3, **PARAMETERS)
    driver, _ = buckets(config)
    transactions = appends(config, 7)
    for transaction in transactions:
        driver.inject("n0", "g0", forward(config, transaction))
    assert proposals(driver) == [(0, transactions[:3]), (0, transactions[3:6])]
    driver.run(SECOND)
    assert proposals(driver)[2:] == [(100, transactions[6:])]


def test_byte_limit_splits_batches() -> None:
    size = len(encode(appends(small_config(1), 1)[0]))
    config = small_config(1, max_batch_bytes=2 * size + 1, **PARAMETERS)
    driver, _ = buckets(config)
    for transaction in appends(config, 5):
        driver.inject("n0", "g0", forward(config, transaction))
    driver.run(SECOND)
    made = [batch for _, batch in proposals(driver)]
    assert sum(len(batch) for batch in made) == 5
    assert all(sum(len(encode(t)) for t in batch) <= 2 * size + 1 for batch in made)


def test_expired_transactions_are_dropped_not_included() -> None:
    config = small_config(7, **PARAMETERS)
    driver, _ = buckets(config)
    first = mine(config, account="acct1")
    driver.inject("n0", "g0", forward(config, first))
    driver.run(1)
    driver.inject("n0", "g0", forward(config, mine(config, expiry_ms=50)))
    driver.inject("n0", "g0", forward(config, mine(config, rank=1, expiry_ms=1000)))
    driver.run(5 * SECOND)
    assert proposals(driver) == [(0, (first,))]


def test_include_names_the_batch_once_it_has_an_id() -> None:
    config = small_config(7, **PARAMETERS)
    driver, _ = buckets(config)
    primary, secondary = mine(config), mine(config, rank=1)
    for transaction in (primary, secondary):
        driver.inject("n0", "g0", forward(config, transaction))
    driver.run(3 * SECOND)
    for seq, (_, transactions) in enumerate(proposals(driver)):
        driver.submit("n0", 0, Stored(batch_of(config, *transactions, by="n0", seq=seq)))
    events = [f for _, _, e, f in driver.trace if e == "include"]
    assert [(f["tx"], f["role"]) for f in events] == [
        (tx_id(primary).hex(), "primary"),
        (tx_id(secondary).hex(), "secondary"),
    ]
    assert events[0]["batch"] == batch_id(batch_of(config, primary, by="n0").header).hex()
    assert events[1]["primary"] == Committee(config).family(tx_id(secondary), 0)[0]


# ---------------------------------------------------------------- what was ordered
@pytest.mark.parametrize("stored_first", [True, False])
def test_ordered_through_the_primary_leaves_the_secondary_bucket(stored_first: bool) -> None:
    config = small_config(7, **PARAMETERS)
    driver, sent = buckets(config)
    transaction = mine(config, rank=1)
    driver.inject("n0", "g0", forward(config, transaction))
    batch = batch_of(config, transaction)
    if stored_first:
        driver.submit("n0", 0, Stored(batch))
        order(driver, config, 1, batch)
    else:
        order(driver, config, 1, batch)
        driver.submit("n0", 0, Stored(batch))
    driver.inject("n0", "g0", forward(config, transaction))
    driver.run(5 * SECOND)
    assert not proposals(driver)
    assert len(sent) == 2  # a late forward still gets its receipt


def test_a_void_batch_orders_nothing() -> None:
    """EQ-FIRST: what is only in the void batch relies on the secondaries."""
    for rule, late in (("first", 1), ("both", 0)):
        config = small_config(7, equivocation=rule, **PARAMETERS)
        driver, _ = buckets(config)
        transaction = mine(config, rank=1)
        driver.inject("n0", "g0", forward(config, transaction))
        effective, void = batch_of(config, mine(config, rank=2)), batch_of(config, transaction)
        for batch in (effective, void):
            driver.submit("n0", 0, Stored(batch))
        order(driver, config, 1, effective)
        order(driver, config, 2, void)
        driver.run(5 * SECOND)
        assert len(proposals(driver)) == late


def test_too_new_comes_again_later_and_later_until_given_up() -> None:
    config = small_config(1, **PARAMETERS)
    driver, _ = buckets(config)
    transaction = appends(config, 1, start=5)[0]
    driver.inject("n0", "g0", forward(config, transaction))
    times = []
    for height in range(1, MAX_RETURNS + 5):
        driver.run(height * 10 * SECOND)
        made = proposals(driver)
        if len(made) < height:
            break
        times.append(made[-1][0])
        batch = batch_of(config, transaction, by="n0", seq=height)
        driver.submit("n0", 0, Stored(batch))
        order(driver, config, height, batch)
        driver.submit("n0", 0, ordered(config, height, transaction, "too-new"))
    assert len(times) == MAX_RETURNS + 1
    driver.inject("n0", "g0", forward(config, transaction))  # the gateway may still insist
    driver.run(200 * SECOND)
    assert len(proposals(driver)) == MAX_RETURNS + 2


def test_too_new_is_void_once_a_later_block_ordered_it_again() -> None:
    """A restarted node hears every block first, and the outcomes after them."""
    config = small_config(1, **PARAMETERS)
    driver, _ = buckets(config)
    transaction = appends(config, 1, start=5)[0]
    for height in (1, 2):
        batch = batch_of(config, transaction, by="n0", seq=height)
        driver.submit("n0", 0, Stored(batch))
        order(driver, config, height, batch)
    driver.submit("n0", 0, ordered(config, 1, transaction, "too-new"))
    driver.run(10 * SECOND)
    assert not proposals(driver)


def test_gap_backlog_of_one_account_is_bounded() -> None:
    config = small_config(1, too_new_backlog=2, **PARAMETERS)
    driver, _ = buckets(config)
    for transaction in appends(config, 4, start=5):
        driver.submit("n0", 0, ordered(config, 1, transaction, "too-new"))
    driver.run(10 * SECOND)
    assert sum(len(batch) for _, batch in proposals(driver)) == 2


def test_other_outcomes_and_other_clans_are_ignored() -> None:
    config = small_config(1, **PARAMETERS)
    driver, _ = buckets(config)
    transaction = appends(config, 1)[0]
    driver.submit("n0", 0, ordered(config, 1, transaction, "insufficient"))
    driver.submit("n0", 0, altered(ordered(config, 1, transaction, "too-new"), clan=1))
    driver.run(10 * SECOND)
    assert not proposals(driver)


def test_own_open_batches_found_after_a_restart_are_not_repeated() -> None:
    config = small_config(1, **PARAMETERS)
    driver, sent = buckets(config)
    transaction = appends(config, 1)[0]
    driver.submit("n0", 0, Stored(batch_of(config, transaction, by="n0")))
    driver.inject("n0", "g0", forward(config, transaction))
    driver.run(SECOND)
    assert len(sent) == 1 and not proposals(driver)


def test_what_is_in_a_dead_batch_may_be_included_again() -> None:
    config = small_config(1, batch_ttl_ms=1000, **PARAMETERS)
    driver, _ = buckets(config)
    first, second = appends(config, 2)
    driver.inject("n0", "g0", forward(config, first))
    driver.run(5 * SECOND)
    driver.inject("n0", "g0", forward(config, second))
    driver.run(6 * SECOND)
    driver.inject("n0", "g0", forward(config, first))
    driver.run(7 * SECOND)
    assert [batch for _, batch in proposals(driver)] == [(first,), (second,), (first,)]


def test_signer_of_the_gateway_is_checked_against_the_genesis() -> None:
    config = small_config(7, **PARAMETERS)
    driver, sent = buckets(config)
    transaction = mine(config)
    statement = domain_of(config).forward(tx_id(transaction), "g0", 5)
    impostor = Ed25519Signer(b"impostor".ljust(32, b"."))
    driver.inject("n0", "g0", Forward(transaction, "g0", 5, impostor.sign(statement)))
    assert not sent and "bad signature" in rejects(driver)[0]
