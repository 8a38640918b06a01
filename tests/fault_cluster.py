"""A cluster for fault tests: virtual time, links that carry keep-alives, nodes that finalise; knobs to misbehave.

`cut_works`, `heal_works`, ... let a test plant the harness mutants of teeth.md group I: a fault must notice each.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping

from faults.port import Capability, Link, LinkCount, NodeId, NodeStatus, Roster, Shape
from faults.topology import all_links

ROSTER = Roster(
    tribe=tuple(f"n{i}" for i in range(7)),
    gateways=("g0",),
    clans=(("n0", "n1", "n2", "n3"), ("n4", "n5", "n6")),
    byzantine=("n6",),
    leaders=("n3", "n1", "n5"),
)
TICK_S = 0.25
BASE_RTT_MS = 10.0


class _Node:
    def __init__(self) -> None:
        self.up = True
        self.paused = False
        self.incarnation = 1
        self.pid = 100
        self.height = 5
        self.view = 4


class VirtualCluster:
    """Implements faults.port.Cluster; every quarter of a second each usable link carries one message."""

    backend = "virtual"
    layer = "virtual"
    capabilities = frozenset(Capability)

    def __init__(self, roster: Roster = ROSTER) -> None:
        self.roster = roster
        self.cut_works = self.heal_works = self.kill_works = self.start_works = self.pause_works = True
        self.wipe_works = self.shape_works = self.counts_losses = True
        self.cuts: Counter[Link] = Counter()
        self.shapes: dict[Link, Shape] = {}
        self.calls: list[str] = []
        self.nodes = {node: _Node() for node in roster.nodes}
        self._pid = 200
        self._now = 0
        self._count = {link: [9, 9, 0] for link in all_links(roster.nodes)}  # links that have worked before

    def now(self) -> int:
        return self._now

    def forget(self) -> None:
        """No link has ever carried anything."""
        self._count = {link: [0, 0, 0] for link in self._count}

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        end = self._now + int(seconds * 1e9)
        while self._now < end:
            self._now = min(end, self._now + int(TICK_S * 1e9))
            self._tick()

    def _tick(self) -> None:
        for node in self.nodes.values():
            if node.up and not node.paused:
                node.height += 1
                node.view += 1
        for (a, b), count in self._count.items():
            if not self._runs(a):
                continue
            count[0] += 1
            if self.cuts[a, b] and self.cut_works:
                count[2] += 1
            elif self._runs(b):
                count[1] += 1
                lossy = (a, b) in self.shapes and self.shapes[a, b].loss > 0.01
                count[2] += 1 if lossy and self.counts_losses else 0

    def _runs(self, node: NodeId) -> bool:
        return self.nodes[node].up and not self.nodes[node].paused

    async def cut(self, links: Iterable[Link]) -> None:
        self.cuts.update(links)

    async def heal(self, links: Iterable[Link]) -> None:
        if self.heal_works:
            self.cuts.subtract(links)

    async def shape(self, links: Iterable[Link], shape: Shape) -> None:
        if self.shape_works:
            self.shapes.update(dict.fromkeys(links, shape))

    async def unshape(self, links: Iterable[Link]) -> None:
        if self.heal_works:
            for link in links:
                self.shapes.pop(link, None)

    async def counters(self) -> Mapping[Link, LinkCount]:
        return {link: LinkCount(*count) for link, count in self._count.items()}

    async def kill(self, node: NodeId) -> None:
        self.calls.append(f"kill {node}")
        if self.kill_works:
            self.nodes[node].up = False
            for link, count in self._count.items():
                if node in link:
                    count[0 if link[0] == node else 1] = 0

    async def start(self, node: NodeId) -> None:
        self.calls.append(f"start {node}")
        state = self.nodes[node]
        if not self.start_works:
            raise RuntimeError("port in use")
        if not state.up:
            state.up, state.paused = True, False
            state.incarnation += 1
            self._pid += 1
            state.pid = self._pid

    async def wipe(self, node: NodeId) -> None:
        self.calls.append(f"wipe {node}")
        if self.wipe_works:
            self.nodes[node].incarnation = 0
            self.nodes[node].height = 0

    async def pause(self, node: NodeId) -> None:
        self.calls.append(f"pause {node}")
        self.nodes[node].paused = self.pause_works

    async def resume(self, node: NodeId) -> None:
        self.calls.append(f"resume {node}")
        if self.heal_works:
            self.nodes[node].paused = False

    async def status(self, node: NodeId) -> NodeStatus:
        state = self.nodes[node]
        if not self._runs(node):
            return NodeStatus(node, up=False)
        return NodeStatus(node, True, state.incarnation, state.view, state.height, pid=state.pid)

    def untouched(self) -> bool:
        """Is nothing cut, shaped, down or paused?"""
        usual = all(n.up and not n.paused for n in self.nodes.values())
        return usual and not self.shapes and not any(self.cuts.values())


class MeasuredCluster(VirtualCluster):
    """One that can measure round trips."""

    async def rtt_ms(self, link: Link) -> float | None:
        both = (link, (link[1], link[0]))
        return BASE_RTT_MS + sum(self.shapes[x].delay_ms for x in both if x in self.shapes)
