"""Who leads a view (protocol.md 1.7): round-robin, fair succession, or a fixed order."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from nodes.committee import LeaderSchedule
from nodes.messages import NodeId


def fair_succession(n: int) -> tuple[int, ...]:
    """Cycle of n(n-1) member indices in which every ordered pair i != j occurs once as consecutive leaders.

    Walk from member 0, each time to the front of the current member's successor list [i+1, .., i+n-1 mod n].
    """
    successors = [[(i + step) % n for step in range(1, n)] for i in range(n)]
    cycle: list[int] = []
    leader = 0
    while successors[leader]:
        cycle.append(leader)
        leader = successors[leader].pop(0)
    return tuple(cycle) or (0,)


@lru_cache(maxsize=4)
def _cycle(tribe: tuple[NodeId, ...], schedule: LeaderSchedule) -> tuple[NodeId, ...]:
    """Shared by the nodes of one process: fair succession among 300 has 89,700 entries."""
    if schedule.kind == "fixed" and schedule.order:
        return schedule.order
    if schedule.kind == "fair-succession":
        return tuple(tribe[i] for i in fair_succession(len(tribe)))
    return tribe


class Leaders:
    """leader(v) of a tribe under the schedule that the genesis names."""

    def __init__(self, tribe: Sequence[NodeId], schedule: LeaderSchedule) -> None:
        self._cycle = _cycle(tuple(tribe), schedule)

    def __call__(self, view: int) -> NodeId:
        """The leader of `view`: the schedule's entry at view mod its length."""
        return self._cycle[view % len(self._cycle)]
