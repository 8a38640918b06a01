"""What went over each simulated link: messages, keep-alives, and what was stopped on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from faults.port import Link, LinkCount, NodeId
from harness.backends.sim.ends import Inlet


class Counts:
    """`sent[i][j]` counts messages from i to j ever, `dropped[i][j]` what was stopped since i's process began."""

    def __init__(self, groups: Sequence[Mapping[str, Sequence[int]]]) -> None:
        """`groups`: by sender, whom its multicasts go to."""
        n = len(groups)
        self.sent = [[0] * n for _ in range(n)]
        self.dropped = [[0] * n for _ in range(n)]
        self._zero = [[0] * n for _ in range(n)]  # the reading of `sent` when the sender's process began
        self._beats = [[[0, 0] for _ in range(n)] for _ in range(n)]  # keep-alives sent, received
        self._periods = 0  # of keep-alives, accounted for
        self._audience = [{g: frozenset(targets) for g, targets in own.items()} for own in groups]
        self._casts: list[dict[str, int]] = [{} for _ in range(n)]  # multicasts that went into lanes, by group

    def cast(self, sender: int, group: str) -> None:
        """A multicast went into vote lanes."""
        self._casts[sender][group] = self._casts[sender].get(group, 0) + 1

    def laned(self, sender: int, to: int) -> int:
        """Messages of a link that went into lanes."""
        casts = self._casts[sender]
        return sum(count for group, count in casts.items() if to in self._audience[sender][group]) if casts else 0

    def all_laned(self) -> int:
        """Messages of all links that went into lanes."""
        return sum(
            count * len(self._audience[sender][group])
            for sender, casts in enumerate(self._casts)
            for group, count in casts.items()
        )

    def beat(self, periods: int, inlets: Sequence[Inlet]) -> None:
        """Keep-alives up to this period: both ends must be there, and the link free, for one to arrive."""
        new, self._periods = periods - self._periods, periods
        if not new:
            return
        nodes = [inlet.node for inlet in inlets]
        awake = [node is not None and node.up and not node.paused for node in nodes]
        for i, row in enumerate(self._beats):
            if not awake[i]:
                continue
            for j, beat in enumerate(row):
                beat[0] += new
                if awake[j] and not inlets[j].blocked[i]:
                    beat[1] += new

    def died(self, node: int, inlets: Sequence[Inlet]) -> None:
        """A process ended: its counters begin again."""
        for other in range(len(self.sent)):
            self._zero[node][other] = self.sent[node][other]
            self.dropped[node][other] = 0
            self._beats[node][other][0] = 0
            self._beats[other][node][1] = 0
            inlets[node].received[other] = 0

    def all(self, names: Sequence[NodeId], inlets: Sequence[Inlet]) -> dict[Link, LinkCount]:
        """The counters of every link."""
        out: dict[Link, LinkCount] = {}
        for i, a in enumerate(names):
            for j, b in enumerate(names):
                if i != j:
                    beats, laned = self._beats[i][j], self.laned(i, j)
                    sent = self.sent[i][j] - self._zero[i][j] + beats[0] + laned
                    out[a, b] = LinkCount(sent, inlets[j].received[i] + beats[1] + laned, self.dropped[i][j])
        return out
