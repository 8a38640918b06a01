"""Exact (Clopper-Pearson) confidence intervals for a share of runs."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, lgamma, log

STEPS = 60  # of the bisection: far below any printed digit


def interval(hits: int, runs: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of the probability of which `hits` in `runs` were seen; (0, 1) without runs.

    Raises ValueError for numbers that are no count of hits in runs.
    """
    if not 0 <= hits <= runs or not 0 < confidence < 1:
        raise ValueError(f"{hits} hits in {runs} runs at confidence {confidence} make no sense")
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else _solve(lambda p: 1 - _at_most(hits - 1, runs, p) < tail)
    high = 1.0 if hits == runs else _solve(lambda p: _at_most(hits, runs, p) > tail)
    return low, high


def _solve(below: Callable[[float], bool]) -> float:
    """The p at which `below` (true for small p) becomes false."""
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        if below(middle):
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _at_most(hits: int, runs: int, p: float) -> float:
    """P(at most `hits` in `runs`), summed in logarithms."""
    if p <= 0:
        return 1.0
    if p >= 1:
        return 1.0 if hits >= runs else 0.0
    whole = lgamma(runs + 1)
    return sum(
        exp(whole - lgamma(k + 1) - lgamma(runs - k + 1) + k * log(p) + (runs - k) * log(1 - p))
        for k in range(hits + 1)
    )
