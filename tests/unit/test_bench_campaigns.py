"""The schedule that is computed for more workers than there are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.bench import campaigns
from harness.bench.campaigns import figures, schedule

LENGTHS = st.lists(st.floats(0.01, 10.0), min_size=1, max_size=60)


def test_by_hand() -> None:
    assert schedule([3.0, 1.0, 1.0, 1.0], 1) == pytest.approx(6.0)
    assert schedule([3.0, 1.0, 1.0, 1.0], 2) == pytest.approx(3.0)
    assert schedule([1.0, 1.0], 1, 0.5) == pytest.approx(3.0)
    assert schedule([1.0] * 64, 64, 1.0) == pytest.approx(65.0)  # a slow dispatcher is all there is


@given(LENGTHS, st.integers(1, 64))
def test_no_schedule_beats_the_longest_task_or_an_even_share(lengths: list[float], workers: int) -> None:
    end = schedule(lengths, workers)
    assert end >= max(lengths) - 1e-9 and end >= sum(lengths) / workers - 1e-9
    assert end <= sum(lengths) / workers + max(lengths) + 1e-9  # Graham's bound


def test_figures_are_measured_and_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaigns, "TASKS", 200)
    rows = list(figures(3))
    assert [row["name"].split(":")[0] for row in rows] == ["campaign"] * 4
    assert all(row["value"] > 0 and row["ratio"] > 0 for row in rows)
    assert rows[-1]["value"] <= 64
