"""Moonshot under crashes, restarts, lost disks, partitions and loss: never a fork, and progress after the heal."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from nodes.messages import CommitVote, Message, OptimisticProposal, Vote
from nodes.port import Finalised
from nodes.records import FinalisedRecord
from tests.driver import MS, Driver
from tests.moonshot_kit import MD, assert_no_fork, assert_votes_clean, cluster, finalised, small

Delay = Callable[[str, str, Message], int | None]
FAST = {"delta_ms": 50, "timeout_resend_ms": 200, "sync_retry_ms": 100}


class Network:
    """10 ms everywhere; `cut(src, dst)` true means lost."""

    def __init__(self) -> None:
        self.cut: Callable[[str, str], bool] = lambda src, dst: False

    def __call__(self, src: str, dst: str, message: Message) -> int | None:
        return None if self.cut(src, dst) else MD * MS


def halves(driver: Driver, left: set[str]) -> Callable[[str, str], bool]:
    return lambda src, dst: (src in left) != (dst in left)


def heights(driver: Driver, names: list[str]) -> list[int]:
    return [driver.nodes[name].height for name in names]  # type: ignore[attr-defined]


def test_a_crashed_node_recovers_from_its_log_and_catches_up() -> None:
    driver = cluster(small(4, **FAST))
    driver.run(300)
    driver.crash("n2")
    driver.run(1000)
    at_crash = sum(isinstance(r, FinalisedRecord) for r in driver.logs["n2"])
    driver.unrouted.clear()
    driver.start("n2")
    told = [
        notice.block.height for _, node, notice in driver.unrouted if node == "n2" and isinstance(notice, Finalised)
    ]
    assert told == list(range(1, at_crash + 1))
    driver.run(2000)
    assert_no_fork(driver, driver.committee.tribe)
    assert_votes_clean(driver, driver.committee.tribe)
    assert min(heights(driver, ["n2"])) >= max(heights(driver, ["n0", "n1", "n3"])) - 2


@pytest.mark.parametrize("seed", range(4))
def test_restarts_at_any_moment_never_vote_twice(seed: int) -> None:
    """Every node is killed and restarted over and over; what it signs stays consistent across its lives (MM8)."""
    rng = Random(seed)
    signed: dict[tuple[str, int, str], bytes] = {}

    def delay(src: str, dst: str, message: Message) -> int | None:
        if isinstance(message, Vote | CommitVote):
            kind = message.kind if isinstance(message, Vote) else "commit"
            assert signed.setdefault((message.voter, message.view, kind), message.block) == message.block
        if isinstance(message, OptimisticProposal):
            block = message.block
            key = (block.proposer, block.view, block.parent.hex())
            assert signed.setdefault(key, message.signature) == message.signature
        return rng.randrange(1, 30) * MS

    driver = cluster(small(4, **FAST), delay=delay, seed=seed)
    now = 0
    for _ in range(40):
        now += rng.randrange(5, 60)
        driver.run(now)
        name = rng.choice(driver.committee.tribe)
        driver.crash(name)
        driver.start(name)
    driver.run(now + 1500)
    assert_no_fork(driver, driver.committee.tribe)
    assert_votes_clean(driver, driver.committee.tribe)
    assert min(heights(driver, list(driver.committee.tribe))) > 20
    assert not driver.events("accuse", "halt")


def test_all_nodes_restart_at_once_and_go_on() -> None:
    driver = cluster(small(4, **FAST))
    driver.run(305)
    before = max(heights(driver, ["n0", "n1", "n2", "n3"]))
    for name in driver.committee.tribe:
        driver.crash(name)
    driver.run(400)
    for name in driver.committee.tribe:
        driver.start(name)
    driver.run(1500)
    assert_no_fork(driver, driver.committee.tribe)
    assert_votes_clean(driver, driver.committee.tribe)
    assert min(heights(driver, ["n0", "n1", "n2", "n3"])) > before + 20


@pytest.mark.parametrize("dead", ["n0", "n1", "n2", "n3"])
def test_a_certified_block_outlives_a_restart_of_all_but_its_proposer(dead: str) -> None:
    """A body is durable before the vote for it: whoever stays away, the others have the highest certified block."""
    driver = cluster(small(4, **FAST))
    driver.run(305)
    for name in driver.committee.tribe:
        driver.crash(name)
    driver.run(400)
    alive = [name for name in driver.committee.tribe if name != dead]
    for name in alive:
        driver.start(name)
    before = max(heights(driver, alive))
    driver.run(4000)
    assert min(heights(driver, alive)) > before + 5


def test_an_amnesiac_is_carried_along() -> None:
    """n3 loses its disk (it counts as Byzantine then): the others do not fork, and it fetches the whole chain again."""
    driver = cluster(small(4, **FAST))
    driver.run(2000)
    driver.crash("n3", lose_disk=True)
    driver.run(2300)
    driver.trace = [e for e in driver.trace if e[1] != "n3"]
    driver.start("n3")
    driver.run(3500)
    assert_no_fork(driver, driver.committee.tribe)
    assert min(heights(driver, ["n3"])) >= max(heights(driver, ["n0"])) - 2
    assert len(finalised(driver, "n3")) > 200  # several rounds of 64 ancestors


@pytest.mark.parametrize("left", [{"n0", "n1"}, {"n0"}, {"n0", "n1", "n2"}, {"n0", "n1", "n2", "g0"}])
def test_a_partition_heals(left: set[str]) -> None:
    network = Network()
    driver = cluster(small(4, **FAST), delay=network)
    driver.run(500)
    network.cut = halves(driver, left)
    driver.run(1800)
    network.cut = lambda src, dst: False
    driver.run(3000)
    names = [*driver.committee.tribe, "g0"]
    assert_no_fork(driver, names)
    assert_votes_clean(driver, driver.committee.tribe)
    final = heights(driver, names)
    assert min(final) > 100 and max(final) - min(final) <= 2
    assert not driver.events("accuse", "halt")


def test_no_half_finalises_alone() -> None:
    network = Network()
    driver = cluster(small(4, **FAST), delay=network)
    driver.run(500)
    network.cut = halves(driver, {"n0", "n1"})
    driver.run(600)
    before = heights(driver, list(driver.committee.tribe))
    driver.run(5000)
    assert heights(driver, list(driver.committee.tribe)) == before


def test_rolling_one_way_cuts() -> None:
    """L5: each node in turn is deaf, then mute, for several timeouts."""
    network = Network()
    driver = cluster(small(7, **FAST), delay=network)
    now = 300
    for number, name in enumerate(driver.committee.tribe):
        if number % 2:
            network.cut = lambda src, dst, name=name: src == name  # type: ignore[misc]
        else:
            network.cut = lambda src, dst, name=name: dst == name  # type: ignore[misc]
        now += 300
        driver.run(now)
    network.cut = lambda src, dst: False
    driver.run(now + 800)
    assert_no_fork(driver, driver.committee.tribe)
    final = heights(driver, list(driver.committee.tribe))
    assert max(final) - min(final) <= 2


@pytest.mark.parametrize(("n", "loss"), [(4, 0.2), (7, 0.2), (4, 0.5)])
def test_lost_messages_slow_down_and_do_not_stop(n: int, loss: float) -> None:
    rng = Random(n)
    driver = cluster(
        small(n, **FAST), delay=lambda src, dst, m: None if rng.random() < loss else rng.randrange(5, 20) * MS
    )
    driver.run(4000)
    before = min(heights(driver, list(driver.committee.tribe)))
    driver.run(20000, stop=lambda: min(heights(driver, list(driver.committee.tribe))) > before + 3)
    assert min(heights(driver, list(driver.committee.tribe))) > before + 3
    assert_no_fork(driver, driver.committee.tribe)
    assert_votes_clean(driver, driver.committee.tribe)
    assert not driver.events("accuse", "halt")


def test_everything_lost_for_a_while_then_nothing() -> None:
    network = Network()
    driver = cluster(small(4, **FAST), delay=network)
    driver.run(305)
    before = heights(driver, ["n0"])[0]
    network.cut = lambda src, dst: True
    driver.run(3000)
    network.cut = lambda src, dst: False
    driver.run(4000)
    assert min(heights(driver, list(driver.committee.tribe))) > before + 20
    assert_no_fork(driver, driver.committee.tribe)


def test_memory_stays_flat() -> None:
    """Nothing but the chain grows with the number of views."""
    driver = cluster(small(4, **FAST))

    def weigh() -> list[int]:
        core = driver.nodes["n0"]
        book, chain = core.book, core.chain  # type: ignore[attr-defined]
        tallies = [len(t._views) for t in [*core.votes.values(), core.commit_votes, core.timeouts]]  # type: ignore[attr-defined]
        return [
            *tallies,
            len(book._slots),
            len(core.evidence._accused),  # type: ignore[attr-defined]
            len(core.proposer._own),  # type: ignore[attr-defined]
            len(core._sighted),  # type: ignore[attr-defined]
            len(core._verdicts),  # type: ignore[attr-defined]
            len(chain.certified),
            len(chain._open),
            len(chain._children),
        ]

    driver.run(500)
    before = weigh()
    driver.run(1500)
    assert all(after <= was + 3 for was, after in zip(before, weigh(), strict=True)), (before, weigh())
