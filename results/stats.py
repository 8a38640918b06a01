"""Small statistics over latencies: quantiles by nearest rank, so that every figure is a value that was observed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


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
