"""Small statistics: quantiles by nearest rank, so that every figure is a value that was observed; exact intervals of
shares; seeded bootstrap intervals of means and of ratios."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import comb


def quantile(values: Sequence[float], share: float) -> float:
    """Nearest-rank quantile of ascending `values`, share in 0..1. Raises ValueError on no values."""
    if not values:
        raise ValueError("a quantile of nothing; check that the list holds a value first")
    rank = -(-len(values) * share // 1)
    return values[min(len(values) - 1, max(0, int(rank) - 1))]


def summary(values: Iterable[float], digits: int = 3) -> dict[str, float]:
    """{"n", "mean", "p50", "p99", "max"}, rounded; only {"n": 0} when there are no values."""
    ordered = sorted(values)
    if not ordered:
        return {"n": 0}
    figures = {
        "mean": sum(ordered) / len(ordered),
        "p50": quantile(ordered, 0.5),
        "p99": quantile(ordered, 0.99),
        "max": ordered[-1],
    }
    return {"n": len(ordered)} | {name: round(value, digits) for name, value in figures.items()}


def binomial_interval(hits: int, runs: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact (Clopper-Pearson) interval of a share of which `hits` of `runs` were seen; (0, 1) without runs.

    Both tails hold (1 - confidence) / 2 at most; 0 of N gives [0, 1 - ((1 - confidence) / 2) ** (1 / N)]. Raises
    ValueError on counts that cannot be, and on a confidence outside (0, 1).
    """
    from scipy.special import betaincinv  # here, because checkers import this module and need none of it

    if not 0 <= hits <= runs or not 0 < confidence < 1:
        raise ValueError(
            f"{hits} of {runs} at confidence {confidence} make no sense: needs 0 <= hits <= runs, 0 < confidence < 1"
        )
    tail = (1 - confidence) / 2
    low = float(betaincinv(hits, runs - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, runs - hits, 1 - tail)) if hits < runs else 1.0
    return low, high


def hypergeometric_tail(hits: int, total: int, marked: int, drawn: int) -> float:
    """P(X >= hits) for X marked ones among `drawn` of `total`, of which `marked` are: one side of Fisher's exact test.

    Exact rational arithmetic, rounded once. Raises ValueError on counts that cannot be.
    """
    if not (0 <= marked <= total and 0 <= drawn <= total and 0 <= hits <= drawn):
        raise ValueError(f"{hits} of {drawn} drawn, {marked} marked of {total}: such counts cannot be")
    ways = sum(comb(marked, k) * comb(total - marked, drawn - k) for k in range(hits, min(marked, drawn) + 1))
    return float(Fraction(ways, comb(total, drawn)))


def jain(values: Sequence[float]) -> float:
    """Jain's index of fairness of non-negative values: 1 if all are equal, 1/n if one has everything; 1 for none."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


def gini(values: Sequence[float]) -> float:
    """The Gini coefficient of non-negative values: 0 if all are equal, towards 1 if one has everything; 0 for none."""
    ordered, total = sorted(values), sum(values)
    if not total:
        return 0.0
    return sum((2 * rank - len(ordered) - 1) * value for rank, value in enumerate(ordered, 1)) / (len(ordered) * total)


def zero_of_n(runs: int, confidence: float = 0.95) -> float:
    """The one-sided upper bound of a rate of which 0 of `runs` were seen: 1 - (1 - confidence) ** (1 / runs), about 3 /
    runs; 1.0 without runs."""
    if runs < 0 or not 0 < confidence < 1:
        raise ValueError(f"0 of {runs} at confidence {confidence} makes no sense")
    return 1 - (1 - confidence) ** (1 / runs) if runs else 1.0


DRAWS = 2000  # of a bootstrap
BOOTSTRAP_SEED = 7


def bootstrap_mean(values: Sequence[float], confidence: float = 0.95, draws: int = DRAWS) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean of independent values (one a run); seeded, so always the same.

    With a single value both ends are that value. Raises ValueError on no values.
    """
    return bootstrap_ratio(values, [1.0] * len(values), confidence, draws)


def bootstrap_ratio(
    parts: Sequence[float], wholes: Sequence[float], confidence: float = 0.95, draws: int = DRAWS
) -> tuple[float, float]:
    """The percentile bootstrap interval of sum(parts) / sum(wholes), over pairs of one run each: what happened inside
    one run hangs together, so runs are drawn. Raises ValueError on lists that do not pair, and on wholes of nothing."""
    import numpy as np  # here, because checkers import this module and need none of it

    if not parts or len(parts) != len(wholes) or sum(wholes) <= 0:
        raise ValueError("a bootstrap needs a pair of numbers for each run, and wholes that are not all nothing")
    drawn = np.random.default_rng(BOOTSTRAP_SEED).integers(0, len(parts), (draws, len(parts)))
    above = np.asarray(parts, dtype=float)[drawn].sum(axis=1)
    below = np.asarray(wholes, dtype=float)[drawn].sum(axis=1)
    ratios = above[below > 0] / below[below > 0]
    tail = (1 - confidence) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return float(low), float(high)
