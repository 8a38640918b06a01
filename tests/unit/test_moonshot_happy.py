"""Moonshot without faults, or with silent ones: block period and commit latency in message delays, in virtual time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest

from nodes.committee import Committee, ConfigError, LeaderSchedule
from nodes.messages import AvailabilityCertificate, Message, Timeout
from nodes.moonshot.leaders import Leaders
from nodes.port import Available, Effect, Event, Finalised
from tests.driver import MS, Driver, small_config
from tests.moonshot_kit import (
    MD,
    NoPayload,
    assert_no_fork,
    assert_votes_clean,
    batch_certificate,
    cluster,
    core_of,
    finalised,
    small,
)


def times(driver: Driver, event: str, node: str, key: str) -> dict[int, int]:
    """ns of the first `event` at `node`, by the field `key`."""
    found: dict[int, int] = {}
    for at, _, _, f in (e for e in driver.trace if e[1] == node and e[2] == event):
        found.setdefault(f[key], at)
    return found


@pytest.mark.parametrize("n", range(4, 11))
def test_one_block_a_message_delay_final_after_three(n: int) -> None:
    """Block period 1 md; finalised 3 md after the proposal, at every node; for all residues of n mod 3."""
    driver = cluster(small(n))
    driver.run(30 * MD)
    names = driver.committee.tribe
    assert_no_fork(driver, names)
    assert_votes_clean(driver, names)
    proposed: dict[int, int] = {}
    for at, _, _, f in driver.events("propose"):
        proposed.setdefault(f["view"], at)
    starts = [proposed[view] for view in range(1, 25)]
    assert [b - a for a, b in pairwise(starts)] == [MD * MS] * 23
    for node in names:
        done = times(driver, "finalise", node, "view")
        for view in range(2, 25):
            assert done[view] - proposed[view] == 3 * MD * MS, (node, view)
    assert not driver.events("timeout", "reject", "accuse", "halt")


@pytest.mark.parametrize("variant", ["commit", "pipelined"])
def test_two_chains_alone_commit_as_well(variant: str) -> None:
    driver = cluster(small(4, variant=variant))
    driver.run(20 * MD)
    kinds = Counter(f["kind"] for _, _, _, f in driver.events("vote"))
    assert (kinds["commit"] > 0) == (variant == "commit")
    assert len(finalised(driver, "n0")) >= 15
    assert_no_fork(driver, driver.committee.tribe)


def test_an_observer_follows_and_says_nothing() -> None:
    driver = cluster(small(4))
    driver.run(20 * MD)
    assert len(finalised(driver, "g0")) >= 15
    assert_no_fork(driver, ["n0", "g0"])
    assert not [e for e in driver.trace if e[1] == "g0" and e[2] in ("vote", "propose", "timeout")]
    heights = [
        notice.block.height for _, node, notice in driver.unrouted if node == "g0" and isinstance(notice, Finalised)
    ]
    assert heights == list(range(1, len(heights) + 1))


@pytest.mark.parametrize("schedule", ["round-robin", "fair-succession"])
def test_a_silent_leader_costs_its_view_and_no_more(schedule: str) -> None:
    """Everybody leaves the silent leader's view 3 Delta + 1 md after entering it at the latest (+1 md for skew), L1."""
    config = small_config(4, delta_ms=50, leaders=LeaderSchedule(kind=schedule))  # type: ignore[arg-type]
    alive = [name for name in ("n0", "n1", "n2", "n3") if name != "n2"]
    driver = cluster(config, names=alive)
    driver.run(3000)
    assert_no_fork(driver, alive)
    assert_votes_clean(driver, alive)
    assert len(finalised(driver, "n0")) > 15
    silent = [
        v for v in range(2, driver.nodes["n0"].view) if Leaders(Committee(config).tribe, config.leaders)(v) == "n2"
    ]  # type: ignore[attr-defined]
    for node in alive:
        entered = times(driver, "enter", node, "view")
        for view in silent:
            stay = (entered[view + 1] - entered[view]) // MS
            assert stay <= 150 + 2 * MD, (node, view, stay)
    kinds = {f["kind"] for _, _, _, f in driver.events("propose")}
    assert kinds == {"normal", "optimistic", "fallback"}


class Queue(NoPayload):
    """Offers each batch once it is put in, until it is taken by an ancestor or final."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[AvailabilityCertificate] = []

    def collect(self, now: int, taken: frozenset[bytes]) -> tuple[AvailabilityCertificate, ...]:
        return tuple(c for c in self.waiting if c.batch not in taken)


def test_an_idle_leader_waits_until_there_is_something_to_order() -> None:
    """idle_delay_ms slows empty blocks down; a new availability certificate ends the wait at once."""
    source = Queue()
    config = small(4, idle_delay_ms=400)
    driver = cluster(config, build=lambda name: core_of(config, name, source, observer=name.startswith("g")))
    driver.run(1000)
    assert not driver.events("timeout")
    before = len(driver.events("propose"))
    assert 1 <= before <= 4
    assert {f["kind"] for _, _, _, f in driver.events("propose")} == {"normal"}
    certificate = batch_certificate(1)
    source.waiting.append(certificate)
    for name, node in driver.nodes.items():
        effects = node.notify(driver.now, Available(certificate))  # type: ignore[attr-defined]
        if effects:
            assert name == Leaders(driver.committee.tribe, config.leaders)(node.view)  # type: ignore[attr-defined]


def test_every_batch_is_proposed_once_in_the_chain() -> None:
    config = small(4)

    class Informed:
        """A core whose payload source hears of finalised blocks between two steps, as in a whole node."""

        def __init__(self, name: str) -> None:
            self.source = Queue()
            self.source.waiting = [batch_certificate(i) for i in range(3)]
            self.core = core_of(config, name, self.source, observer=name.startswith("g"))

        def step(self, now: int, event: Event) -> Sequence[Effect]:
            effects = self.core.step(now, event)
            for effect in effects:
                if isinstance(effect, Finalised):
                    self.source.waiting = [c for c in self.source.waiting if c not in effect.block.payload]
            return effects

    driver = cluster(config, build=Informed)
    driver.run(20 * MD)
    ordered = [b for _, node, _, f in driver.events("finalise") if node == "n1" for b in f["batches"]]
    assert sorted(ordered) == sorted(batch_certificate(i).batch.hex() for i in range(3))


def test_the_same_events_have_the_same_effects() -> None:
    def run() -> list[object]:
        driver = cluster(small(4), delay=lambda src, dst, m: (5 + len(src + dst + type(m).__name__) % 7) * MS, seed=3)
        driver.run(500)
        return list(driver.trace)

    assert run() == run()


def test_timeouts_repeat_until_the_view_is_left() -> None:
    """One node alone: its timeout goes out again every timeout_resend_ms."""
    sent: list[Message] = []

    def delay(src: str, dst: str, message: Message) -> int | None:
        sent.append(message)
        return None

    driver = cluster(small(4, delta_ms=50, timeout_resend_ms=100), names=["n0"], delay=delay)
    driver.nodes["n0"]
    driver._life.update(n1=1)  # a destination that hears nothing
    driver.run(600)
    assert len([m for m in sent if isinstance(m, Timeout)]) == 5
    assert len(driver.events("timeout")) == 1


def test_a_tribe_of_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least two"):
        core_of(small_config(1), "n0")
