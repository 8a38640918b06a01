"""Who leads a view (protocol.md 1.7): round-robin, fair succession, or a fixed order."""

from __future__ import annotations

from collections.abc import Sequence

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


class Leaders:
    """leader(v) of a tribe under the schedule that the genesis names."""

    def __init__(self, tribe: Sequence[NodeId], schedule: LeaderSchedule) -> None:
        if schedule.kind == "fixed" and schedule.order:
            self._cycle = tuple(schedule.order)
        elif schedule.kind == "fair-succession":
            self._cycle = tuple(tribe[i] for i in fair_succession(len(tribe)))
        else:
            self._cycle = tuple(tribe)

    def __call__(self, view: int) -> NodeId:
        """The leader of `view`: the schedule's entry at view mod its length."""
        return self._cycle[view % len(self._cycle)]
