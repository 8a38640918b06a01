"""Would the lab notice? A mutant under its scripted witness, and the share of random runs that kill it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from harness.commands import read_scenario
from harness.mutants import Mutant, MutantError, Use, applied, kills
from harness.scenario import Scenario
from harness.schedules import schedule
from harness.trial import Trial, trial
from results.stats import binomial_interval

Draw: TypeAlias = Callable[[int], Scenario]  # seed -> a random scenario within every bound


class Share(msgspec.Struct, frozen=True):
    """`hits` of `runs` random runs, `low`..`high` the exact 95 % interval of their share, `first` the number of the
    first one (from 1). Hits are kills, or for the clean cores violations: each of them is a false alarm."""

    name: str
    runs: int
    hits: int
    low: float
    high: float
    first: int | None
    seconds: float


def under_witness(mutant: Mutant, seed: int = 1) -> tuple[Trial, tuple[Use, ...]]:
    """The mutant's witness played with the mutant in force, and what became of its patches. Raises MutantError."""
    with applied(mutant) as uses:
        return trial(read_scenario(mutant.witness), seed), uses


def share(mutant: Mutant, runs: int, draw: Draw = schedule, seed: int = 0) -> Share:
    """The share of random runs that kill the mutant; run i has seed `seed` + i.

    Raises MutantError if no run ever called one of its patches: nothing was tried then.
    """
    unused = {patch.target for patch in mutant.patches}

    def killed(number: int) -> bool:
        with applied(mutant, must_run=False) as uses:
            result = trial(draw(number), number)
        unused.difference_update(use.target for use in uses if use.calls)
        return bool(kills(mutant, result))

    found = _count(mutant.id, killed, runs, seed)
    if unused:
        raise MutantError(f"mutant {mutant.id}: none of {runs} random runs called {', '.join(sorted(unused))}")
    return found


def false_alarms(runs: int, draw: Draw = schedule, seed: int = 0) -> Share:
    """The share of random runs of the clean cores in which some property fails."""
    return _count("clean", lambda number: bool(trial(draw(number), number).violated()), runs, seed)


def _count(name: str, hit: Callable[[int], bool], runs: int, seed: int) -> Share:
    begun = time.monotonic()
    hits = [number for number in range(runs) if hit(seed + number)]
    low, high = binomial_interval(len(hits), runs)
    return Share(name, runs, len(hits), low, high, hits[0] + 1 if hits else None, time.monotonic() - begun)
