"""Random schedules with crashes, cuts and an equivocating Byzantine replica: never a fork, and progress after GST."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodes.committee import ClusterConfig
from nodes.messages import Block, Message, block_hash
from nodes.moonshot.evidence import Proposal
from nodes.moonshot.proposals import KIND
from nodes.port import Effect, Event, Multicast, Node, Receive, Send
from tests.driver import MS, Driver, signer_of
from tests.moonshot_kit import Forge, assert_no_fork, assert_votes_clean, cluster, core_of, small

GST_MS = 1200
FAST = {"delta_ms": 60, "timeout_resend_ms": 200, "sync_retry_ms": 100}


class Equivocator:
    """Proposes two blocks wherever an honest leader proposes one, and votes in every kind for whatever it sees."""

    def __init__(self, config: ClusterConfig, name: str, seed: int) -> None:
        self.core = core_of(config, name)
        self.forge = Forge(config)
        self.name = name
        self.rng = Random(seed)

    def step(self, now: int, event: Event) -> Sequence[Effect]:
        out: list[Effect] = []
        for effect in self.core.step(now, event):
            if isinstance(effect, Multicast) and type(effect.message) in KIND:
                out += self._split(effect.message)  # type: ignore[arg-type]
            else:
                out.append(effect)
        if isinstance(event, Receive) and type(event.message) in KIND:
            out += self._vote_for(event.message.block)  # type: ignore[union-attr]
        return out

    def _split(self, message: Proposal) -> list[Effect]:
        other = msgspec.structs.replace(message.block, timestamp_ms=message.block.timestamp_ms + 1)
        statement = self.forge.domain.proposal(KIND[type(message)], other.view, block_hash(other))
        twin = msgspec.structs.replace(message, block=other, signature=signer_of(self.name).sign(statement))
        peers = [n for n in self.forge.committee.tribe if n != self.name]
        sends: list[Effect] = [Send(p, self.rng.choice((message, twin))) for p in peers]
        return [*sends, *self._vote_for(message.block), *self._vote_for(other)]

    def _vote_for(self, block: Block) -> list[Effect]:
        votes: list[Message] = [
            self.forge.vote("optimistic", block, self.name),
            self.forge.vote("normal", block, self.name),
            self.forge.vote("fallback", block, self.name),
            self.forge.cmt(block, self.name),
        ]
        return [Multicast("tribe", vote) for vote in votes]


def run(n: int, seed: int, byzantine: Sequence[str], crashes: int, loss: float, slow_ms: int, variant: str) -> Driver:
    """Chaos until GST_MS, then 10 ms everywhere; returns once every honest node has finalised more, or after 6 s."""
    config = small(n, variant=variant, **FAST)
    rng = Random(seed)
    cut: set[tuple[str, str]] = set()
    calm: list[Driver] = []  # the driver, once it exists (its constructor sends already)

    def delay(src: str, dst: str, message: Message) -> int | None:
        if calm and calm[0].now >= GST_MS * MS:
            return 10 * MS
        if (src, dst) in cut or rng.random() < loss:
            return None
        return rng.randrange(1, slow_ms) * MS

    def build(name: str) -> Node:
        if name in byzantine:
            return Equivocator(config, name, seed)
        return core_of(config, name, observer=name.startswith("g"))

    driver = cluster(config, delay=delay, seed=seed, build=build)
    calm.append(driver)
    honest = [name for name in driver.committee.tribe if name not in byzantine]
    for number in range(1, 7):
        driver.run(number * GST_MS // 6)
        cut.clear()
        left = {name for name in driver.committee.tribe if rng.random() < 0.5}
        if rng.random() < 0.6:
            tribe = driver.committee.tribe
            cut.update((a, b) for a in tribe for b in tribe if (a in left) < (b in left))
        for _ in range(crashes):
            name = rng.choice(honest)
            driver.crash(name)
            driver.start(name)
    driver.run(GST_MS)
    before = max(driver.nodes[name].height for name in honest)  # type: ignore[attr-defined]
    driver.run(GST_MS + 6000, stop=lambda: all(driver.nodes[name].height > before + 2 for name in honest))  # type: ignore[attr-defined]
    assert_no_fork(driver, [*honest, "g0"])
    assert_votes_clean(driver, honest)
    assert all(driver.nodes[name].height > before + 2 for name in honest)  # type: ignore[attr-defined]
    assert {f["culprit"] for _, _, _, f in driver.events("accuse")} <= set(byzantine)
    assert not driver.events("halt")
    return driver


SLOW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
seeds = st.integers(0, 2**32)


@SLOW
@given(
    seed=seeds,
    crashes=st.integers(0, 2),
    loss=st.sampled_from([0.0, 0.05, 0.3]),
    slow_ms=st.sampled_from([5, 40, 200]),
    variant=st.sampled_from(["commit", "pipelined"]),
)
def test_one_equivocator_of_four_never_forks(seed: int, crashes: int, loss: float, slow_ms: int, variant: str) -> None:
    run(4, seed, [f"n{seed % 4}"], crashes, loss, slow_ms, variant)


@settings(SLOW, max_examples=8)
@given(seed=seeds, loss=st.sampled_from([0.0, 0.2]), slow_ms=st.sampled_from([30, 150]))
def test_two_equivocators_of_seven_never_fork(seed: int, loss: float, slow_ms: int) -> None:
    run(7, seed, [f"n{seed % 7}", f"n{(seed + 3) % 7}"], 1, loss, slow_ms, "commit")


@settings(SLOW, max_examples=15)
@given(seed=seeds, crashes=st.integers(0, 3), slow_ms=st.sampled_from([5, 40, 200]))
def test_honest_nodes_are_never_accused(seed: int, crashes: int, slow_ms: int) -> None:
    driver = run(4, seed, [], crashes, 0.1, slow_ms, "commit")
    assert not driver.events("accuse")


def test_an_equivocating_leader_is_accused() -> None:
    driver = run(4, 1, ["n1"], 0, 0.0, 15, "commit")
    assert {f["culprit"] for _, _, _, f in driver.events("accuse")} == {"n1"}
