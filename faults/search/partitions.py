"""Set partitions: counted exactly, ranked, drawn uniformly.

With k blocks there are S(m, k) of them (Stirling numbers of the second kind), in all B(m) (Bell numbers). A partition
is drawn as a uniform rank among them, so no draw is more likely than another.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from random import Random
from typing import TypeVar

T = TypeVar("T")


@lru_cache(maxsize=4096)
def stirling(m: int, k: int) -> int:
    """S(m, k): the ways to split m labelled elements into exactly k non-empty blocks."""
    if m < 0 or k < 0:
        raise ValueError(f"S({m}, {k}): both numbers must be at least 0")
    if m == 0 or k == 0:
        return int(m == k)
    return stirling(m - 1, k - 1) + k * stirling(m - 1, k)


@lru_cache(maxsize=1024)
def bell(m: int) -> int:
    """B(m): the ways to split m labelled elements into any number of non-empty blocks."""
    return sum(stirling(m, k) for k in range(m + 1))


def unrank(rank: int, elements: Sequence[T], k: int) -> list[list[T]]:
    """The `rank`-th of the S(m, k) partitions of the elements into k blocks, 0 <= rank < S(m, k).

    Blocks are ordered by their first element, elements within a block as given: the canonical form.
    """
    m = len(elements)
    if not 0 <= rank < stirling(m, k):
        raise ValueError(f"rank {rank}: there are {stirling(m, k)} partitions of {m} elements into {k} blocks")
    if m == 0:
        return []
    *rest, last = elements
    alone = stirling(m - 1, k - 1)
    if rank < alone:  # the last element on its own behind a partition of the others into k-1 blocks
        return [*unrank(rank, rest, k - 1), [last]]
    below, block = divmod(rank - alone, k)
    blocks = unrank(below, rest, k)
    blocks[block].append(last)
    return blocks


def random_partition(rng: Random, elements: Sequence[T], blocks: int) -> list[list[T]]:
    """One of the partitions into exactly `blocks` blocks (at most as many as there are elements), uniformly."""
    k = min(blocks, len(elements))
    return unrank(rng.randrange(stirling(len(elements), k)), elements, k)


def any_partition(rng: Random, elements: Sequence[T], trivial: bool = False) -> list[list[T]]:
    """One of all B(m) partitions, uniformly; without `trivial` of the B(m)-1 that split anything (m >= 2)."""
    m, low = len(elements), 1 if trivial else 2
    if m < low:
        raise ValueError(f"{m} elements cannot be split; give at least {low}")
    rank = rng.randrange(sum(stirling(m, k) for k in range(low, m + 1)))
    for k in range(low, m + 1):
        if rank < stirling(m, k):
            return unrank(rank, elements, k)
        rank -= stirling(m, k)
    raise AssertionError("the ranks add up to the number of partitions")
