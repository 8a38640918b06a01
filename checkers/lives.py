"""An honest node's records as one life: what it signed or held earlier binds it after a restart too."""

from __future__ import annotations

from checkers.index import Index
from results.trace import TraceEvent


def lives(index: Index, *names: str) -> dict[str, list[TraceEvent]]:
    """Node -> its events with these names, oldest first, for every honest node that kept its disk, by name.

    A record is in the trace only once what it tells of is durable, so a crash or a loss of power excuses nothing.
    """
    found: dict[str, list[TraceEvent]] = {}
    wanted, amnesiac = set(names), set(index.info.amnesiac)
    for event in index.all_events:  # by time, a node's own order kept
        if event["event"] in wanted and event["node"] not in amnesiac:
            found.setdefault(event["node"], []).append(event)
    return dict(sorted(found.items()))
