"""catch-up: a node that was cut off, paused or down is up with the others soon after the heal (L-SYNC)."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import Any, ClassVar

from checkers.index import MS, Index
from checkers.judge import Judge, conclude, record
from results.stats import summary as figures
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict

BEHIND = 3  # blocks: what is under way between two nodes that are up
BLOCKS_A_REQUEST = 64  # of ancestors in one answer (protocol.md 1.8)


class CatchUp(Judge):
    """Each honest node that is behind at the heal is up with the others in time.

    Behind: more than three blocks below the highest block that any honest node has finalised by then; for a node
    that starts later, at its start. In time: liveness_ms, and catch_up_ms for every 64 blocks that it lacks. Anomalies:
    never-caught-up, slow-catch-up. Pending at the end and halted nodes are counted, not judged. Examined: nodes that
    were behind.
    """

    property: ClassVar[str] = "catch-up"

    def judge(self, index: Index) -> Verdict:
        times, tips = _frontier(index)
        since = _since(index)
        own: dict[str, list[TraceEvent]] = {node: [] for node in index.honest}
        for event in index.events("finalise"):
            own[event["node"]].append(event)
        halted = {event["node"] for event in index.events("halt")}
        anomalies: list[Anomaly] = []
        took: list[float] = []
        counts = {"behind": 0, "pending": 0}
        for node in index.honest:
            start = since[node]
            if node in halted or start > index.end:
                continue
            before = [event["height"] for event in own[node] if int(event["time"]) <= start]
            lag = _tip(times, tips, start) - max(before, default=0)
            if lag <= BEHIND:
                continue
            counts["behind"] += 1
            bound = _bound(index, lag)
            done = _caught_up(own[node], start, times, tips)
            waited = (int(done["time"]) if done else index.end) - start
            if done is None and waited <= bound:
                counts["pending"] += 1
                continue
            took.append(waited / MS)
            if waited > bound:
                anomalies.append(_slow(node, start, lag, waited, bound, done))
        measures: dict[str, Any] = {"took_ms": figures(took), **counts}
        doubts = ["the run was interrupted before its bounds could pass"] if index.info.interrupted else []
        nothing = "no honest node was behind at the heal"
        return conclude(self.property, len(took), anomalies, measures, nothing, doubts)


def _frontier(index: Index) -> tuple[list[int], list[int]]:
    """Times of all finalise records, ascending, and the highest height by then."""
    events = index.events("finalise")
    return [int(event["time"]) for event in events], list(accumulate((event["height"] for event in events), max))


def _tip(times: list[int], tips: list[int], now: int) -> int:
    place = bisect_right(times, now)
    return tips[place - 1] if place else 0


def _since(index: Index) -> dict[str, int]:
    """From when each honest node must catch up: the heal, or its last start if later."""
    begin = max(index.info.heal, index.info.load_start)
    found = dict.fromkeys(index.honest, begin)
    for event in index.events("start", "restart"):
        found[event["node"]] = max(found[event["node"]], int(event["time"]))
    return found


def _bound(index: Index, lag: int) -> int:
    """ns for so many blocks."""
    requests = -(-lag // BLOCKS_A_REQUEST)
    return int((index.bounds.liveness_ms + requests * index.bounds.catch_up_ms) * MS)


def _caught_up(own: list[TraceEvent], start: int, times: list[int], tips: list[int]) -> TraceEvent | None:
    """The node's first record after `start` that is no more than BEHIND below the highest of that moment."""
    for event in own:
        now = int(event["time"])
        if now > start and _tip(times, tips, now) - event["height"] <= BEHIND:
            return event
    return None


def _slow(node: str, start: int, lag: int, waited: int, bound: int, done: TraceEvent | None) -> Anomaly:
    kind = "never-caught-up" if done is None else "slow-catch-up"
    when = "had not caught up" if done is None else "caught up only"
    summary = (
        f"{node} was {lag} blocks behind at {start / MS:.0f} ms and {when} after {waited / MS:.0f} ms"
        f" (bound {bound / MS:.0f} ms)"
    )
    behind = {"event": "behind", "node": node, "time": start, "blocks": lag}
    return Anomaly(kind, summary, [behind, *([record(done)] if done else [])])
