"""The search for the worst timing after GST: how long can finality take when no message takes longer than Delta?

A hill climb over the schedules of faults/search/timing.py on the simulator: a few are drawn by chance, those that
theory says are bad are tried, then neighbours of the worst, which are kept if they are no better for the tribe. What
counts is the longest time between two finalisations at an honest node, then how long blocks of honest leaders take,
both in Delta; the bounds are L-VIEW and L-COMMIT of protocol.md 6.3. They are judged here: to the checkers a run under
any fault is one before GST. Everything follows from the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from random import Random
from typing import Any

import msgspec

from faults.search.timing import (
    COMMIT_DELTAS,
    VIEW_DELTAS,
    Stroke,
    changed,
    constructed,
    draw,
    room_of,
    scenario_of,
)
from harness.scenario import Scenario, parse
from harness.toml import Source
from harness.trial import Trial, trial
from results.trace import TraceEvent

DRAWN = 4  # schedules by chance before the climb, at least; and one in so many later on
PATIENCE = 15  # neighbours without gain before another start


class Latency(msgspec.Struct, frozen=True, order=True):
    """In Delta, the longest: time between finalisations at an honest node; time from the first honest node in a view
    of an honest leader to the last that has finalised a block of it or later; time of an honest node in one view."""

    gap: float = 0.0
    commit: float = 0.0
    view: float = 0.0


class Worst(msgspec.Struct):
    """The worst schedule so far, the scenario with it and what came of it."""

    strokes: tuple[Stroke, ...]
    values: dict[str, Any]
    latency: Latency
    violated: tuple[str, ...]
    run: int  # its number


class Report(msgspec.Struct):
    """What a climb found."""

    runs: int
    worst: Worst
    drawn: Latency  # the worst of those drawn by chance alone
    bounds: Latency
    failures: list[tuple[str, str, int]]  # anomaly kind, summary, number of the run


def bounds_of(base: Mapping[str, Any]) -> Latency:
    """L-VIEW and L-COMMIT with delta = Delta. Raises ValueError for a base that cannot be used."""
    return Latency(room_of(base).gap_deltas, COMMIT_DELTAS, VIEW_DELTAS)


def climb(
    base: Mapping[str, Any],
    seed: int,
    go_on: Callable[[int], bool],
    show: Callable[[int, Worst], None] = lambda run, worst: None,
) -> Report:
    """Simulated runs, as long as `go_on(runs so far)`; `show` hears of each.

    Raises ValueError or ScenarioError for a base that cannot be used, ValueError if there was no run.
    """
    room, rng = room_of(base), Random(f"moonquake/timing/climb/{seed}")
    bounds, failures = bounds_of(base), dict[str, tuple[str, str, int]]()
    worst: Worst | None = None
    current: Worst | None = None
    drawn, stale, run = Latency(), 0, 0
    planned = constructed(room)
    while go_on(run):
        run += 1
        fresh = current is None or run <= DRAWN or stale >= PATIENCE
        if fresh or current is None:
            strokes = draw(room, rng)
        elif planned:
            strokes = planned.pop(0)
        elif worst is not None and stale == PATIENCE // 2:
            strokes = changed(worst.strokes, room, rng)  # back to the worst of all
        else:
            strokes = changed(current.strokes, room, rng)
        values = scenario_of(base, strokes, f"The worst timing found from {base['name']}, seed {seed}, run {run}.")
        done = trial(scenario(values), seed)
        latency = latency_of(done)
        found = Worst(strokes, values, latency, done.violated(), run)
        drawn = max(drawn, latency) if fresh else drawn
        for verdict in done.verdicts:
            for anomaly in verdict.anomalies:
                failures.setdefault(anomaly.kind, (anomaly.kind, anomaly.summary, run))
        for kind, summary in beyond(latency, bounds):
            failures.setdefault(kind, (kind, summary, run))
        better = current is None or latency > current.latency
        if better or (fresh and run > DRAWN) or (current is not None and latency == current.latency):
            current = found
        stale = 0 if better or fresh else stale + 1
        if worst is None or latency > worst.latency:
            worst = found
        show(run, worst)
    if worst is None:
        raise ValueError("timing: at least one run")
    return Report(run, worst, drawn, bounds, list(failures.values()))


def beyond(found: Latency, bounds: Latency) -> list[tuple[str, str]]:
    """(anomaly kind, sentence) for each latency that exceeds its bound."""
    told = (
        ("late-finality", "between two finalisations at an honest node", found.gap, bounds.gap),
        ("late-commit", "from an honest leader's view to its commit", found.commit, bounds.commit),
        ("long-view", "of an honest node in one view", found.view, bounds.view),
    )
    return [(kind, f"{at:.2f} Delta {what}, bound {most:g}") for kind, what, at, most in told if at > most]


def scenario(values: dict[str, Any]) -> Scenario:
    """The scenario in these values. Raises ScenarioError."""
    return parse(values, Source(f"{values['name']}, timing"))


# ---------------------------------------------------------------- measuring
def latency_of(done: Trial) -> Latency:
    """From the load start to its end; what honest nodes of the tribe recorded."""
    info = done.info
    begin, end = info.load_start, info.load_end or 2**62
    honest = [node for node in info.tribe if node not in info.byzantine]
    events = [e for e in done.run.trace if e["node"] in honest and begin <= int(e["time"]) <= end]
    delta_ns = float(done.scenario.cluster.parameters.delta_ms) * 1e6
    finals = {node: [e for e in events if e["event"] == "finalise" and e["node"] == node] for node in honest}
    entries = {node: [e for e in events if e["event"] == "enter" and e["node"] == node] for node in honest}
    gap = max((_longest(times) for times in finals.values()), default=0)
    view = max((_longest(times) for times in entries.values()), default=0)
    return Latency(*(round(span / delta_ns, 3) for span in (gap, _commit(events, finals, entries, honest), view)))


def _longest(events: Sequence[TraceEvent]) -> int:
    return max((int(b["time"]) - int(a["time"]) for a, b in pairwise(events)), default=0)


def _commit(
    events: Sequence[TraceEvent],
    finals: Mapping[str, Sequence[TraceEvent]],
    entries: Mapping[str, Sequence[TraceEvent]],
    honest: Sequence[str],
) -> int:
    """Over the views in which an honest node proposed, and which everybody finalised past."""
    led = {int(e["view"]) for e in events if e["event"] == "propose"}
    begins: dict[int, int] = {}
    for entered in entries.values():
        for event in entered:
            view = int(event["view"])
            begins[view] = min(begins.get(view, int(event["time"])), int(event["time"]))
    longest = 0
    for view in sorted(led & begins.keys()):
        done = [next((int(e["time"]) for e in finals[n] if int(e["view"]) >= view), None) for n in honest]
        if None not in done:
            longest = max(longest, max(time for time in done if time is not None) - begins[view])
    return longest
