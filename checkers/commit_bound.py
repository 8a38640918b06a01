"""commit-bound: after the heal one honest leader is enough to commit, and soon (L-COMMIT, protocol.md 1.11)."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, ClassVar

from checkers.index import MS, Index
from checkers.judge import Judge, conclude, record
from checkers.led import Led, led_views
from results.stats import summary as figures
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict


class CommitBound(Judge):
    """In a view that an honest node leads, each never-faulty node finalises a block of it, or a later one, in time.

    In time: within commit_ms of the last honest entry.
    Judged are views from two Delta after the heal to commit_ms before the end; under Pipelined and Simple Moonshot only
    those whose next view has an honest leader, too. Views that not all entered are no view starts. Anomalies:
    late-commit, one a view. Examined: (view, node). Measures: the time it took, in ms and in message delays.
    """

    property: ClassVar[str] = "commit-bound"

    def judge(self, index: Index) -> Verdict:
        bound = int(index.bounds.commit_ms * MS)
        views = led_views(index)
        if index.info.parameters.get("variant", "commit") != "commit":
            numbers = {led.view for led in views}
            views = [led for led in views if led.view + 1 in numbers]
        views = [led for led in views if led.last + bound <= index.end]
        reached = {node: _reached(index, node) for node in index.steady if node in index.info.tribe}
        anomalies: list[Anomaly] = []
        spans: list[float] = []
        for led in views:
            late = []
            for node, (numbers_, events) in reached.items():
                place = bisect_left(numbers_, led.view)
                time = int(events[place]["time"]) if place < len(events) else index.end
                spans.append(max(0, time - led.last) / MS)
                if time > led.last + bound or place == len(events):
                    late.append((node, events[place] if place < len(events) else None))
            if late:
                anomalies.append(_late(index, led, late))
        measures: dict[str, Any] = {
            "views": len(views),
            "commit_ms": figures(spans),
            "bound_ms": index.bounds.commit_ms,
        }
        if index.info.md_ms > 0:
            measures["commit_md"] = figures(span / index.info.md_ms for span in spans)
        doubts = ["the run was interrupted before its bounds could pass"] if index.info.interrupted else []
        nothing = "no view of a never-faulty leader began long enough after the heal and before the end"
        return conclude(self.property, len(spans), anomalies, measures, nothing, doubts)


def _reached(index: Index, node: str) -> tuple[list[int], list[TraceEvent]]:
    """The node's finalise records that reached a higher view than all before, and those views, ascending."""
    views: list[int] = []
    events: list[TraceEvent] = []
    for event in index.events("finalise"):
        if event["node"] == node and (not views or event["view"] > views[-1]):
            views.append(event["view"])
            events.append(event)
    return views, events


def _late(index: Index, led: Led, late: list[tuple[str, TraceEvent | None]]) -> Anomaly:
    node, event = late[0]
    when = "never" if event is None else f"after {(int(event['time']) - led.last) / MS:.0f} ms"
    others = f" ({len(late)} nodes are late)" if len(late) > 1 else ""
    summary = (
        f"all never-faulty nodes were in view {led.view} of honest {led.leader} at {led.last / MS:.0f} ms; {node}"
        f" finalised a block of it or a later one {when}, the bound is {index.bounds.commit_ms:.0f} ms{others}"
    )
    start = {"event": "view", "view": led.view, "leader": led.leader, "first": led.first, "last": led.last}
    return Anomaly("late-commit", summary, [start, *([record(event)] if event else [])])
