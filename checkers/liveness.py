"""liveness: after the heal, finalisation goes on within a bounded time (claim liveness-after-gst; L-COMMIT, L-SYNC)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

from checkers import progress
from checkers.index import MS, Index
from checkers.judge import Judge, conclude, record
from checkers.soundness import starts
from results.stats import quantile
from results.stats import summary as figures
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict

LEADER_STOPPERS = ("crash", "disk-loss", "pause", "silent-leader")


class Liveness(Judge):
    """Every never-faulty honest node finalises a block proposed after the heal within recovery_ms, and goes on so.

    "Goes on" is within liveness_ms. After a blackout, when no node of the tribe was never faulty, those who came back
    with their disks are judged. Measured from the heal (the load start in runs without faults). A block counts as new
    if its honest proposer recorded it after that time, or its parent does. Anomalies: stalled (no new block, or a gap
    longer than the bound), slow-recovery, left-behind (a restarted node more than catch_up_blocks below the others at
    the end), crash-loop, halted (unless the run is beyond its bound), execution-stalled (a clan member executed a
    block, and for liveness_ms + retrieve_ms, to the end, no state certificate came that covers it). Examined: nodes
    judged. A system that is not ours is judged by what its nodes said of their heights (progress.py).
    """

    property: ClassVar[str] = "liveness"

    def judge(self, index: Index) -> Verdict:
        if index.events("progress"):
            return progress.judge(self.property, index)
        finals = index.events("finalise")
        if not finals:
            return self._nothing(index)
        start = max(index.info.heal, index.info.load_start)
        halts, halted = _halts(index)
        judged = [node for node in _judged(index) if node not in halted]
        new = _new_blocks(index, start)
        bound, recovery = int(index.bounds.liveness_ms * MS), int(_recovery_ms(index, start) * MS)
        by_node: dict[str, list[TraceEvent]] = {node: [] for node in index.honest}
        for event in finals:
            if int(event["time"]) <= index.end:
                by_node[event["node"]].append(event)
        anomalies, recoveries, gaps, doubts = list(halts), [], [], _doubts(index) + _pacemaker(index)
        if not set(judged) & set(index.info.tribe):
            doubts.append("no never-faulty node of the tribe is left to judge, only gateways")
        for node in judged:
            first = next((e for e in by_node[node] if e["block"] in new and int(e["time"]) >= start), None)
            if first is None:
                if start + recovery > index.end:
                    doubts.append(f"{node} finalised nothing new, but the run ended within the bound")
                else:
                    anomalies.append(_stalled(node, by_node[node][-1:], start, index.end, recovery))
                continue
            recoveries.append((int(first["time"]) - start) / MS)
            if int(first["time"]) > start + recovery:
                anomalies.append(_slow(node, first, start, recovery))
            gap, before = _largest_gap(by_node[node], int(first["time"]), index.end)
            gaps.append(gap / MS)
            if gap > bound:
                anomalies.append(_stalled(node, before, int(before[0]["time"]), int(before[0]["time"]) + gap, bound))
        anomalies += _crash_loops(index) + _uncertified(index, start)
        behind, trailing = _left_behind(index, by_node, judged, halted, start + recovery <= index.end)
        measures: dict[str, Any] = {
            "recovery_ms": figures(recoveries),
            "largest_gap_ms": figures(gaps),
            "bound_ms": index.bounds.liveness_ms,
            "bound_deltas": round(index.bounds.liveness_deltas, 3),
            "recovery_bound_ms": recovery / MS,
            "blocks_behind_at_end": trailing,
            "halted": sorted(halted),
        }
        nothing = "no never-faulty honest node to judge"
        return conclude(self.property, len(recoveries), anomalies + behind, measures, nothing, doubts)

    def _nothing(self, index: Index) -> Verdict:
        """No finalisation at all: a stall if honest nodes ran for longer than the bound, else nothing to examine."""
        starts = [event for event in index.events("start", "restart") if event["node"] in _judged(index)]
        begin = max(index.info.heal, index.info.load_start)
        bound = int(_recovery_ms(index, begin) * MS)
        anomalies = []
        if starts and begin + bound <= index.end and not _doubts(index):
            summary = f"no honest node finalised any block in {(index.end - begin) / MS:.0f} ms"
            anomalies.append(Anomaly("stalled", summary, [record(event) for event in starts]))
        return conclude(self.property, 0, anomalies, {}, "no honest node finalised a block", _doubts(index))


def _judged(index: Index) -> tuple[str, ...]:
    """Never-faulty nodes; where the whole tribe was down, those that may have forgotten nothing as well."""
    if set(index.steady) & set(index.info.tribe):
        return index.steady
    whole = set(index.honest) & set(index.info.tribe) - {*index.info.amnesiac, *index.mute}
    return (*(node for node in index.info.tribe if node in whole), *index.steady)


def _doubts(index: Index) -> list[str]:
    doubts = []
    if index.info.interrupted:
        doubts.append("the run was interrupted before its bounds could pass")
    if index.info.heal == 0 and any(fault.kind == "fault" for fault in index.info.faults):
        doubts.append("faults were declared but the run records no heal: there is no time to measure from")
    return doubts


def _recovery_ms(index: Index, start: int) -> float:
    """How long the first new block may take. Late is who, at the heal, was in a view below the newest of all."""
    newest: dict[str, int] = dict.fromkeys((n for n in index.honest if n in index.info.tribe), 0)
    for event in index.events("enter"):  # by time
        if int(event["time"]) > start:
            break
        if event["node"] in newest:
            newest[event["node"]] = max(event["view"], newest[event["node"]])
    top = max(newest.values(), default=0)
    return index.bounds.recovery_ms(top, [node for node, view in newest.items() if view < top])


def _pacemaker(index: Index) -> list[str]:
    """A view must be able to end by a time-out, and where leaders were stopped one must have; else the repair of a view
    was never exercised."""
    timer_ms, lasted_ms = 3 * index.bounds.delta_ms, (index.end - index.info.load_start) / MS
    if index.info.target == "supra" and "cluster" in index.info.scenario and timer_ms > lasted_ms:
        return [f"a view times out after {timer_ms:.0f} ms, the run lasted {lasted_ms:.0f} ms: no pacemaker could act"]
    stopped = [f for f in index.info.faults if f.use in LEADER_STOPPERS and set(f.targets) & set(index.info.tribe)]
    if not stopped or index.info.target != "supra":
        return []
    begin = min(fault.start for fault in stopped)
    signs = [*index.events("timeout", "timeout_certificate"), *index.events("enter")]
    if any(int(e["time"]) >= begin and (e["event"] != "enter" or e["via"] == "timeout") for e in signs):
        return []
    names = ", ".join(sorted({fault.use for fault in stopped}))
    return [f"{names} stopped nodes that lead, yet no honest node ever timed out: the pacemaker was not exercised"]


def _new_blocks(index: Index, start: int) -> set[str]:
    """Blocks surely proposed at or after `start`: by their honest proposer's record, or because their parent was."""
    new = {event["block"] for event in index.events("propose") if int(event["time"]) >= start}
    for blocks in index.finals.values():  # in height order
        new |= {final.block for final in blocks if final.parent in new}
    return new


