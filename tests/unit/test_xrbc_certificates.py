"""What xRBC does with certificates: the pool, the block rules, retrieval (protocol.md 2.3, 2.6)."""

from __future__ import annotations

from nodes.committee import Committee
from nodes.messages import (
    AvailabilityCertificate,
    BatchMessage,
    BatchRequest,
    BatchResponse,
    Message,
    batch_id,
)
from nodes.port import Available, Finalised, Need, Propose, Stored
from nodes.xrbc.pool import Pool
from tests.availability import certified, cluster, fields, losing, notices, own_batch, vote_of
from tests.cores import VERIFIER, altered, appends, block_of
from tests.driver import MS, domain_of, small_config


# ---------------------------------------------------------------- certificates and the pool
def test_pool_offers_oldest_first_and_drops_what_is_final() -> None:
    config = small_config(4)
    driver = cluster(config)
    made = [certified(driver, config, name) for name in ("n3", "n1", "n2")]
    one, two, three = (certificate.batch for certificate in made)
    core = driver.nodes["n0"].core

    def offered(*taken: bytes) -> list[bytes]:
        return [c.batch for c in core.collect(driver.now, frozenset(taken))]

    assert offered() == [one, two, three]
    assert offered(one) == [two, three]
    driver.submit("n0", 0, Finalised(block_of(config, 1, made[1])))
    assert offered() == [one, three]
    assert "finalised already" in core.fault(block_of(config, 2, made[1]), frozenset())


def test_a_flood_of_backdated_batches_keeps_nobody_else_out() -> None:
    config = small_config(4)
    pool = Pool(Committee(config), domain_of(config), VERIFIER)
    template = certified(cluster(config), config, "n1")
    flood = [altered(template, seq=i, batch=i.to_bytes(32), created_ms=0) for i in range(300)]
    late = [altered(template, proposer=p, batch=p.encode() * 16, created_ms=500) for p in ("n0", "n2", "n3")]
    for certificate in (*flood, *late):
        pool.add(certificate)
    block = pool.collect(1000, frozenset())
    assert block == (*flood[:47], *late)


def test_block_rules() -> None:
    config = small_config(8, clans=2, batch_ttl_ms=5000)
    driver = cluster(config)
    good = certified(driver, config)
    core = driver.nodes["n6"].core

    def fault(*certificates: AvailabilityCertificate, ms: int = 0, taken: frozenset[bytes] = frozenset()) -> str:
        return core.fault(block_of(config, 1, *certificates, timestamp_ms=ms), taken) or ""

    assert fault(good) == ""
    assert "twice" in fault(good, good)
    assert "ancestor" in fault(good, taken=frozenset({good.batch}))
    assert fault(good, ms=good.created_ms + 5000) == ""
    assert "expired" in fault(good, ms=good.created_ms + 5001)
    assert "no clan 2" in fault(altered(good, clan=2))
    assert "proposes no batches" in fault(altered(good, clan=1))
    assert "epoch 1" in fault(altered(good, epoch=1))
    assert "cycle 1" in fault(altered(good, cycle=1))
    assert "bad signature" in fault(altered(good, tx_count=9))
    assert "bad signature" in fault(altered(good, batch=bytes(32)))
    assert "threshold" in fault(altered(good, signers=b"\x01", signatures=good.signatures[:1]))
    assert "bitmap" in fault(altered(good, signers=b"\xff\xff"))


def test_a_certificate_with_other_signers_is_as_good() -> None:
    config = small_config(4)
    driver = cluster(config)
    batch = own_batch(config, "n0", 0)[1]
    votes = {f"n{i}": vote_of(config, f"n{i}", batch.header) for i in range(4)}
    for pair in (("n0", "n1"), ("n2", "n3")):
        for name in pair:
            driver.inject("n3" if pair[0] == "n2" else "g0", name, votes[name])
    one, two = (notices(driver, Available, name)[0].certificate for name in ("g0", "n3"))
    assert one != two and one.batch == two.batch
    assert driver.nodes["n3"].core.fault(block_of(config, 1, one), frozenset()) is None


