"""A cluster for fault tests: virtual time, links that carry keep-alives, nodes that finalise; knobs to misbehave.

`cut_works`, `heal_works`, ... let a test plant the harness mutants of teeth.md group I: a fault must notice each.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from faults.port import (
    Capability,
    DiskCount,
    Link,
    LinkCount,
    MessageRule,
    NodeId,
    NodeStatus,
    Passage,
    Roster,
    RuleCount,
    Shape,
)
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
        self.skew_ms = 0.0
        self.drift_ppm = 0.0
        self.sync_ms = 0.0
        self.unsynced = 3
        self.syncs = 0
        self.synced_ms = 0.0


class _Rule:
    """A rule in force: of the messages it looks at it hits the first, and then every so many-th."""

    def __init__(self, rule: MessageRule) -> None:
        self.rule = rule
        self.every = round(1 / rule.probability)
        self.matched = self.hits = 0

    def hit(self, link: Link) -> bool:
        if self.rule.links and link not in self.rule.links:
            return False
        self.matched += 1
        self.hits += (self.matched - 1) % self.every == 0
        return (self.matched - 1) % self.every == 0


class VirtualCluster:
    """Implements faults.port.Cluster, MessageRules, Machines and Members; every quarter of a second each usable link
    carries one message (of every kind), and each node that runs syncs once."""

    backend = "virtual"
    layer = "virtual"
    capabilities = frozenset(Capability)

    def __init__(self, roster: Roster = ROSTER) -> None:
        self.roster = roster
        self.cut_works = self.heal_works = self.kill_works = self.start_works = self.pause_works = True
        self.wipe_works = self.shape_works = self.counts_losses = self.rules_work = self.clocks_work = True
        self.disks_work = self.members_change = True
        self.known = list(roster.tribe)
        self.in_force: dict[int, _Rule] = {}
        self.watches: dict[int, tuple[frozenset[Link], list[float]]] = {}
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
                node.syncs += 1
                node.synced_ms += node.sync_ms
        for (a, b), count in self._count.items():
            if not self._runs(a):
                continue
            count[0] += 1
            if self.cuts[a, b] and self.cut_works:
                count[2] += 1
            elif self._runs(b):
                count[1] += 1
                self._carry((a, b))
                lossy = (a, b) in self.shapes and self.shapes[a, b].loss > 0.01
                count[2] += 1 if lossy and self.counts_losses else 0

    def _carry(self, link: Link) -> None:
        """One message under the rules in force, before the eyes of the watches."""
        hits = [held.rule for held in self.in_force.values() if held.hit(link)]
        lost = any(rule.action == "drop" for rule in hits)
        late = max((rule.high_ms for rule in hits if rule.action == "delay"), default=0.0) * (not lost)
        copies = sum(rule.action == "duplicate" for rule in hits) * (not lost)
        for links, seen in self.watches.values():
            if link in links:
                grown = (1, not lost, copies, late > 0, late > 0, lost)
                seen[:] = [*(have + new for have, new in zip(seen, grown, strict=False)), max(seen[-1], late)]

    async def add_rule(self, rule: MessageRule) -> int:
        self._pid += 1
        if self.rules_work:
            self.in_force[self._pid] = _Rule(rule)
        return self._pid

    async def remove_rule(self, number: int) -> RuleCount:
        held = self.in_force.get(number)
        if self.heal_works:
            self.in_force.pop(number, None)
        return RuleCount(held.matched, held.hits) if held else RuleCount()

    async def rules(self) -> tuple[int, ...]:
        return tuple(self.in_force)

    async def watch(self, links: Iterable[Link], kinds: Collection[str] = ()) -> int:
        self._pid += 1
        self.watches[self._pid] = (frozenset(links), [0, 0, 0, 0, 0, 0, 0.0])
        return self._pid

    async def unwatch(self, number: int) -> Passage:
        seen = self.watches.pop(number)[1]
        return Passage(*(int(count) for count in seen[:6]), worst_ms=seen[6])

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

    async def power_loss(self, node: NodeId) -> int:
        lost, self.nodes[node].unsynced = self.nodes[node].unsynced, 0
        await self.kill(node)
        return lost

    async def slow_disk(self, node: NodeId, sync_ms: float) -> None:
        if self.disks_work and (self.heal_works or sync_ms):
            self.nodes[node].sync_ms = sync_ms

    async def read_disk(self, node: NodeId) -> DiskCount:
        state = self.nodes[node]
        return DiskCount(state.sync_ms, state.syncs, state.synced_ms)

    async def set_clock(self, node: NodeId, skew_ms: float, drift_ppm: float) -> None:
        if self.clocks_work and (self.heal_works or skew_ms or drift_ppm):
            self.nodes[node].skew_ms, self.nodes[node].drift_ppm = skew_ms, drift_ppm

    async def read_clock(self, node: NodeId) -> int:
        state = self.nodes[node]
        return self._now + int(state.skew_ms * 1e6 + self._now * state.drift_ppm / 1e6)

    async def members(self) -> tuple[NodeId, ...]:
        return tuple(self.known)

    async def remove_member(self, node: NodeId) -> None:
        if self.members_change:
            self.known.remove(node)
        await self.kill(node)

    async def add_member(self, node: NodeId) -> None:
        await self.start(node)
        if node not in self.known and self.heal_works:
            self.known.append(node)

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
        """Is nothing cut, shaped, ruled, down, paused, slow or off?"""
        states = self.nodes.values()
        usual = all(n.up and not n.paused and not (n.sync_ms or n.skew_ms or n.drift_ppm) for n in states)
        usual = usual and set(self.known) == set(self.roster.tribe)
        return usual and not (self.shapes or self.in_force or self.watches) and not any(self.cuts.values())


class MeasuredCluster(VirtualCluster):
    """One that can measure round trips and transfers."""

    async def rtt_ms(self, link: Link) -> float | None:
        both = (link, (link[1], link[0]))
        return BASE_RTT_MS + sum(self.shapes[x].delay_ms for x in both if x in self.shapes)

    async def transfer_ms(self, link: Link, size: int) -> float | None:
        rate = self.shapes[link].rate_kbit if link in self.shapes else 0.0
        return BASE_RTT_MS / 2 + (size * 8 / rate if rate else 0.0)
