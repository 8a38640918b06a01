"""A simulated cluster behind the same port as the real ones (faults.port.Cluster, harness.backends.port)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from faults.byzantine.registry import corrupt
from faults.byzantine.side_channel import LOAD_START
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
from harness.backends.port import ClusterSpec, NodeSpec
from harness.backends.sim.blackboard import Blackboard
from harness.backends.sim.disk import Disk
from harness.backends.sim.door import Door
from harness.backends.sim.draws import salt
from harness.backends.sim.kernel import Kernel
from harness.backends.sim.links import Links
from harness.backends.sim.node import SimNode
from harness.backends.sim.wire import Suspects
from nodes.committee import Committee
from nodes.crypto import Domain, Verifier
from nodes.ideal import IdealSigner, IdealVerifier
from nodes.port import Node, clan_group
from nodes.supra import SupraNode

ELSEWHERE = {Capability.STREAM, Capability.PROGRAM, Capability.MEMBERSHIP, Capability.DISK_FULL}
CAPABILITIES = frozenset(Capability) - ELSEWHERE
BOOT_NS = 1_000_000  # a restarted process answers after that
PROBE_S = 30.0
UNTRACED = frozenset((
    "vote", "certify", "lock", "enter", "state_vote", "state_certificate", "execute", "availability_vote", "available",
    "buffers",
))  # fmt: skip  # left out of a lean trace


class SimCluster:
    """Every node, link, disk and clock of one run, in one process."""

    backend = "sim"
    layer = "sim"
    capabilities = CAPABILITIES

    def __init__(self, spec: ClusterSpec, kernel: Kernel) -> None:
        self.roster: Roster = spec.roster
        self.gateways: Mapping[NodeId, str] = {name: f"sim://{name}" for name in spec.roster.gateways}
        self.kernel = kernel
        self.spec = spec
        self.committee = Committee(spec.config)
        self.domain = Domain(spec.config.chain, spec.config.epoch, spec.config.cycle)
        seeds = [bytes.fromhex(node.secret_key) for node in spec.nodes]
        self._referee = IdealVerifier([*seeds, *spec.wallets])
        self._board = Blackboard(spec.roster.byzantine)
        names = [node.id for node in spec.nodes]
        suspects = Suspects([i for i, node in enumerate(spec.nodes) if node.byzantine], self._refuse)
        groups = {"tribe": self.committee.tribe, "gateways": self.committee.gateways}
        groups["everyone"] = self.committee.members("everyone")
        groups.update({clan_group(i): clan for i, clan in enumerate(self.committee.clans)})
        physics = spec.physics
        self.links = Links(
            names, groups, dict(spec.base), kernel, spec.seed, suspects, physics.transport == "stream",
            physics.egress_mbit,
        )  # fmt: skip
        self.nodes: dict[NodeId, SimNode] = {}
        skipped = UNTRACED if physics.trace == "lean" else frozenset()
        for index, node in enumerate(spec.nodes):
            disk = Disk(int(physics.sync_ms * 1e6))
            own = salt(spec.seed, "node", node.id)
            built = SimNode(index, node.id, own, kernel, self.links, disk, partial(self._core, node), skipped)
            self.links.inlets[index].node = self.nodes[node.id] = built
        self._lanes = physics.votes == "lanes"

    def _core(self, node: NodeSpec) -> Node:
        """The core of a new incarnation, corrupted if the node is."""

        def build() -> Node:
            return SupraNode(node.id, self.spec.config, IdealSigner(bytes.fromhex(node.secret_key)), self.verifier)

        if node.byzantine is None:
            return build()
        channel = self._board.channel(node.id)
        return corrupt(build(), self.committee, self.domain, node.byzantine, channel, IdealSigner, build)

    @property
    def verifier(self) -> Verifier:
        """The referee of the ideal signatures."""
        return self._referee

    def _refuse(self, receiver: int, sender: NodeId, why: str) -> None:
        self.nodes[self.links.names[receiver]].rejects.add(why, sender)

    # ------------------------------------------------------------ life
    def bring_up(self) -> None:
        """Start every node, at time zero."""
        if self._lanes:
            self.links.open_lanes(self.committee, self.domain, self.verifier)
        for node in self.nodes.values():
            node.start()
        self.links.born(*range(len(self.nodes)))

    async def stop(self) -> None:
        """Orderly stop of every node that runs. The traces are in memory."""
        for node in self.nodes.values():
            node.stop()

    def trace_file(self, node: NodeId) -> Path:
        """Simulated nodes write no files of their own."""
        return self.spec.directory / "nodes" / node / "data" / "trace.jsonl"

    def http(self) -> Door:
        """The wallets' way to the gateways."""
        return Door(self.nodes)

    def announce_load(self, load_start: int) -> None:
        """Over the coalition's side channel."""
        self._board.tell(LOAD_START, load_start)

    def now(self) -> int:
        return self.kernel.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    # ------------------------------------------------------------ network
    async def cut(self, links: Iterable[Link]) -> None:
        self.links.cut(self._known(links))

    async def heal(self, links: Iterable[Link]) -> None:
        self.links.heal(self._known(links))

    async def shape(self, links: Iterable[Link], shape: Shape) -> None:
        for link in self._known(links):
            self.links.reshape(link, shape)

    async def unshape(self, links: Iterable[Link]) -> None:
        for link in self._known(links):
            self.links.reshape(link, None)

    async def counters(self) -> Mapping[Link, LinkCount]:
        return self.links.counters()

    async def add_rule(self, rule: MessageRule) -> int:
        self._known(rule.links)
        return self.links.add_rule(rule)

    async def remove_rule(self, number: int) -> RuleCount:
        return self.links.remove_rule(number)

    async def rules(self) -> tuple[int, ...]:
        return self.links.rules

    async def watch(self, links: Iterable[Link], kinds: Collection[str] = ()) -> int:
        return self.links.watch(self._known(links), kinds)

    async def unwatch(self, number: int) -> Passage:
        return self.links.unwatch(number)

    async def rtt_ms(self, link: Link) -> float | None:
        """The round trip of an empty packet that is sent for this; None when it is lost or not back in time."""

        def there_and_back(ended: Callable[[bool], None]) -> None:
            back = (link[1], link[0])
            self.links.probe(link, lambda arrived: self.links.probe(back, ended) if arrived else ended(False))

        return await self._timed(there_and_back)

    async def transfer_ms(self, link: Link, size: int) -> float | None:
        return await self._timed(lambda ended: self.links.probe(link, ended, size))

    async def _timed(self, begin: Callable[[Callable[[bool], None]], None]) -> float | None:
        """Milliseconds until what `begin` sets going reports that it arrived; None when it is lost, or takes longer
        than PROBE_S."""
        back: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        start = self.kernel.now

        def ended(arrived: bool) -> None:
            if not back.done():
                back.set_result(arrived)

        begin(ended)
        await asyncio.wait([back], timeout=PROBE_S)
        return (self.kernel.now - start) / 1e6 if back.done() and back.result() else None

    # ------------------------------------------------------------ processes
    async def kill(self, node: NodeId) -> None:
        self._node(node).kill()
        self.links.died(self._node(node).index)

    async def power_loss(self, node: NodeId) -> int:
        lost = self._node(node).disk.power_loss()
        await self.kill(node)
        return lost

    async def start(self, node: NodeId) -> None:
        await asyncio.sleep(BOOT_NS / 1e9)
        self._node(node).start()
        self.links.born(self._node(node).index)

    async def wipe(self, node: NodeId) -> None:
        self._node(node).disk.wipe()

    async def pause(self, node: NodeId) -> None:
        self.links.account()
        self._node(node).pause()

    async def resume(self, node: NodeId) -> None:
        self.links.account()
        self._node(node).resume()

    async def slow_disk(self, node: NodeId, sync_ms: float) -> None:
        self._node(node).disk.sync_ns = int(sync_ms * 1e6)

    async def read_disk(self, node: NodeId) -> DiskCount:
        disk = self._node(node).disk
        return DiskCount(disk.sync_ns / 1e6, disk.syncs, disk.sync_time / 1e6)

    async def set_clock(self, node: NodeId, skew_ms: float, drift_ppm: float) -> None:
        self._node(node).set_clock(skew_ms, drift_ppm)

    async def read_clock(self, node: NodeId) -> int:
        return self._node(node).clock.now()

    async def status(self, node: NodeId) -> NodeStatus:
        it = self._node(node)
        if not it.up or it.paused:
            return NodeStatus(node, False)
        core: Any = it.core
        return NodeStatus(
            node, True, it.incarnation, core.view, core.height, core.executed, core.certified, it.rejects.total,
            it.index + 1,
        )  # fmt: skip

    # ------------------------------------------------------------ helpers
    def _node(self, name: NodeId) -> SimNode:
        if name not in self.nodes:
            raise KeyError(f"no node named {name!r}; this cluster has {', '.join(self.nodes)}")
        return self.nodes[name]

    def _known(self, links: Iterable[Link]) -> list[Link]:
        """The links, each once. Raises KeyError on one that does not exist."""
        wanted = list(dict.fromkeys(links))
        for a, b in wanted:
            if a not in self.nodes or b not in self.nodes or a == b:
                raise KeyError(f"no link {a}>{b}; nodes are {', '.join(self.nodes)}")
        return wanted
