"""How a coalition divides its victims: the same two halves at every member, without talking."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from faults.byzantine.port import CorruptedNode
from nodes.messages import NodeId

Halves: TypeAlias = tuple[tuple[NodeId, ...], tuple[NodeId, ...]]


def parse_halves(value: Any) -> Halves | None:
    """The `halves` parameter: None (split evenly) or two disjoint lists of node ids. Raises ValueError."""
    if value is None:
        return None
    good = (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) == 2
        and all(isinstance(half, Sequence) and not isinstance(half, str) for half in value)
        and all(isinstance(node, str) for half in value for node in half)
    )
    if not good or not value[0] or not value[1] or set(value[0]) & set(value[1]):
        raise ValueError(f'halves = {value!r}: give two disjoint lists of node ids, like [["n0", "n1"], ["n2"]]')
    return tuple(value[0]), tuple(value[1])


def even_halves(nodes: Sequence[NodeId]) -> Halves:
    """First half (the larger one) and second half, in committee order."""
    middle = (len(nodes) + 1) // 2
    return tuple(nodes[:middle]), tuple(nodes[middle:])


def victims(node: CorruptedNode, halves: Halves | None) -> Halves:
    """The halves of everybody outside the coalition, gateways included: `halves`, else the honest tribe split evenly.

    Gateways that `halves` does not name are dealt out alternately, the first to the first half.
    """
    return _divided(tuple(node.committee.tribe), tuple(node.committee.gateways), tuple(node.coalition), halves)


@lru_cache(maxsize=64)  # asked for every message that a member hears: in a tribe of 151 most of what an attack costs
def _divided(
    tribe: tuple[NodeId, ...], gateways: tuple[NodeId, ...], coalition: tuple[NodeId, ...], halves: Halves | None
) -> Halves:
    first, second = halves or even_halves([n for n in tribe if n not in coalition])
    named = set(first) | set(second)
    rest = [g for g in gateways if g not in named]
    return first + tuple(rest[0::2]), second + tuple(rest[1::2])
