"""view-sync: after the heal views go on, and honest nodes are in the same one again and again (L-VIEW)."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

from checkers.index import MS, Index
from checkers.judge import Judge, conclude, record
from results.stats import summary as figures
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict


class ViewSync(Judge):
    """No never-faulty node stays in a view for longer than view_ms, and all are in one view within liveness_ms.

    Both from the heal on (the load start in runs without faults); the first view after it may take liveness_ms. A view
    ends by its timer of 3 Delta, which starts when it is entered; entries lie up to Delta apart, and time-outs travel.
    Anomalies: stuck-view, never-together. Runs that end within liveness_ms of the heal, and before every node moved and
    all had met in one view, are UNKNOWN. Examined: stays of nodes in views.
    """

    property: ClassVar[str] = "view-sync"

    def judge(self, index: Index) -> Verdict:
        start, end = max(index.info.heal, index.info.load_start), index.end
        first, later = int(index.bounds.liveness_ms * MS), int(index.bounds.view_ms * MS)
        nodes = [node for node in index.steady if node in index.info.tribe]
        entries: dict[str, list[TraceEvent]] = {node: [] for node in nodes}
        for event in index.events("enter"):
            if event["node"] in entries and int(event["time"]) <= end:
                entries[event["node"]].append(event)
        anomalies: list[Anomaly] = []
        stays: list[float] = []
        for node, life in entries.items():
            found, lengths = _stays(node, life, (start, end), (first, later))
            anomalies += found
            stays += lengths
        apart, lonely = _apart(entries, (start, end), first)
        measures: dict[str, Any] = {
            "stay_ms": figures(stays),
            "longest_apart_ms": round(apart / MS, 3),
            "view_bound_ms": index.bounds.view_ms,
            "together_bound_ms": index.bounds.liveness_ms,
        }
        doubts = ["the run was interrupted before its bounds could pass"] if index.info.interrupted else []
        moved = all(any(int(e["time"]) > start for e in life) for life in entries.values())
        if start + first > end and (not moved or apart >= end - start):
            doubts.append("the run ended before the time in which views must go on again had passed")
        nothing = "no never-faulty node of the tribe entered a view after the heal"
        return conclude(self.property, len(stays), anomalies + lonely, measures, nothing, doubts)


def _stays(
    node: str, life: list[TraceEvent], span: tuple[int, int], bounds: tuple[int, int]
) -> tuple[list[Anomaly], list[float]]:
    """How long (ms) the node was in each view of the span, the last one to its end; what was too long."""
    start, end = span
    anomalies: list[Anomaly] = []
    lengths: list[float] = []
    since, last = start, None
    bound = bounds[0]
    for event in [*(e for e in life if int(e["time"]) > start), None]:
        until = end if event is None else int(event["time"])
        lengths.append((until - since) / MS)
        if until - since > bound:
            view = last["view"] if last else max((int(e["view"]) for e in life if int(e["time"]) <= start), default=0)
            summary = (
                f"{node} stayed in view {view} for {(until - since) / MS:.0f} ms from {since / MS:.0f} ms on"
                f" (bound {bound / MS:.0f} ms)"
            )
            silence = {"event": "silence", "node": node, "from": since, "until": until}
            anomalies.append(Anomaly("stuck-view", summary, [silence, *([record(last)] if last else [])]))
        since, last, bound = until, event, bounds[1]
    return anomalies, lengths if len(lengths) > 1 else []


def _apart(entries: dict[str, list[TraceEvent]], span: tuple[int, int], bound: int) -> tuple[int, list[Anomaly]]:
    """The longest time (ns) without a moment at which all nodes are in one view, and an anomaly if it is too long."""
    start, end = span
    moves = sorted((event for life in entries.values() for event in life), key=lambda e: int(e["time"]))
    where: dict[str, int] = {}
    crowd: Counter[int] = Counter()
    longest, since = 0, start
    worst = (start, start)
    for event in moves:
        now = int(event["time"])
        together = len(where) == len(entries) and len(crowd) == 1
        if together and now > start:
            since = max(since, now)  # they were together until this move
        node, view = event["node"], int(event["view"])
        if node in where:
            crowd[where[node]] -= 1
            if not crowd[where[node]]:
                del crowd[where[node]]
        where[node] = view
        crowd[view] += 1
        if len(where) == len(entries) and len(crowd) == 1 and now > start and now - since > longest:
            longest, worst = now - since, (since, now)
    if entries and not (len(where) == len(entries) and len(crowd) == 1) and end - since > longest:
        longest, worst = end - since, (since, end)
    if longest <= bound:
        return longest, []
    views = ", ".join(f"{node} in {where.get(node, 0)}" for node in entries)
    summary = (
        f"from {worst[0] / MS:.0f} to {worst[1] / MS:.0f} ms the never-faulty nodes were never all in one view"
        f" ({longest / MS:.0f} ms, bound {bound / MS:.0f} ms); at the end: {views}"
    )
    return longest, [Anomaly("never-together", summary, [{"event": "apart", "from": worst[0], "until": worst[1]}])]
