"""Metrics against examples that can be worked out by hand."""

from __future__ import annotations

import pytest

from results.metrics import (
    Blast,
    Delay,
    Duplicates,
    Quality,
    back_to_rate,
    blast_radius,
    catch_up,
    chain_quality,
    duplicates,
    inclusion_delay,
    recovery,
    sensitivity,
)
from results.stats import bootstrap_mean, bootstrap_ratio, zero_of_n


def test_recovery_counts_new_blocks_after_the_heal_only() -> None:
    finalised = [(90, "old"), (110, "old2"), (130, "new"), (140, "new2")]
    assert recovery(100, finalised, {"new", "new2"}) == 30
    assert recovery(135, finalised, {"new", "new2"}) == 5
    assert recovery(100, finalised, {"never"}) is None


def test_throughput_is_back_after_three_good_windows() -> None:
    times = [*range(0, 100, 10), *range(150, 160, 5), *range(200, 320, 10)]
    # windows of 20 from the heal at 100: 0 0 2(150,155) 0 0 2 2 2 ...: good from 200 on
    assert back_to_rate(100, 320, times, baseline=2, window=20) == 100
    assert back_to_rate(100, 230, times, baseline=2, window=20) is None
    with pytest.raises(ValueError, match="above 0"):
        back_to_rate(0, 10, times, 2, 0)


def test_a_node_has_caught_up_when_it_is_within_the_slack() -> None:
    others = [(t, t // 10) for t in range(0, 300, 10)]
    mine = [(100, 2), (120, 6), (130, 11), (140, 14)]
    assert catch_up(100, mine, others, slack=2) == 30
    assert catch_up(100, mine, others, slack=0) == 40
    assert catch_up(100, mine[:2], others, slack=0) is None


def test_a_pure_shift_is_seen_and_censored_at_the_common_horizon() -> None:
    shifted = sensitivity([1.0, 2.0, 3.0], [6.0, 7.0, 8.0], horizon=100.0)
    assert shifted.value == 5.0 and not shifted.lost and shifted.censored == 0
    assert shifted.low <= 5.0 <= shifted.high
    cut = sensitivity([1.0, 1.0], [1.0, 50.0], horizon=10.0, unfinished=2, lost=True)
    assert cut.value == (1 + 10 + 10 + 10) / 4 - 1 and cut.censored == 3 and cut.lost
    assert sensitivity([5.0], [2.0], 10.0).value == -3.0
    with pytest.raises(ValueError, match="horizon"):
        sensitivity([], [1.0], 10.0)


def test_chain_quality_is_relative_to_the_honest_share_of_nodes() -> None:
    tribe = ["a", "b", "c", "d"]
    assert chain_quality(["a", "b", "c", "d"], tribe, {"d"}) == Quality(4, 3, 1.0)
    assert chain_quality(["d", "d", "a"], tribe, {"d"}).ratio == pytest.approx(1 / 3 / 0.75)
    with pytest.raises(ValueError, match="block"):
        chain_quality([], tribe, {"d"})


def test_inclusion_delay_counts_honest_chances() -> None:
    views = [(5, "a"), (10, "d"), (20, "b"), (30, "c")]
    assert inclusion_delay(7, 25, views, {"d"}) == Delay(18, 2, 1)
    assert inclusion_delay(7, None, views, {"d"}) == Delay(None, None, None)


def test_duplicates_waste_block_space() -> None:
    assert duplicates(["x", "y", "x", "x"], ["x", "y", "y"]) == Duplicates(4, 2, 0.5, 1, 2)
    assert duplicates([], []) == Duplicates(0, 0, 0.0, 0, 0)


def test_the_blast_ends_when_somebody_notices() -> None:
    lies = [(10, 0, ["a", "b"]), (20, 1, ["b", "c"]), (40, 0, ["d"])]
    assert blast_radius(lies, []) == Blast(4, 2, None)
    assert blast_radius(lies, [5, 25, 60]) == Blast(3, 2, 15)
    assert blast_radius([], [5]) == Blast(0, 0, None)


def test_zero_of_n_is_the_rule_of_three() -> None:
    assert zero_of_n(300) == pytest.approx(3 / 300, rel=0.01)
    assert zero_of_n(1) == pytest.approx(0.95)
    assert zero_of_n(0) == 1.0
    with pytest.raises(ValueError):
        zero_of_n(-1)


def test_bootstraps_are_seeded_and_cover_what_is_certain() -> None:
    assert bootstrap_mean([2.0, 2.0, 2.0]) == (2.0, 2.0)
    low, high = bootstrap_mean([1.0, 2.0, 3.0, 4.0])
    assert (low, high) == bootstrap_mean([1.0, 2.0, 3.0, 4.0]) and 1.0 <= low < 2.5 < high <= 4.0
    assert bootstrap_ratio([1.0, 3.0], [10.0, 30.0]) == pytest.approx((0.1, 0.1))
    for parts, wholes in (([], []), ([1.0], [0.0]), ([1.0], [1.0, 2.0])):
        with pytest.raises(ValueError, match="bootstrap"):
            bootstrap_ratio(parts, wholes)
