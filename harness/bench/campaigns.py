"""What more workers bring to a campaign: measured on this machine's cores, and computed for more of them.

The measured figure is seeds a wall second of two processes over that of one, on the same seeds, in the same run. The
computed one is a list schedule: chunks of the lengths that were measured go, in order, to whichever worker is free
first, each after the hand-over that was measured. It leaves out the network and shared caches, so it is an upper bound.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from harness.chunk import Job, outcome_of
from harness.commands import read_scenario
from harness.executors import Pool, make_executor, results

SEEDS = 40
TASKS = 20_000  # of the computed schedule, drawn from the measured lengths
WORKERS = (2, 8, 64)
SMALL = {"cluster": {"nodes": 4, "clans": 1, "gateways": 1}}


def figures(seeds: int = SEEDS) -> Iterator[dict[str, Any]]:
    """Rows of `bench campaigns`."""
    lengths, one = _timed(1, seeds)
    _, two = _timed(2, seeds)
    yield _row("campaign: two processes against one", two, "seeds/s", one, two / one)
    hand_over = max(0.0, seeds / one - sum(lengths)) / seeds
    drawn = Random(0).choices(lengths, k=TASKS)
    alone = schedule(drawn, 1, hand_over)
    for workers in WORKERS:
        speedup = alone / schedule(drawn, workers, hand_over)
        yield _row(
            f"campaign: {workers} workers, computed from {seeds} lengths",
            speedup,
            "times one",
            workers,
            speedup / workers,
        )


def _row(name: str, value: float, unit: str, peer: float, ratio: float) -> dict[str, Any]:
    return {"name": name, "value": round(value, 3), "unit": unit, "peer": round(peer, 3), "ratio": round(ratio, 3)}


def _timed(workers: int, seeds: int) -> tuple[list[float], float]:
    """Seconds of each seed, and seeds a wall second, on so many worker processes that are already there."""
    pool = Pool(2, lambda: make_executor(2)) if workers == 2 else Pool(1, lambda: make_executor(1))
    taken: list[float] = []
    begun = 0.0
    for number, seconds in enumerate(results(pool, _seconds, range(seeds + 2 * workers))):
        if number == 2 * workers - 1:
            begun = time.perf_counter()  # the first ones load what a worker needs
        elif number >= 2 * workers:
            taken.append(seconds)
    return taken, len(taken) / (time.perf_counter() - begun)


def _seconds(seed: int) -> float:
    base = read_scenario("swarm").raw
    begun = time.perf_counter()
    outcome_of(Job({**base, **SMALL}, "seeds"), seed)
    return time.perf_counter() - begun


def schedule(lengths: Sequence[float], workers: int, hand_over: float = 0.0) -> float:
    """When the last task ends, in the unit of `lengths`, if each goes to the worker that is free first.

    `hand_over` is what one dispatcher needs for each task; it hands out one at a time.
    """
    free = [0.0] * workers
    handed = end = 0.0
    for length in lengths:
        handed = max(handed, heapq.heappop(free)) + hand_over
        heapq.heappush(free, handed + length)
        end = max(end, handed + length)
    return end