def test_hostile_certificates_are_rejected() -> None:
    config = small_config(4)
    driver = cluster(config)
    good = certified(driver, config)
    fresh = altered(good, batch=bytes(32))
    for bad in (fresh, altered(fresh, clan=7), altered(fresh, proposer="zz"), altered(fresh, cycle=3)):
        before = len(fields(driver, "reject", "n2"))
        driver.inject("n2", "n3", bad)
        assert len(fields(driver, "reject", "n2")) == before + 1
    assert len(notices(driver, Available, "n2")) == 1


# ---------------------------------------------------------------- retrieval
def test_withheld_batch_is_fetched_by_every_other_member() -> None:
    """The proposer sends the batch to a bare majority and stops (claim daqc-availability)."""
    config = small_config(7)
    driver = cluster(config, delay=losing(BatchMessage, to=("n4", "n5", "n6")))
    driver.submit("n0", 0, Propose(appends(config, 2)))
    driver.run(50)
    certificate = notices(driver, Available, "n5")[0].certificate
    driver.crash("n0")
    for name in ("n4", "n5", "n6"):
        driver.submit(name, 0, Finalised(block_of(config, 1, certificate)))
    driver.run(5000)
    for name in ("n4", "n5", "n6"):
        assert [batch_id(n.batch.header) for n in notices(driver, Stored, name)] == [certificate.batch]
        assert fields(driver, "retrieve", name)[-1]["ok"] is True


def test_lost_batch_is_asked_for_for_ever_but_not_busily() -> None:
    config = small_config(4)
    asked: list[tuple[int, str]] = []

    def delay(src: str, dst: str, message: Message) -> int | None:
        if isinstance(message, BatchRequest) and src == "n2":
            asked.append((driver.now // MS, dst))
        return None if isinstance(message, BatchResponse) else 10 * MS

    driver = cluster(config, delay=delay)
    certificate = certified(driver, config)
    asked.clear()
    driver.crash("n2", lose_disk=True)
    driver.start("n2")
    driver.submit("n2", 0, Need(certificate))
    driver.submit("n2", 0, Need(certificate))
    driver.run(30_000)
    assert 10 < len(asked) < 60
    assert {to for _, to in asked} == {"n0", "n1", "n3"}
    assert max(at for at, _ in asked) > 25_000
    assert all(not f["ok"] for f in fields(driver, "retrieve", "n2"))


def test_only_the_requested_body_is_accepted() -> None:
    config = small_config(4)
    driver = cluster(config, delay=losing(BatchMessage, to=("n3",)))
    certificate = certified(driver, config, "n0")
    body = notices(driver, Stored, "n0")[0].batch
    other = own_batch(config, "n1", 3)[1]
    driver.inject("n3", "n1", BatchResponse(body))
    driver.delay = losing(BatchRequest)
    driver.submit("n3", 0, Need(certificate))
    driver.inject("n3", "n1", BatchResponse(other))
    driver.inject("n3", "n1", BatchResponse(altered(body, transactions=body.transactions[:1])))
    assert not notices(driver, Stored, "n3")
    assert len(fields(driver, "reject", "n3")) == 3
    driver.inject("n3", "n1", BatchResponse(body))
    assert notices(driver, Stored, "n3")[0].batch == body


def test_unknown_bodies_are_not_served_and_repeats_are_limited() -> None:
    config = small_config(4)
    driver = cluster(config)
    certificate = certified(driver, config)
    sent: list[str] = []
    driver.delay = lambda src, dst, message: sent.append(type(message).__name__)
    driver.inject("n0", "n2", BatchRequest(bytes(32)))
    for _ in range(5):
        driver.inject("n0", "n2", BatchRequest(certificate.batch))
    assert sent == ["BatchResponse"]


def test_need_of_a_held_body_is_answered_at_once() -> None:
    config = small_config(4)
    driver = cluster(config)
    certificate = certified(driver, config)
    before = len(notices(driver, Stored, "n2"))
    driver.submit("n2", 0, Need(certificate))
    assert len(notices(driver, Stored, "n2")) == before + 1
