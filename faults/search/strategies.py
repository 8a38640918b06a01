"""The swarm's schedules as hypothesis strategies: public API for property tests, which then shrink what they find.

from faults.search import strategies

@given(strategies.scenarios(base))
def test_nothing_forks(values): ...
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st

from faults.port import NodeId
from faults.search.kinds import FAULTS
from faults.search.partitions import any_partition, random_partition
from faults.search.swarm import draw_scenario, leader_order
from faults.search.world import Budget, World

T = TypeVar("T")
Values = dict[str, Any]


def scenarios(
    base: Mapping[str, Any], regime: str = "within", fixed: Collection[str] = ()
) -> st.SearchStrategy[Values]:
    """Complete scenarios, as `swarm` draws them, as a TOML document's values."""
    randoms = st.randoms(use_true_random=False)
    return randoms.map(lambda rng: draw_scenario(base, rng, regime, tuple(fixed)))


def set_partitions(elements: Sequence[T], blocks: int | None = None) -> st.SearchStrategy[list[list[T]]]:
    """Partitions of the elements into `blocks` blocks, or into any number of them but one."""
    randoms = st.randoms(use_true_random=False)
    if blocks is None:
        return randoms.map(lambda rng: any_partition(rng, elements))
    return randoms.map(lambda rng: random_partition(rng, elements, blocks))


@st.composite
def coalitions(draw: st.DrawFn, clans: Sequence[Sequence[NodeId]], slack: int = 0) -> tuple[NodeId, ...]:
    """Corrupted nodes that every bound bears, in clan order; with `slack` that many more than each bound."""
    budget = Budget(clans, slack)
    tribe = [node for clan in clans for node in clan]
    for node in draw(st.lists(st.sampled_from(tribe), unique=True)):
        budget.corrupt(node)
    return tuple(node for node in tribe if node in budget.byzantine)


@st.composite
def leaders(draw: st.DrawFn, tribe: Sequence[NodeId], byzantine: Sequence[NodeId] = ()) -> list[NodeId]:
    """Fixed leader schedules that favour the coalition as far as the liveness claims allow."""
    world = World(draw(st.randoms(use_true_random=False)), tribe, (), [tribe])
    world.byzantine = tuple(byzantine)
    return leader_order(world)


@st.composite
def faults(
    draw: st.DrawFn,
    tribe: Sequence[NodeId],
    gateways: Sequence[NodeId] = ("g0",),
    load_ms: int = 2000,
    md_ms: float = 50.0,
    most: int = 4,
) -> list[Values]:
    """[[fault]] tables for a tribe of one clan, within its bounds; declare crashes and amnesiacs as they say."""
    world = World(draw(st.randoms(use_true_random=False)), tribe, gateways, [tribe])
    world.load_ms, world.md_ms, world.slowest_ms = load_ms, md_ms, md_ms
    drawn = []
    for use in draw(st.lists(st.sampled_from(sorted(FAULTS)), max_size=most)):
        parameters = FAULTS[use].draw(world)
        if parameters is not None:
            drawn.append({"use": use, **world.window(), **parameters})
    return drawn