def _halts(index: Index) -> tuple[list[Anomaly], set[str]]:
    """A halted honest node is an anomaly within the bound; beyond it, halting is what a node must do. So it is while
    its disk is full: that is the crash which the fault declares, and `left-behind` judges what becomes of it."""
    halts = [event for event in index.events("halt") if not _disk_full(index, event)]
    if index.info.regime == "beyond":
        return [], {event["node"] for event in halts}
    return [
        Anomaly("halted", f"{event['node']} stopped itself: {event.get('reason', '')}", [record(event)])
        for event in halts
    ], set()


def _disk_full(index: Index, halt: TraceEvent) -> bool:
    """Is it the victim of a declared full disk, and in its window? (The last bytes may hold the word of the halt.)"""
    windows = [fault for fault in index.info.faults if fault.use == "disk-full" and halt["node"] in fault.targets]
    return any(fault.start <= int(halt["time"]) <= max(fault.stop, index.info.heal) for fault in windows)


def _largest_gap(events: Sequence[TraceEvent], since: int, end: int) -> tuple[int, list[TraceEvent]]:
    """Longest time from one finalisation at or after `since` to the next (or to the end), and the one before it."""
    later = [event for event in events if int(event["time"]) >= since]
    times = [int(event["time"]) for event in later] + [end]
    spans = [after - before for before, after in pairwise(times)]
    widest = max(range(len(spans)), key=lambda i: spans[i])
    return spans[widest], [later[widest]]


