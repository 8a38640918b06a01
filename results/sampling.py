"""How likely a clan is bad: exact probabilities of drawing clans out of a tribe, and a simulation to check them.

A tribe of n with b Byzantine members is divided into equal clans by chance. A clan is bad from `bad` Byzantine members
on: floor(m/2) + 1 of m for a majority, m/2 if a tie counts. All exact values are fractions (integers over integers).
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import comb, floor, log10

import msgspec

from results.stats import binomial_interval

MONTE_CARLO_SEED = 20_260_101


class Division(msgspec.Struct, frozen=True):
    """`nodes` in `clans` equal clans, `byzantine` of them corrupted; a clan is bad from `bad` on.

    Raises ValueError for numbers that do not fit.
    """

    nodes: int
    byzantine: int
    clans: int
    bad: int

    def __post_init__(self) -> None:
        if self.clans < 1 or self.nodes % self.clans or not 0 <= self.byzantine <= self.nodes or self.bad < 1:
            raise ValueError(
                f"{self.nodes} nodes, {self.byzantine} Byzantine, {self.clans} clans, bad from {self.bad}: clans must"
                " be equal, and no more can be Byzantine than there are"
            )

    @property
    def size(self) -> int:
        """Members of a clan."""
        return self.nodes // self.clans


def majority(size: int) -> int:
    """The fewest members that are more than half."""
    return size // 2 + 1


def one_clan(division: Division) -> Fraction:
    """P[a given clan is bad]: the upper tail of the hypergeometric distribution."""
    n, b, m = division.nodes, division.byzantine, division.size
    ways = sum(comb(b, k) * comb(n - b, m - k) for k in range(division.bad, min(b, m) + 1))
    return Fraction(ways, comb(n, m))


def union_bound(division: Division) -> Fraction:
    """The number of clans times P[a given clan is bad], at most 1."""
    return min(Fraction(1), division.clans * one_clan(division))


def some_clan(division: Division) -> Fraction:
    """P[at least one clan is bad], exactly: one less the ways to place all Byzantine members below `bad` everywhere."""
    m, b = division.size, division.byzantine
    once = [comb(m, k) for k in range(min(division.bad, m + 1))]
    ways = [1]
    for _ in range(division.clans):
        together = [0] * min(b + 1, len(ways) + len(once) - 1)
        for i, left in enumerate(ways):
            for j, right in enumerate(once[: len(together) - i]):
                together[i + j] += left * right
        ways = together
    good = ways[b] if b < len(ways) else 0
    return 1 - Fraction(good, comb(division.nodes, b))


class Simulated(msgspec.Struct, frozen=True):
    """`hits` of `draws` divisions had a bad clan; `low`..`high` is the exact 95 % interval."""

    draws: int
    hits: int
    low: float
    high: float


def monte_carlo(division: Division, draws: int, seed: int = MONTE_CARLO_SEED) -> Simulated:
    """Divide the tribe `draws` times by chance and count divisions with a bad clan; seeded, so always the same."""
    import numpy as np

    rng = np.random.default_rng(seed)
    hits, left = 0, draws
    while left:
        batch = min(left, 250_000)
        counts = rng.multivariate_hypergeometric([division.size] * division.clans, division.byzantine, size=batch)
        hits += int((counts.max(axis=1) >= division.bad).sum())
        left -= batch
    return Simulated(draws, hits, *binomial_interval(hits, draws))


def agrees(value: float, printed: float, digits: int) -> bool:
    """Is `printed` what `value` rounds to, in so many significant digits?"""
    if printed <= 0:
        return value == printed
    unit = 10.0 ** (floor(log10(printed)) - digits + 1)
    return abs(value - printed) <= unit / 2 * (1 + 1e-9)


class Reading(msgspec.Struct, frozen=True):
    """One way to read a printed number: a division, and `exact` or `union` (bound)."""

    division: Division
    by: str
    value: float

    def words(self) -> str:
        """In a sentence's middle."""
        d = self.division
        bad = f"{d.bad} or more of {d.size}"
        tie = " (a tie counts as bad)" if 2 * d.bad == d.size else ""
        by = "the union bound" if self.by == "union" else "the exact probability"
        return f"{d.byzantine} Byzantine of {d.nodes}, bad from {bad}{tie}, {by}: {self.value:.3g}"


def readings(nodes: int, clans: int, byzantine: int) -> Iterator[Reading]:
    """The readings of a number that is printed for so many clans: one Byzantine member more or less, ties bad or not,
    exactly or by the union bound."""
    size = nodes // clans
    for corrupted in (byzantine, byzantine + 1, byzantine - 1):
        for bad in dict.fromkeys((majority(size), (size + 1) // 2)):
            division = Division(nodes, corrupted, clans, bad)
            yield Reading(division, "exact", float(some_clan(division)))
            yield Reading(division, "union", float(union_bound(division)))
