"""An honest node's records as one life: what it signed or held earlier binds it after a restart too."""

from __future__ import annotations

from checkers.index import Index, once
from results.store import RunInfo
from results.trace import TraceEvent

DISK_LOSERS = ("disk-loss",)


def forgetful(info: RunInfo) -> set[str]:
    """Nodes that lost their disk in this run. run.json lists those of the tribe, for they count against its bound; a
    gateway that lost its own holds nothing that binds it either."""
    lost = {node for fault in info.faults if fault.use in DISK_LOSERS for node in fault.targets}
    return {*info.amnesiac, *lost.intersection(info.gateways)}


def lives(index: Index, *names: str) -> dict[str, list[TraceEvent]]:
    """Node -> its events with these names, oldest first, for every honest node that kept its disk, by name.

    A record is in the trace only once what it tells of is durable, so a crash or a loss of power excuses nothing.
    """
    found: dict[str, list[TraceEvent]] = {}
    wanted, amnesiac = set(names), forgetful(index.info)
    for event in index.all_events:  # by time, a node's own order kept
        if event["event"] in wanted and event["node"] not in amnesiac:
            found.setdefault(event["node"], []).append(event)
    return dict(sorted(found.items()))


def unwritten(index: Index) -> dict[str, list[tuple[int, int]]]:
    """Honest node -> the spans in which it was killed: from the last record of a life to the start of the next.

    What a node signs may leave it just before it is killed, and the record of it never be written.
    """
    return once(index, _unwritten)


def _unwritten(index: Index) -> dict[str, list[tuple[int, int]]]:
    spans: dict[str, list[tuple[int, int]]] = {}
    last: dict[str, int] = {}
    for event in index.all_events:
        node, time = event["node"], int(event["time"])
        if event["event"] in ("start", "restart") and node in last:
            spans.setdefault(node, []).append((last[node], time))
        last[node] = time
    return spans
