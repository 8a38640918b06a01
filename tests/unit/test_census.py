"""What a node tells of its stores, that the judge has a cap for each of them, and that the stores keep to it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from checkers.memory import caps
from checkers.registry import judge
from harness import commands
from harness.mutants import Patch, applied
from harness.trial import trial
from nodes import census
from nodes.buckets.ordered import OrderedBatches
from nodes.messages import BatchMessage, batch_id
from nodes.port import Emit, Expire, Finalised, Propose, SetTimer, Start
from nodes.supra import build
from nodes.xrbc.bodies import Bodies
from nodes.xrbc.voted import OPEN_BATCHES, Voted
from results.verdict import Status
from tests.availability import certificate_for, cluster, losing, own_batch
from tests.cores import VERIFIER, appends, block_of
from tests.driver import signer_of, small_config
from tests.golden.make import world
from tests.moonshot_kit import Forge, Script, one_leader
from tests.unit.test_buckets import buckets, ordered
from tests.unit.test_buckets import mine as transaction_of

ALL = ("n0", "n1", "n2", "n3")
TTL = {"batch_ttl_ms": 5000, "max_clock_skew_ms": 500}


# ---------------------------------------------------------------- the census
@pytest.mark.parametrize("node", ["n0", "g0"])
def test_every_store_has_a_cap_and_every_cap_a_store(node: str) -> None:
    config = small_config(4)
    core = build(node, config, signer_of(node), VERIFIER)
    started = core.step(5, Start())
    assert SetTimer(census.TIMER, 5 + census.FIRST_NS) in started
    told, again = core.step(7, Expire(census.TIMER))
    assert again == SetTimer(census.TIMER, 7 + census.EVERY_NS)
    assert isinstance(told, Emit) and told.event == "buffers"
    assert (told.fields["view"], told.fields["final"]) == (1, 0)
    assert told.fields["sizes"].keys() == caps(world().story().run().info, node, 1, 0).keys()


def test_a_run_tells_of_every_node_each_second() -> None:
    run = trial(commands.read_scenario("fault-free-4"), 1, ["memory"])
    takes = [event for event in run.run.trace if event["event"] == "buffers"]
    assert {event["node"] for event in takes} == {*run.info.tribe, *run.info.gateways}
    times = sorted(event["time"] for event in takes if event["node"] == "n0")
    assert [b - a for a, b in pairwise(times)] == [census.EVERY_NS] * (len(times) - 1)
    (verdict,) = run.verdicts
    assert verdict.status is Status.PASS and verdict.examined == len(takes)
    assert all(found["count"] <= found["cap"] for found in verdict.measures["fullest"].values())


class Silent:
    """No census is taken."""

    id = "silent"
    patches = (Patch("nodes.census:Census.begin", lambda original: lambda self, now: SetTimer(census.TIMER, 10**18)),)


def test_without_a_census_nothing_is_known() -> None:
    with applied(Silent()):
        (verdict,) = trial(commands.read_scenario("fault-free-4"), 1, ["memory"]).verdicts
    assert verdict.status is Status.UNKNOWN and "no honest node took a census" in verdict.reason


def test_what_one_node_or_store_leaves_out_is_unknown() -> None:
    base = world().story().copy()
    base.drop("buffers", node="n1")
    base.events("buffers", node="n2")[0]["sizes"]["consensus.cellar"] = 3
    del base.events("buffers", node="n3")[0]["sizes"]["xrbc.open"]
    (verdict,) = judge(base.run(), ["memory"])
    assert verdict.status is Status.UNKNOWN
    for doubt in (
        "n1 took no census",
        "no cap is known for store consensus.cellar of n2",
        "n3 leaves out store xrbc.open",
    ):
        assert doubt in verdict.reason


# ---------------------------------------------------------------- bodies that nobody ordered
def test_bodies_that_no_block_may_hold_any_more_are_dropped() -> None:
    config = small_config(7, **TTL)
    held = [own_batch(config, "n3", seq)[1] for seq in range(3)]
    bodies = Bodies(5500)
    for batch in held:
        bodies.add(batch_id(batch.header), batch)
    bodies.finalise(batch_id(held[0].header))
    bodies.expire(held[0].header.created_ms + 5500)
    assert bodies.perishable() == 2
    bodies.expire(held[0].header.created_ms + 5501)
    assert bodies.perishable() == 0
    assert [batch_id(batch.header) in bodies for batch in held] == [True, False, False]


def test_a_final_body_that_comes_late_stays() -> None:
    batch = own_batch(small_config(7), "n3", 0)[1]
    ident = batch_id(batch.header)
    bodies = Bodies(100)
    bodies.finalise(ident)
    bodies.add(ident, batch)
    bodies.expire(10**9)
    assert bodies.get(ident) is batch and bodies.perishable() == 0


def test_a_flood_that_is_never_certified_leaves_nothing_behind() -> None:
    """The votes of the others are lost: n0 holds a body that is never certified, until block time has passed it."""
    config = small_config(7, **TTL)
    driver = cluster(config)
    core: Any = driver.nodes["n0"].core  # type: ignore[attr-defined]
    for seq in range(40):
        driver.inject("n0", "n3", BatchMessage(own_batch(config, "n3", seq)[1]))
    assert core._bodies.perishable() == core._voted.most_open(but="n0") == 40
    other = own_batch(config, "n2", 0)[1]
    block = block_of(config, 1, certificate_for(config, other), timestamp_ms=6000)
    driver.submit("n0", 0, Finalised(block))
    driver.run(1)
    assert core._bodies.perishable() == 0
    assert core._voted.fault((0, "n3", 41), 10**9, 10**6, 6000) is not None  # too large, whatever is open
    assert core._voted.most_open(but="n0") == 0


def test_an_equivocator_does_not_free_its_quota_by_another_batch_under_the_number() -> None:
    voted = Voted(5000)
    for seq in range(OPEN_BATCHES):
        voted.add((0, "n3", seq), bytes([1]) * 32, (100, 1000))
    voted.close((0, "n3", 0), bytes([2]) * 32)
    assert voted.most_open(but="") == OPEN_BATCHES
    assert "too many" in (voted.fault((0, "n3", OPEN_BATCHES), 100, 10**6, 6000) or "")
    voted.close((0, "n3", 0), bytes([1]) * 32)
    assert voted.fault((0, "n3", OPEN_BATCHES), 100, 10**6, 6000) is None
    voted.add((0, "n3", OPEN_BATCHES), bytes([1]) * 32, (100, 7000))
    assert voted.fault((0, "n3", OPEN_BATCHES + 1), 100, 10**6, 6001) is None  # all others have expired
    assert voted.most_open(but="") == 1


def test_a_restart_does_not_free_the_quota_either() -> None:
    config = small_config(7, **TTL)
    driver = cluster(config, delay=losing(BatchMessage, to=("n1",)))
    driver.submit("n3", 0, Propose(appends(config, 2)))
    driver.run(5)
    for seq in range(1, 4):
        driver.inject("n0", "n3", BatchMessage(own_batch(config, "n3", seq)[1]))
    open_before = driver.nodes["n0"].core._voted.most_open(but="n0")  # type: ignore[attr-defined]
    driver.crash("n0")
    driver.start("n0")
    assert driver.nodes["n0"].core._voted.most_open(but="n0") == open_before > 0  # type: ignore[attr-defined]


def test_buckets_forget_batches_that_no_block_may_hold_any_more() -> None:
    config = small_config(4)
    ordered = OrderedBatches(0, "first", 5500)
    for seq in range(30):
        ordered.stored(own_batch(config, "n3", seq)[1])
    created = own_batch(config, "n3", 0)[1].header.created_ms
    ordered.finalise(block_of(config, 1, timestamp_ms=created + 5500))
    assert ordered.sizes()["stored"] == 30
    ordered.finalise(block_of(config, 2, timestamp_ms=created + 5501))
    assert ordered.sizes()["stored"] == 0


# ---------------------------------------------------------------- old certificates again and again
def test_repeated_old_certificates_are_not_remembered() -> None:
    """Whoever repeats certificates of blocks long final fills neither the memory nor the trace."""
    config = one_leader()
    forge = Forge(config)
    script = Script(config, "n1")
    blocks, _ = script.climb(forge, 40)
    for block in blocks[1:31]:
        script.hear("n2", forge.cqc(block, ALL))
    before = script.core.sightings()
    told = len(script.events("certify"))
    for _ in range(3):
        for block in blocks[1:11]:
            script.hear("n3", forge.cqc(block, ALL))
    assert script.core.sightings() == before and len(script.events("certify")) == told


# ---------------------------------------------------------------- transactions that come too early
def test_returned_transactions_count_against_the_limit_of_the_buckets() -> None:
    config = small_config(1, max_bucket_txs=3)
    driver, _ = buckets(config)
    core: Any = driver.nodes["n0"].core  # type: ignore[attr-defined]
    for account in range(6):
        early = transaction_of(config, account=f"acct{account}")
        driver.submit("n0", 0, ordered(config, 1, early, "too-new"))
        driver.run(1)
    assert core.held() == 3
