"""A backend without nodes: heights that tick, gateways that apply every transaction after a moment. Tests only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import msgspec

from faults.byzantine.port import Behaviour
from faults.port import Capability, Cluster, Link, LinkCount, NodeId, NodeStatus, Receipt, Shape
from harness.backends.port import ClusterSpec, MachineError, RunningCluster
from harness.http import HttpClient
from nodes.messages import Transaction, Transfer, tx_id

ALL = frozenset(Capability)
BLOCK_S = 0.05


class FakeCluster:
    """Implements RunningCluster: every node finalises a block every 50 ms and writes it to its trace."""

    backend = "fake"
    layer = "none"

    def __init__(self, spec: ClusterSpec, capabilities: frozenset[Capability]) -> None:
        self.spec = spec
        self.roster = spec.roster
        self.capabilities = capabilities
        self.gateways: Mapping[NodeId, str] = {}
        self.cuts: list[Link] = []
        self.hurt = asyncio.Event()  # a link was cut
        self.down: set[NodeId] = set()
        self.stopped = False
        self.seen: list[str] = []  # every transaction submitted, duplicates too
        self.outcome = "applied"  # what gateways answer
        self.silent = False  # gateways accept, and never answer more
        self.attack_fails = ""  # why corrupted nodes halt
        self.stuck = False  # no block is ever finalised
        self.lost = ""  # why nobody can be asked any more
        self.asked = asyncio.Event()  # somebody wanted to know how a node is
        self.height = 0
        self.announced: list[int] = []  # load starts that the corrupted nodes were told
        self._start = time.monotonic_ns()
        self._status: dict[str, dict[str, Any]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._servers: list[asyncio.Server] = []

    def now(self) -> int:
        return time.monotonic_ns() - self._start

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def cut(self, links: Iterable[Link]) -> None:
        self.cuts += links
        self.hurt.set()

    async def heal(self, links: Iterable[Link]) -> None:
        for link in links:
            self.cuts.remove(link)

    async def shape(self, links: Iterable[Link], shape: Shape) -> None:
        del links, shape

    async def unshape(self, links: Iterable[Link]) -> None:
        del links

    async def counters(self) -> Mapping[Link, LinkCount]:
        return {}

    async def kill(self, node: NodeId) -> None:
        self.down.add(node)

    async def start(self, node: NodeId) -> None:
        self.down.remove(node)

    async def wipe(self, node: NodeId) -> None:
        del node

    async def pause(self, node: NodeId) -> None:
        self.down.add(node)

    async def resume(self, node: NodeId) -> None:
        self.down.remove(node)

    async def status(self, node: NodeId) -> NodeStatus:
        self.asked.set()
        if self.lost:
            raise MachineError(self.lost)
        if node in self.down:
            return NodeStatus(node, False)
        return NodeStatus(node, True, 1, self.height, self.height, self.height, self.height)

    def http(self) -> HttpClient:
        return HttpClient()

    def announce_load(self, load_start: int) -> None:
        self.announced.append(load_start)

    def trace_file(self, node: NodeId) -> Path:
        return self.spec.directory / "nodes" / node / "trace.jsonl"

    async def stop(self) -> None:
        self.stopped = True
        for node in self.spec.nodes:
            if node.byzantine is not None:
                for behaviour in node.byzantine.behaviours:
                    fields = {"id": behaviour.id, "name": behaviour.use, "matched": 3, "changed": 2, "dropped": 1}
                    self.trace(node.id, "behaviour", **fields, injected=0)
                if self.attack_fails:
                    self.trace(node.id, "halt", reason=self.attack_fails)  # as the core's shell says it
                    self.trace(node.id, "halt", reason=f"BehaviourError: {self.attack_fails}")  # and the process

    # ------------------------------------------------------------ what the backend does with it
    async def begin(self) -> None:
        for node in self.spec.nodes:
            self.trace_file(node.id).parent.mkdir(parents=True)
            self.trace(node.id, "start")
        for gateway in self.roster.gateways:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self._servers.append(server)
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            self.gateways = {**self.gateways, gateway: url}
        self._tasks.append(asyncio.create_task(self._tick()))

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for server in self._servers:
            server.close()

    def trace(self, node: NodeId, event: str, **fields: Any) -> None:
        record = {"time": self.now(), "node": node, "incarnation": 1, "event": event, **fields}
        with self.trace_file(node).open("ab") as file:
            file.write(msgspec.json.encode(record) + b"\n")

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(BLOCK_S)
            if self.stuck:
                continue
            self.height += 1
            block = {
                "height": self.height,
                "view": self.height,
                "block": f"{self.height:064x}",
                "parent": f"{self.height - 1:064x}",
                "proposer": "n0",
                "batches": [],
                "rule": "commit-votes",
            }
            for node in self.roster.nodes:
                if node not in self.down:
                    self.trace(node, "finalise", **block)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.append(asyncio.current_task())  # type: ignore[arg-type]
        while line := await reader.readline():
            method, target, _ = line.decode().split()
            length = 0
            while (header := await reader.readline()) not in (b"\r\n", b""):
                name, _, value = header.decode().partition(":")
                length = int(value) if name.lower() == "content-length" else length
            code, body = await self._answer(method, target.partition("?")[0], await reader.readexactly(length))
            data = msgspec.json.encode(body)
            writer.write(f"HTTP/1.1 {code} X\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data)

    async def _answer(self, method: str, path: str, data: bytes) -> tuple[int, dict[str, Any]]:
        if method == "POST":
            transaction = msgspec.msgpack.decode(data, type=Transaction)
            tx = tx_id(transaction).hex()
            self.seen.append(tx)
            if any(isinstance(o, Transfer) and o.amount >= 2**60 for o in transaction.operations):
                return 400, {"tx": tx, "accepted": False, "error": "more than there is"}
            self._status.setdefault(tx, {"tx": tx, "phase": "accepted", "phases": {}, "outcome": "", "reason": ""})
            return 202, {"tx": tx, "accepted": True}
        status = self._status.get(path.rpartition("/")[2], {"phase": "unknown"})
        await asyncio.sleep(3600 if self.silent else BLOCK_S)
        if status["phase"] == "accepted":
            status |= {"phase": "exec", "outcome": self.outcome, "phases": {"pre": 1, "ord": 2, "exec": self.now()}}
        return 200, status


class FakeBackend:
    """Brings up a FakeCluster, with `changes` to its attributes before it begins."""

    name = "fake"
    scheme = "ed25519"
    new_loop = staticmethod(asyncio.new_event_loop)

    def __init__(self, capabilities: frozenset[Capability] = ALL, broken: str = "", **changes: Any) -> None:
        self.capabilities = capabilities
        self.broken = broken
        self.changes = changes
        self.cluster: FakeCluster | None = None
        self.is_up = asyncio.Event()

    def prepare(self, progress: Callable[[str], None]) -> None:
        """There is nothing to prepare."""

    @asynccontextmanager
    async def up(self, spec: ClusterSpec) -> AsyncIterator[RunningCluster]:
        if self.broken:
            raise MachineError(self.broken)
        cluster = self.cluster = FakeCluster(spec, self.capabilities)
        for name, value in self.changes.items():
            setattr(cluster, name, value)
        await cluster.begin()
        self.is_up.set()
        try:
            yield cluster
        finally:
            await cluster.end()


class FakeFault:
    """Cuts the links out of one node, and heals them."""

    name: ClassVar[str] = "fake"
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.CUT})

    def __init__(self, victims: Any = "n0", fail: str = "") -> None:
        self.victim = victims if isinstance(victims, str) else victims[0]
        self.fail = fail

    @asynccontextmanager
    async def inject(self, cluster: Cluster, rng: Random) -> AsyncIterator[Receipt]:
        if self.fail == "inject":
            raise RuntimeError("cannot be injected")
        links = [(self.victim, node) for node in cluster.roster.nodes if node != self.victim]
        receipt = Receipt(self.name, tuple(f"{a}>{b}" for a, b in links), injected=cluster.now(), matched=len(links))
        await cluster.cut(links)
        try:
            yield receipt
            receipt.bit = True
        finally:
            await cluster.heal(links)
            receipt.healed = cluster.now()
            receipt.heal_verified = True
            if self.fail == "heal":
                raise RuntimeError("cannot be healed")


class FakeCrash(FakeFault):
    """Needs what a crash needs."""

    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.KILL})


class FakeAmnesia(FakeFault):
    """Needs what a disk loss needs."""

    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.KILL, Capability.WIPE})


class FakeBehaviour(Behaviour):
    """A behaviour that the fake cluster pretends to run."""

    def __init__(self, share: float = 0.5) -> None:
        super().__init__()
        self.share = share
