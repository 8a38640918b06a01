"""Shares of random runs: what counts as a kill, exact intervals, schedules that are within every bound."""

from __future__ import annotations

import pytest

from harness import regime
from harness.backends.sim.backend import SimBackend
from harness.mutants import Mutant, MutantError, Patch, load_mutants
from harness.plan import resolve
from harness.schedules import CORRUPTED, schedule
from harness.teeth import false_alarms, share
from results.stats import binomial_interval

MUTANTS = {mutant.id: mutant for mutant in load_mutants()}


@pytest.mark.parametrize(
    ("hits", "runs", "low", "high"),
    [(0, 100, 0.0, 0.0362167), (3, 100, 0.0062300, 0.0851761), (100, 100, 0.9637833, 1.0), (0, 0, 0.0, 1.0)],
)
def test_intervals_are_exact(hits: int, runs: int, low: float, high: float) -> None:
    """Reference values: Clopper-Pearson by the beta quantiles (0.05/2)^(1/100) and R's binom.test."""
    assert binomial_interval(hits, runs) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))


@pytest.mark.parametrize(("hits", "runs"), [(-1, 3), (4, 3)])
def test_no_interval_of_what_cannot_be(hits: int, runs: int) -> None:
    with pytest.raises(ValueError, match="make no sense"):
        binomial_interval(hits, runs)


def test_schedules_differ_are_repeatable_and_within_every_bound() -> None:
    scenarios = [schedule(seed) for seed in range(40)]
    assert len({str(s.raw) for s in scenarios}) == 40
    for seed, scenario in enumerate(scenarios):
        assert schedule(seed).raw == scenario.raw
        plan = resolve(scenario, seed, SimBackend.scheme)
        assert plan.regime == regime.Regime() and plan.genesis.roster.byzantine == (CORRUPTED,)


def test_a_mutant_that_any_run_finds_has_share_one() -> None:
    found = share(MUTANTS["MM10"], 3)
    assert (found.hits, found.runs, found.first, found.high) == (3, 3, 1, 1.0)
    assert found.low == pytest.approx(0.025 ** (1 / 3), abs=1e-6)


def test_the_clean_cores_raise_no_alarm() -> None:
    found = false_alarms(4, seed=1000)
    assert (found.hits, found.first) == (0, None)


def test_a_mutant_that_no_run_reaches_has_no_share() -> None:
    patch = Patch("nodes.moonshot.leaders:fair_succession", lambda original: original)  # leaders are fixed here
    idle = Mutant("X", "X", "1.7", "nothing that is called", (patch,), ("fork",))
    with pytest.raises(MutantError, match="none of 2 random runs called"):
        share(idle, 2)
