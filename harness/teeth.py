"""How likely a mutant is found: the share of random runs that kill it, and what its witness says."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from harness.mutants import Mutant, applied, kills
from harness.scenario import Scenario
from harness.schedules import schedule
from harness.trial import trial
from results.binomial import interval

Draw = Callable[[int], Scenario]


class Share(msgspec.Struct, frozen=True):
    """Of `runs` random runs `kills` violated what must catch the mutant; `low`..`high` is the exact 95 % interval.

    `violations` counts the runs in which any property failed; `first` is the number of the first kill, from 1.
    """

    mutant: str
    runs: int
    kills: int
    violations: int
    low: float
    high: float
    first: int | None
    seconds: float


def share(mutant: Mutant | None, runs: int, draw: Draw = schedule, seed: int = 0) -> Share:
    """Run the mutant (None: the clean cores, where every violation is a false alarm) under random scenarios.

    Run i is that of seed `seed` + i. A mutant that no run ever reached (its patch was not called) has no share and
    raises MutantError.
    """
    killed = violated = 0
    first: int | None = None
    begun = time.monotonic()
    for number in range(runs):
        scenario = draw(seed + number)
        if mutant is None:
            result = trial(scenario, seed + number)
        else:
            with applied(mutant, must_run=runs == 1):
                result = trial(scenario, seed + number)
        violated += bool(result.violated())
        if mutant is not None and kills(mutant, result):
            killed += 1
            first = first or number + 1
    low, high = interval(killed, runs)
    name = mutant.id if mutant is not None else "clean"
    return Share(name, runs, killed, violated, low, high, first, time.monotonic() - begun)
