"""Liveness of a system that is not ours, from what its nodes said of their heights: `progress` events."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from checkers.index import MS, Index
from checkers.judge import conclude, record
from checkers.soundness import starts
from results.stats import quantile
from results.stats import summary as figures
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict

PIPELINE = 3  # blocks that may have been proposed before the heal and are decided after it: a run waits for one more


def judge(property: str, index: Index) -> Verdict:
    """Every never-faulty node decides something new within liveness_ms of the heal, and goes on so.

    New is what is higher than anything that was decided at the heal, in a chain of blocks by more than PIPELINE.
    A system without blocks decides only what clients ask for: it is judged while they do. Anomalies: as in `liveness`.
    """
    start = max(index.info.heal, index.info.load_start)
    blocks = bool(index.events("finalise"))
    until = index.end if blocks else min(index.end, index.info.load_end or index.end)
    bound = int(index.bounds.liveness_ms * MS)
    rises = {node: _rises([e for e in index.events("progress") if e["node"] == node]) for node in index.honest}
    base = max((e["height"] for r in rises.values() for e in r if int(e["time"]) <= start), default=0)
    base += PIPELINE if blocks else 0
    anomalies: list[Anomaly] = []
    doubts, recoveries, gaps = _doubts(index, start, blocks), [], []
    for node in index.steady:
        first = next((e for e in rises[node] if e["height"] > base and int(e["time"]) > start), None)
        if first is None:
            if start + bound > until:
                doubts.append(f"{node} decided nothing new, but what was asked of it ended within the bound")
            elif not doubts:
                anomalies.append(_stalled(node, rises[node][-1:], start, until, bound))
            continue
        recoveries.append((int(first["time"]) - start) / MS)
        if int(first["time"]) > start + bound:
            told = (
                f"{node} decided something new only {recoveries[-1]:.0f} ms after the heal (bound {bound / MS:.0f} ms)"
            )
            anomalies.append(Anomaly("slow-recovery", told, [record(first)]))
        begin, end, before = _longest([e for e in rises[node] if int(e["time"]) >= int(first["time"])], until)
        gaps.append((end - begin) / MS)
        if end - begin > bound:
            anomalies.append(_stalled(node, [before], begin, end, bound))
    anomalies += _crash_loops(index)
    behind = _behind(index, rises)
    if start + bound <= index.end:
        anomalies += [_left(node, blocks, rises[node]) for node, blocks in behind.items()]
    measures: dict[str, Any] = {
        "recovery_ms": figures(recoveries),
        "largest_gap_ms": figures(gaps),
        "bound_ms": index.bounds.liveness_ms,
        "heights": {node: max((e["height"] for e in r), default=0) for node, r in rises.items()},
    }
    return conclude(property, len(recoveries), anomalies, measures, "no never-faulty node to judge", doubts)


def _rises(events: Sequence[TraceEvent]) -> list[TraceEvent]:
    """The events at which a node was higher than ever before."""
    found: list[TraceEvent] = []
    for event in events:
        if not found or event["height"] > found[-1]["height"]:
            found.append(event)
    return found


def _doubts(index: Index, start: int, blocks: bool) -> list[str]:
    doubts = []
    if index.info.interrupted:
        doubts.append("the run was interrupted before its bounds could pass")
    if index.info.heal == 0 and any(fault.kind == "fault" for fault in index.info.faults):
        doubts.append("faults were declared but the run records no heal: there is no time to measure from")
    asked = any(o.type == "invoke" and o.process != "nemesis" and o.time > start for o in index.history)
    if not blocks and not asked:
        doubts.append("nothing was asked after the heal, and this system decides nothing by itself")
    return doubts


def _longest(events: Sequence[TraceEvent], until: int) -> tuple[int, int, TraceEvent]:
    """The longest time without a rise: from, to, and the event before it."""
    times = [*(int(event["time"]) for event in events if int(event["time"]) < until), until]
    if len(times) < 2:
        return until, until, events[0]
    spans = list(pairwise(times))
    number = max(range(len(spans)), key=lambda i: spans[i][1] - spans[i][0])
    return *spans[number], events[number]


def _stalled(node: str, last: Sequence[TraceEvent], since: int, until: int, bound: int) -> Anomaly:
    told = (
        f"{node} decided nothing new for {(until - since) / MS:.0f} ms from {since / MS:.0f} ms on"
        f" (bound {bound / MS:.0f} ms)"
    )
    silence = {"event": "silence", "node": node, "from": since, "until": until}
    return Anomaly("stalled", told, [silence, *map(record, last)])


def _crash_loops(index: Index) -> list[Anomaly]:
    return [
        Anomaly(
            "crash-loop",
            f"{node} started {len(seen)} times where {scheduled} were scheduled: it keeps crashing",
            [record(event) for event in seen[-4:]],
        )
        for node, (seen, scheduled) in starts(index).items()
        if len(seen) > scheduled
    ]


def _behind(index: Index, rises: dict[str, list[TraceEvent]]) -> dict[str, int]:
    """How far each node ended below the others, if that is more than catch_up_blocks."""
    tips = {node: max((e["height"] for e in found), default=0) for node, found in rises.items()}
    if not index.steady:
        return {}
    middle = int(quantile(sorted(tips[node] for node in index.steady), 0.5))
    return {node: middle - tip for node, tip in tips.items() if middle - tip > index.bounds.catch_up_blocks}


def _left(node: str, behind: int, rises: Sequence[TraceEvent]) -> Anomaly:
    height = rises[-1]["height"] if rises else 0
    witness = [record(event) for event in rises[-1:]] or [{"event": "silence", "node": node, "height": 0}]
    return Anomaly("left-behind", f"{node} ended at height {height}, {behind} below the others", witness)
