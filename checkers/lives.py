"""An honest node's records as one life: what it signed or held earlier still binds it after a restart."""

from __future__ import annotations

from collections.abc import Iterator

from checkers.index import Index
from results.trace import TraceEvent

POWER = ("power-loss", "torn-write")  # faults after which the last records of a node may never have left it


def lives(index: Index, *names: str) -> Iterator[tuple[str, list[TraceEvent]]]:
    """(node, its events with these names, oldest first) for every honest node that kept its disk.

    A node that lost power begins a new life with each incarnation: a trace is written before the disk has synced, so
    its last records may be of things that never left the node and that it has rightly forgotten.
    """
    amnesiac = set(index.info.amnesiac)
    shaky = {target for fault in index.info.faults if fault.use in POWER for target in fault.targets}
    found: dict[tuple[str, int], list[TraceEvent]] = {}
    wanted = set(names)
    for event in index.all_events:  # by time, a node's own order kept
        node = event["node"]
        if node not in amnesiac and event["event"] in wanted:
            found.setdefault((node, event["incarnation"] if node in shaky else 0), []).append(event)
    for node, life in found:
        yield node, found[node, life]
