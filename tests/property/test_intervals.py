"""Exact binomial intervals: values from tables, the closed form at the ends, and what every interval must do."""

from __future__ import annotations

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.stats import binomial_interval

counts = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
confidences = st.floats(0.5, 0.999)


@pytest.mark.parametrize(
    ("hits", "runs", "low", "high"),
    [(0, 10, 0.0, 0.3085), (5, 10, 0.1871, 0.8129), (1, 20, 0.0013, 0.2487), (10, 10, 0.6915, 1.0), (0, 0, 0.0, 1.0)],
)
def test_known_values(hits: int, runs: int, low: float, high: float) -> None:
    assert binomial_interval(hits, runs) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@given(st.integers(1, 5000), confidences)
def test_the_ends_have_a_closed_form(runs: int, confidence: float) -> None:
    edge = ((1 - confidence) / 2) ** (1 / runs)
    assert binomial_interval(0, runs, confidence) == (0.0, pytest.approx(1 - edge))
    assert binomial_interval(runs, runs, confidence) == (pytest.approx(edge), 1.0)


@given(counts, confidences)
def test_it_contains_the_estimate_and_mirrors(seen: tuple[int, int], confidence: float) -> None:
    hits, runs = seen
    low, high = binomial_interval(hits, runs, confidence)
    assert 0 <= low <= hits / runs <= high <= 1
    assert binomial_interval(runs - hits, runs, confidence) == (pytest.approx(1 - high), pytest.approx(1 - low))


@given(counts, confidences, confidences)
def test_more_confidence_is_wider(seen: tuple[int, int], one: float, other: float) -> None:
    (low, high), (lower, higher) = (binomial_interval(*seen, c) for c in sorted((one, other)))
    assert lower <= low + 1e-12 and high <= higher + 1e-12


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n))), confidences)
def test_each_tail_weighs_what_it_should(seen: tuple[int, int], confidence: float) -> None:
    """At the upper end, so few hits or fewer have just the probability of one tail: the definition itself."""
    hits, runs = seen
    _, high = binomial_interval(hits, runs, confidence)
    tail = sum(comb(runs, k) * high**k * (1 - high) ** (runs - k) for k in range(hits + 1))
    assert tail == pytest.approx((1 - confidence) / 2, rel=1e-6)


@pytest.mark.parametrize(("hits", "runs", "confidence"), [(2, 1, 0.95), (-1, 4, 0.95), (1, 2, 0.0), (1, 2, 1.0)])
def test_nonsense_is_refused(hits: int, runs: int, confidence: float) -> None:
    with pytest.raises(ValueError, match=f"{hits} of {runs}"):
        binomial_interval(hits, runs, confidence)
