"""Views that an honest leader led after the heal: what L-COMMIT and L-REORG are measured on."""

from __future__ import annotations

from dataclasses import dataclass

from checkers.index import MS, Index, once
from checkers.leaders import schedule


@dataclass(frozen=True)
class Led:
    """A view of a never-faulty leader; times (ns) at which the first and the last never-faulty node entered it."""

    view: int
    leader: str
    first: int
    last: int


def led_views(index: Index) -> list[Led]:
    """Views by number whose leader and all never-faulty nodes entered them, from two Delta after the heal on.

    Two Delta: what was under way at the heal has arrived, and the view before was entered after it.
    """
    return once(index, _led_views)


def _led_views(index: Index) -> list[Led]:
    leader = schedule(index)
    steady = [node for node in index.steady if node in index.info.tribe]
    since = max(index.info.heal, index.info.load_start) + int(2 * index.bounds.delta_ms * MS)
    entered: dict[int, dict[str, int]] = {}
    wanted = set(steady)
    for event in index.events("enter"):
        if event["node"] in wanted:
            entered.setdefault(event["view"], {}).setdefault(event["node"], int(event["time"]))
    found = []
    for view, times in sorted(entered.items()):
        if len(times) == len(steady) and leader(view) in times and min(times.values()) >= since:
            found.append(Led(view, leader(view), min(times.values()), max(times.values())))
    return found
