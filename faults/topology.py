"""Who is cut off from whom: pure functions from nodes to directed links, apart from what applies them.

Every function returns links (from, to) sorted, so that equal inputs give equal schedules; where chance decides it is
the caller's seeded generator.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import Literal, TypeAlias

from faults.port import Link, NodeId

Direction: TypeAlias = Literal["both", "out", "in"]


def all_links(nodes: Iterable[NodeId]) -> tuple[Link, ...]:
    """Every directed link between two of the nodes."""
    names = sorted(set(nodes))
    return tuple((a, b) for a in names for b in names if a != b)


def split(groups: Sequence[Sequence[NodeId]]) -> tuple[Link, ...]:
    """Links between different groups. A node in no group keeps all its links: it bridges them all.

    Raises ValueError when there are fewer than two groups, or a node is in two.
    """
    names = [node for group in groups for node in group]
    if len(groups) < 2 or len(names) != len(set(names)) or not all(groups):
        raise ValueError(f"groups = {[list(g) for g in groups]}: give at least two, none empty, no node in two of them")
    place = {node: i for i, group in enumerate(groups) for node in group}
    return tuple(link for link in all_links(names) if place[link[0]] != place[link[1]])


def deal(nodes: Sequence[NodeId], rng: Random) -> tuple[tuple[NodeId, ...], tuple[NodeId, ...]]:
    """The nodes in two random halves; the first has one more when their number is odd."""
    shuffled = sorted(nodes)
    rng.shuffle(shuffled)
    middle = (len(shuffled) + 1) // 2
    return tuple(sorted(shuffled[:middle])), tuple(sorted(shuffled[middle:]))


def halves(nodes: Sequence[NodeId], rng: Random, riders: Sequence[NodeId] = ()) -> tuple[Link, ...]:
    """Two random halves of `nodes` that do not hear each other. Needs two nodes.

    `riders` (gateways) are dealt alternately to the halves, so that they do not unbalance them.
    """
    first, second = deal(nodes, rng)
    return split((first + tuple(riders[0::2]), second + tuple(riders[1::2])))


def bridge(nodes: Sequence[NodeId], rng: Random, riders: Sequence[NodeId] = ()) -> tuple[Link, ...]:
    """Two random halves joined by one random node that hears both; `riders` as in `halves`. Needs three nodes."""
    if len(set(nodes)) < 3:
        raise ValueError(f"a bridge needs at least three nodes, not {sorted(nodes)}")
    joint = rng.choice(sorted(nodes))
    return halves([n for n in nodes if n != joint], rng, riders)


def isolate(nodes: Sequence[NodeId], victims: Sequence[NodeId]) -> tuple[Link, ...]:
    """Each victim alone: cut off from everybody, the other victims included."""
    return tuple((a, b) for a, b in all_links(nodes) if a in victims or b in victims)


def ring(nodes: Sequence[NodeId], rng: Random) -> tuple[Link, ...]:
    """A random ring in which each node hears its two neighbours only."""
    order = sorted(nodes)
    rng.shuffle(order)
    near = {frozenset((a, order[(i + 1) % len(order)])) for i, a in enumerate(order)}
    return tuple(link for link in all_links(nodes) if frozenset(link) not in near)


def one_way(nodes: Sequence[NodeId], victims: Sequence[NodeId], direction: Direction = "out") -> tuple[Link, ...]:
    """Victims hear but are not heard ("out": links from them are cut), or the reverse ("in"), or neither ("both")."""
    return tuple(
        (a, b)
        for a, b in all_links(nodes)
        if (direction in ("out", "both") and a in victims) or (direction in ("in", "both") and b in victims)
    )


def touching(nodes: Sequence[NodeId], victims: Sequence[NodeId] | None) -> tuple[Link, ...]:
    """Links from or to a victim; all links when `victims` is None."""
    return all_links(nodes) if victims is None else isolate(nodes, victims)
