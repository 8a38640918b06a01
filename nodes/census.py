"""How full the stores of a node are, told at intervals as the trace event `buffers` (protocol.md 6.3, L-MEM).

Only stores that somebody else's messages can grow are counted, by name; of those that are kept per peer the fullest
one counts, since their caps are per peer too. What grows with the chain itself (blocks, final bodies, accounts) is not
among them. The caps are the judge's business (checkers/memory.py): a node that told its own would be believed.
"""

from __future__ import annotations

from collections.abc import Callable

from nodes.port import Emit, SetTimer

TIMER = "census:take"
FIRST_NS = 250_000_000  # after the start of an incarnation
EVERY_NS = 1_000_000_000

Count = Callable[[], dict[str, int]]


class Census:
    """`parts`: (prefix, how to count), one a core; cores of one prefix (a gateway's executions) tell the fullest."""

    __slots__ = ("_parts",)

    def __init__(self, *parts: tuple[str, Count]) -> None:
        self._parts = parts

    def begin(self, now: int) -> SetTimer:
        """When the first one is due."""
        return SetTimer(TIMER, now + FIRST_NS)

    def take(self, now: int, view: int, final: int) -> tuple[Emit, SetTimer]:
        """Count now; `view` and `final` (the view of the newest final block) say how many views are open."""
        return Emit("buffers", {"view": view, "final": final, "sizes": self.sizes()}), SetTimer(TIMER, now + EVERY_NS)

    def sizes(self) -> dict[str, int]:
        """Entries by store."""
        found: dict[str, int] = {}
        for prefix, count in self._parts:
            for name, entries in count().items():
                store = f"{prefix}.{name}"
                found[store] = max(entries, found.get(store, 0))
        return found
