"""When a behaviour is on: its time window, its window of views, and the event that sets it off.

All three are declared in the scenario and must hold together; `Behaviour.when` is the fourth, in the behaviour's own
code. While one of them does not hold, the node does what an honest one does.
"""

from __future__ import annotations

from typing import Any

import msgspec

Views = tuple[int, int]


class Trigger(msgspec.Struct):
    """`from_ns`, `until_ns` count from the load start; `views` is the first and the last view of the own core;
    `event` holds the name of a trace event of the own core under "event", and fields that must be equal in it: the
    first such event opens the behaviour for good."""

    from_ns: int | None = None
    until_ns: int | None = None
    views: Views | None = None
    event: dict[str, Any] = {}
    fired: bool = False

    def see(self, event: str, fields: dict[str, Any]) -> None:
        """A trace event of the own core."""
        if not self.fired and self.event.get("event") == event:
            self.fired = all(key == "event" or fields.get(key) == value for key, value in self.event.items())

    def open(self, now: int, load_start: int | None, view: int) -> bool:
        """Is everything declared satisfied? Before the load starts no window with a beginning is open."""
        if self.views is not None and not self.views[0] <= view <= self.views[1]:
            return False
        if self.event and not self.fired:
            return False
        if load_start is None:
            return self.from_ns is None
        since = now - load_start
        return (self.from_ns is None or since >= self.from_ns) and (self.until_ns is None or since < self.until_ns)


def parse_views(value: Any) -> Views | None:
    """`views` of a scenario: None, or the first and the last view. Raises ValueError."""
    if value is None:
        return None
    good = isinstance(value, list | tuple) and len(value) == 2 and all(type(v) is int and v >= 0 for v in value)
    if not good or value[0] > value[1]:
        raise ValueError(f"must be the first and the last view, like [20, 39], not {value!r}")
    return int(value[0]), int(value[1])


def parse_event(value: Any) -> dict[str, Any]:
    """`when` of a scenario: the trace event that sets the behaviour off. Raises ValueError."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not isinstance(value.get("event"), str) or not value["event"]:
        raise ValueError(
            f'must name a trace event of the node, like {{ event = "enter", view = 40 }}, not {value!r}'
            " (results/trace.py lists them)"
        )
    return dict(value)
