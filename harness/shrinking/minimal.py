"""Minimising lists and ranges by asking whether a part still fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def ddmin(items: Sequence[T], fails: Callable[[list[T]], bool], least: int = 0) -> list[T]:
    """A part of `items`, in order, from which no single one can be taken (Zeller and Hildebrandt 2002, complements).

    `items` is known to fail; `fails` is asked about smaller parts, never about one of fewer than `least`.
    """
    kept = list(items)
    if least == 0 and kept and fails([]):
        return []
    size = max(1, len(kept) // 2)
    while True:
        smaller = next((part for part in _without(kept, size, max(least, 1)) if fails(part)), None)
        if smaller is not None:
            kept, size = smaller, max(1, min(size, len(smaller) // 2))
        elif size > 1:
            size //= 2
        else:
            return kept


def _without(items: list[T], size: int, least: int) -> list[list[T]]:
    """The list without each of its pieces of `size`, where at least `least` are left."""
    parts = [items[:i] + items[i + size :] for i in range(0, len(items), size)]
    return [part for part in parts if len(part) >= least]


def smallest(low: int, high: int, fails: Callable[[int], bool]) -> int:
    """The smallest number in [low, high] that fails, if those that do are the upper ones; `high` is known to."""
    while low < high:
        middle = (low + high) // 2
        if fails(middle):
            high = middle
        else:
            low = middle + 1
    return high


def squeeze(low: int, high: int, fails: Callable[[int, int], bool]) -> tuple[int, int]:
    """A narrow range in [low, high), which is known to fail: first its end comes down, then its beginning up."""
    end = smallest(low + 1, high, lambda at: fails(low, at))
    last = end - 1
    back = smallest(0, last - low, lambda step: fails(last - step, end))
    return last - back, end
