"""Who leads a view (protocol.md 1.7) under a schedule that run.json names."""

from __future__ import annotations

from collections.abc import Sequence

from checkers.evidence import EvidenceError


class Schedule:
    """leader(view) under the schedule that run.json names. Raises EvidenceError for one that nobody knows."""

    def __init__(self, tribe: Sequence[str], kind: str, order: Sequence[str] = ()) -> None:
        if kind == "round-robin":
            self.cycle = tuple(tribe)
        elif kind == "fair-succession":
            self.cycle = tuple(tribe[place] for place in _fair(len(tribe)))
        elif kind == "fixed" and order and set(order) <= set(tribe):
            self.cycle = tuple(order)
        else:
            raise EvidenceError(f"run.json: leaders {kind!r:.40} {list(order)!r:.80} are no schedule of this tribe")

    def __call__(self, view: int) -> str:
        """The name of the leader of `view`."""
        return self.cycle[view % len(self.cycle)]


def _fair(n: int) -> list[int]:
    """A closed walk over all n(n-1) ordered pairs: from member i to i+1 at first, to i+2 the next time, and so on."""
    visits = [0] * n
    walk = [0]
    while visits[walk[-1]] < n - 1:
        at = walk[-1]
        visits[at] += 1
        walk.append((at + visits[at]) % n)
    return walk[:-1] or [0]