def _stalled(node: str, last: Sequence[TraceEvent], since: int, until: int, bound: int) -> Anomaly:
    summary = (
        f"{node} finalised no new block for {(until - since) / MS:.0f} ms from {since / MS:.0f} ms on"
        f" (bound {bound / MS:.0f} ms)"
    )
    silence = {"event": "silence", "node": node, "from": since, "until": until}
    return Anomaly("stalled", summary, [silence, *map(record, last)])


def _slow(node: str, first: TraceEvent, start: int, bound: int) -> Anomaly:
    took = (int(first["time"]) - start) / MS
    summary = f"{node} finalised its first new block {took:.0f} ms after the heal (bound {bound / MS:.0f} ms)"
    return Anomaly("slow-recovery", summary, [record(first)])


def _crash_loops(index: Index) -> list[Anomaly]:
    """A node that starts more often than it was scheduled to."""
    anomalies = []
    for node, (seen, scheduled) in starts(index).items():
        if len(seen) > scheduled:
            summary = f"{node} started {len(seen)} times where {scheduled} were scheduled: it keeps crashing"
            anomalies.append(Anomaly("crash-loop", summary, [record(event) for event in seen[-4:]]))
    return anomalies


def _uncertified(index: Index, start: int) -> list[Anomaly]:
    """Clans whose honest members execute, but which certify nothing any more (protocol.md 2.7: M equal roots)."""
    bound = int((index.bounds.liveness_ms + index.bounds.retrieve_ms) * MS)
    anomalies = []
    for clan in range(len(index.info.clans)):
        certified = [e for e in index.events("state_certificate") if e["clan"] == clan]
        top = max((e["height"] for e in certified), default=0)
        waiting = [e for e in index.events("execute") if e["clan"] == clan and e["height"] > top]
        if not waiting or max(int(waiting[0]["time"]), start) + bound > index.end:
            continue
        first = waiting[0]
        waited = (index.end - max(int(first["time"]), start)) / MS
        summary = (
            f"{first['node']} executed height {first['height']} of clan {clan}, and in {waited:.0f} ms no state"
            f" certificate came for it or a later one (bound {bound / MS:.0f} ms); the last one is of height {top}"
        )
        newest = [e for e in certified if e["height"] == top][:1]
        anomalies.append(Anomaly("execution-stalled", summary, [record(first), *map(record, newest)]))
    return anomalies


def _left_behind(
    index: Index, by_node: dict[str, list[TraceEvent]], judged: Sequence[str], halted: set[str], settled: bool
) -> tuple[list[Anomaly], dict[str, int]]:
    """Honest nodes too far below the median never-faulty height at the end; judged only if the bound has passed."""
    tips = {node: max((e["height"] for e in events), default=0) for node, events in by_node.items()}
    if not judged:
        return [], {}
    others = quantile(sorted(tips[node] for node in judged), 0.5)
    trailing = {node: max(0, int(others) - tip) for node, tip in tips.items() if node not in halted}
    anomalies = []
    for node, blocks in trailing.items():
        if settled and blocks > index.bounds.catch_up_blocks:
            summary = f"{node} ended at height {tips[node]}, {blocks} blocks below the others ({int(others)})"
            witness = [record(e) for e in by_node[node][-1:]] or [{"event": "silence", "node": node, "height": 0}]
            anomalies.append(Anomaly("left-behind", summary, witness))
    return anomalies, {node: blocks for node, blocks in trailing.items() if blocks}
