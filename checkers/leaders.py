"""Who leads a view (protocol.md 1.7), recomputed from run.json alone."""

from __future__ import annotations

from collections.abc import Sequence

from checkers.evidence import EvidenceError
from checkers.index import Index, once


class Schedule:
    """leader(view) under the schedule that run.json names. Raises EvidenceError for one that nobody knows."""

    def __init__(self, tribe: Sequence[str], kind: str, order: Sequence[str] = ()) -> None:
        if kind == "round-robin":
            self._cycle = tuple(tribe)
        elif kind == "fair-succession":
            self._cycle = tuple(tribe[place] for place in _fair(len(tribe)))
        elif kind == "fixed" and order and set(order) <= set(tribe):
            self._cycle = tuple(order)
        else:
            raise EvidenceError(f"run.json: leaders {kind!r:.40} {list(order)!r:.80} are no schedule of this tribe")

    def __call__(self, view: int) -> str:
        """The name of the leader of `view`."""
        return self._cycle[view % len(self._cycle)]


def _fair(n: int) -> list[int]:
    """A closed walk over all n(n-1) ordered pairs: from member i to i+1 at first, to i+2 the next time, and so on."""
    visits = [0] * n
    walk = [0]
    while visits[walk[-1]] < n - 1:
        at = walk[-1]
        visits[at] += 1
        walk.append((at + visits[at]) % n)
    return walk[:-1] or [0]


def schedule(index: Index) -> Schedule:
    """The schedule of a run, made once. Raises EvidenceError where run.json names none."""
    return once(index, _schedule)


def _schedule(index: Index) -> Schedule:
    declared = index.info.leaders
    if not declared:
        raise EvidenceError("run.json does not say who leads which view (`leaders`); it is of an older version")
    return Schedule(index.info.tribe, str(declared.get("kind", "")), declared.get("order") or ())
