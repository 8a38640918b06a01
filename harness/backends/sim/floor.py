"""What vote lanes stand on: the delays, tie-breaks and doors of the links (lanes.Floor)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from faults.port import NodeId
from harness.backends.sim.draws import MASK, tie_break
from harness.backends.sim.ends import Inlet
from harness.backends.sim.kernel import Kernel
from nodes.messages import Message


class Doors(Protocol):
    """What the floor needs of the links."""

    names: tuple[NodeId, ...]
    index: dict[NodeId, int]
    inlets: list[Inlet]


class LaneFloor:
    """`ties` and `delays` by sender and receiver, as the links have them (the delays change under our feet)."""

    def __init__(self, doors: Doors, kernel: Kernel, ties: list[list[int]], delays: list[list[int]]) -> None:
        self.names, self.index = doors.names, doors.index
        self._inlets, self._kernel = doors.inlets, kernel
        self._ties, self._delay = ties, delays
        self._salts = np.array(ties, dtype=np.uint64)
        self._columns = [[row[to] for row in ties] for to in range(len(ties))]  # by receiver

    def early(self, senders: Sequence[int], to: int, at: int, tie: int) -> list[int]:
        """Those of the senders whose message that arrives at `at` has a tie-break of `tie` at most."""
        salts, odd = self._columns[to], at | 1  # draws.tie_break, written out: this is asked for every vote
        return [sender for sender in senders if ((salts[sender] * odd) & MASK) >> 32 <= tie]

    def ties(self, senders: Sequence[int], to: Sequence[int], at: int) -> NDArray[np.uint64]:
        """Tie-breaks of messages that arrive at `at`: senders by receivers."""
        return (self._salts[np.ix_(senders, to)] * np.uint64(at | 1)) >> np.uint64(32)

    def delay(self, sender: int, to: int) -> int:
        """Constant delay of a link, ns."""
        return self._delay[sender][to]

    def classes(self) -> list[list[int]]:
        """Nodes by equal delays from every other node, a class each, in order of their first members."""
        found: list[list[int]] = []
        for j in range(len(self.names)):
            for members in found:
                k = members[0]
                alike = all(self._delay[i][j] == self._delay[i][k] for i in range(len(self.names)) if i not in (j, k))
                if alike and (len(members) == 1 or self._delay[k][j] == self._delay[members[1]][j]):
                    members.append(j)
                    break
            else:
                found.append([j])
        return found

    def deliver(self, sender: int, to: int, message: Message) -> None:
        """Hand a message to a node now, uncounted."""
        node = self._inlets[to].node
        if node is not None and node.up:
            node.receive(self.names[sender], message)

    def single(self, at: int, sender: int, to: int, message: Message, sequence: int) -> None:
        """Have one message arrive at `at` as an ordinary one that was sent with this sequence number."""
        tie = tie_break(self._ties[sender][to], at)
        self._kernel.scheduler.put(at, tie, self._inlets[to].arrive, sender, message, sequence)
