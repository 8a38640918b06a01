"""A running system that is not ours: programs on some ground (processes, containers), Toxiproxy between them, and an
observer for each node. See faults.port.Cluster and harness.backends.port.RunningCluster for the contract."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from faults.port import Capability, Link, LinkCount, NodeId, NodeStatus, Roster, Shape
from harness.backends.node_files import wipe_disk
from harness.backends.port import MachineError, ProgramSpec
from harness.backends.ports import PortTakenError
from harness.http import HttpClient
from harness.targets.agent import Agent, status_of
from harness.targets.port import Address, Membership, Program
from harness.targets.site import ProgramNode, ProgramSite

_T = TypeVar("_T")
START_S = 90.0  # for all nodes to answer for the first time
ANSWER_S = 10.0  # for one that was started again; after that whoever started it has to look
STOP_S = 5.0
DATA = "data"  # below a node's home: what a wipe loses
_TAKEN = "address already in use"


class Ground(Protocol):
    """Where programs run."""

    backend: str
    binaries: Mapping[str, str]  # program -> path, as the nodes see it
    homes: Mapping[NodeId, str]  # home directories, as the nodes see them
    addresses: Mapping[tuple[NodeId, str], Address]  # (node, port) -> where it listens, for nodes and harness alike

    async def spawn(self, program: Program) -> None:
        """Start it; its files are in place. Raises MachineError."""
        ...

    async def running(self, node: NodeId) -> bool:
        """Is it alive (maybe frozen)?"""
        ...

    def pid(self, node: NodeId) -> int:
        """Its process, 0 when it is down."""
        ...

    async def kill(self, node: NodeId) -> None:
        """kill -9; returns when it is gone; nothing to do for one that is down."""
        ...

    async def terminate(self, node: NodeId, patience_s: float) -> None:
        """Ask it to end, and kill it if it has not by then."""
        ...

    async def pause(self, node: NodeId) -> None: ...

    async def resume(self, node: NodeId) -> None: ...

    async def tail(self, node: NodeId) -> str:
        """The end of what it printed."""
        ...

    async def close(self) -> None:
        """Remove everything, whatever state it is in; keep what the nodes printed."""
        ...


class ProgramLinks(Protocol):
    """What lies between the programs."""

    name: str
    counted: str  # "bytes" | "packets": what `counters` counts

    def dial(self, source: NodeId, node: NodeId) -> Address: ...

    def shared(self, node: NodeId) -> Address: ...

    def resolver(self, node: NodeId, wrapper: str) -> Mapping[str, str]: ...

    async def open(self) -> None:
        """Ready for traffic. Raises PortTakenError, MachineError."""
        ...

    async def cut(self, links: Iterable[Link]) -> None: ...

    async def heal(self, links: Iterable[Link]) -> None: ...

    async def shape(self, links: Iterable[Link], extra: Shape | None) -> None:
        """Base plus `extra`; None: the base alone."""
        ...

    async def counters(self) -> Mapping[Link, LinkCount]: ...

    async def refresh(self) -> None:
        """A node was started again."""
        ...

    async def close(self) -> None: ...


class ProgramCluster:
    """One run of a target."""

    def __init__(
        self, spec: ProgramSpec, ground: Ground, links: ProgramLinks, capabilities: frozenset[Capability]
    ) -> None:
        self.backend = ground.backend
        self.layer, self.counted = links.name, links.counted
        self.capabilities = capabilities
        self.gateways: Mapping[NodeId, str] = {}
        self._spec, self._ground, self._target = spec, ground, spec.target
        self._start_ns = time.monotonic_ns()
        self._names = spec.roster.nodes
        self._links = links
        self._http = HttpClient()
        self._nodes = {node: ProgramNode(node, ground.addresses, self._http) for node in self._names}
        self._programs: dict[NodeId, Program] = {}
        self._agents: dict[NodeId, Agent] = {}
        self._paused: set[NodeId] = set()
        self._stopped = False
        self.site = ProgramSite(
            self._names, spec.seed, ground.homes, ground.binaries, ground.addresses, links, spec.target.ports[0]
        )

    # ---------------------------------------------------------------- life
    async def bring_up(self) -> None:
        """Links first, then nodes, until all of them answer. Raises PortTakenError, MachineError."""
        (self._spec.directory / "logs").mkdir(parents=True, exist_ok=True)
        await self._links.open()
        self._programs = {program.node: program for program in self._target.programs(self.site)}
        missing = set(self._names) - set(self._programs)
        if missing:
            raise RuntimeError(f"target {self._target.name}: programs() left out {', '.join(sorted(missing))}")
        for node in self._names:
            self._home(node).mkdir(parents=True, exist_ok=True)
            self._agents[node] = Agent(self._target, self._nodes[node], self.trace_file(node), self.now)
        await _all(self._spawn(node) for node in self._names)
        await _all(self._answers(node, START_S, must=True) for node in self._names)
        for agent in self._agents.values():
            agent.watch()

    async def stop(self) -> None:
        """See `RunningCluster`: read the nodes a last time, then end them."""
        if self._stopped:
            return
        self._stopped = True
        for node in sorted(self._paused):
            await self.resume(node)
        await _all(agent.observe() for agent in self._agents.values())
        await _all(agent.close() for agent in self._agents.values())
        await _all(self._ground.terminate(node, STOP_S) for node in self._programs)

    async def close(self) -> None:
        """Nothing is left afterwards but files."""
        try:
            await _all(agent.close() for agent in self._agents.values())
            await self._http.__aexit__(None, None, None)
            await self._links.close()
        finally:
            await self._ground.close()

    # ---------------------------------------------------------------- clock
    def now(self) -> int:
        """Nanoseconds since the start of the run."""
        return time.monotonic_ns() - self._start_ns

    async def sleep(self, seconds: float) -> None:
        """Real time."""
        await asyncio.sleep(seconds)

    # ---------------------------------------------------------------- network
    async def cut(self, links: Iterable[Link]) -> None:
        """Nothing passes on the directed links any more; nobody is told."""
        await self._links.cut(links)

    async def heal(self, links: Iterable[Link]) -> None:
        """Undo one cut of each link. Raises ValueError for a link that is not cut."""
        await self._links.heal(links)

    async def shape(self, links: Iterable[Link], shape: Shape) -> None:
        """On top of the base; UnsupportedError for what this layer cannot do."""
        await self._links.shape(links, shape)

    async def unshape(self, links: Iterable[Link]) -> None:
        """Back to the base shape."""
        await self._links.shape(links, None)

    async def counters(self) -> Mapping[Link, LinkCount]:
        """Bytes or packets (`counted`), as the kernel counted them."""
        return await self._links.counters()

    # ---------------------------------------------------------------- processes
    async def kill(self, node: NodeId) -> None:
        """SIGKILL; returns when the process is gone."""
        self._known(node).upset(down=True)
        await self._ground.kill(node)
        self._paused.discard(node)

    async def start(self, node: NodeId) -> None:
        """Start it again on its disk; returns when it answers, or after some seconds if it lives (it may wait for
        others). Raises MachineError when it ends."""
        self._known(node)
        await self._spawn(node)
        await self._answers(node, ANSWER_S, must=False)

    async def wipe(self, node: NodeId) -> None:
        """Lose the disk of a node that is down."""
        self._known(node)
        if await self._ground.running(node):
            raise ValueError(f"wipe of {node}, which is running; kill it first")
        disk = self._home(node) / DATA
        if disk.is_dir():
            wipe_disk(disk)

    async def pause(self, node: NodeId) -> None:
        """Freeze it."""
        self._known(node).upset()
        await self._ground.pause(node)
        self._paused.add(node)

    async def resume(self, node: NodeId) -> None:
        """Thaw it."""
        self._known(node).upset()
        await self._ground.resume(node)
        self._paused.discard(node)

    async def status(self, node: NodeId) -> NodeStatus:
        """What it says of itself."""
        agent = self._known(node)
        return status_of(node, await agent.observe(), agent.incarnation, self._ground.pid(node))

    # ---------------------------------------------------------------- members
    async def members(self) -> tuple[NodeId, ...]:
        """See `faults.port.Members`."""
        return tuple(await self._of_somebody(None, lambda target, via: target.members(via)))

    async def remove_member(self, node: NodeId) -> None:
        """See `faults.port.Members`."""
        await self._of_somebody(node, lambda target, via: target.remove(node, via))
        await self.kill(node)
        await self.wipe(node)

    async def add_member(self, node: NodeId) -> None:
        """See `faults.port.Members`."""
        program = await self._of_somebody(node, lambda target, via: target.admit(node, via, self.site))
        self._programs[node] = program
        await self.start(node)

    async def _of_somebody(self, but: NodeId | None, ask: Callable[[Membership, ProgramNode], Awaitable[_T]]) -> _T:
        """Ask the nodes that are up, but not this one, until one answers."""
        assert isinstance(self._target, Membership)
        errors = []
        for node in self._names:
            if node == but or not (await self.status(node)).up:
                continue
            try:
                return await ask(self._target, self._nodes[node])
            except ConnectionError as error:
                errors.append(f"{node}: {error}")
        raise MachineError(f"no node changed its members: {'; '.join(errors) or 'none is up'}")

    # ---------------------------------------------------------------- who
    @property
    def roster(self) -> Roster:
        """Who is who; "the leader" is whom most nodes take for it now."""
        heard = [agent.leader for agent in self._agents.values() if agent.leader in self._names]
        if not heard:
            return self._spec.roster
        leader = max(sorted(set(heard)), key=heard.count)
        return msgspec.structs.replace(self._spec.roster, leaders=(leader,))

    def clients(self) -> Mapping[NodeId, ProgramNode]:
        """The nodes that clients may ask."""
        return self._nodes

    def http(self) -> HttpClient:
        """Straight to the nodes."""
        return HttpClient()

    def announce_load(self, load_start: int) -> None:
        """Nobody here waits for it."""

    def trace_file(self, node: NodeId) -> Path:
        """What its observer wrote."""
        return self._spec.directory / "nodes" / node / "trace.jsonl"

    # ---------------------------------------------------------------- helpers
    def _known(self, node: NodeId) -> Agent:
        if node not in self._agents:
            raise KeyError(f"no node named {node!r}; this cluster has {', '.join(self._names)}")
        return self._agents[node]

    def _home(self, node: NodeId) -> Path:
        return self._spec.directory / "nodes" / node / "home"

    async def _spawn(self, node: NodeId) -> None:
        program = self._programs[node]
        for name, content in program.files.items():
            path = self._home(node) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_bytes(content)
                path.chmod(0o600)  # keys among them
        (self._home(node) / DATA).mkdir(mode=0o700, exist_ok=True)
        await self._ground.spawn(program)
        await self._links.refresh()
        self._agents[node].born()

    async def _answers(self, node: NodeId, limit_s: float, must: bool) -> None:
        """Wait until it answers. Raises PortTakenError or MachineError if it ends, or (`must`) does not answer."""
        deadline = time.monotonic() + limit_s
        while await self._agents[node].observe() is None:
            if not await self._ground.running(node):
                said = await self._ground.tail(node)
                if _TAKEN in said.lower():
                    raise PortTakenError(f"{node} cannot have its port")
                raise MachineError(f"node {node} ended at its start; it said:\n{said}")
            if time.monotonic() > deadline:
                if not must:
                    return
                said = await self._ground.tail(node)
                raise MachineError(
                    f"node {node} did not answer within {limit_s:g} s; is the machine overloaded? It said:\n{said}"
                )
            await asyncio.sleep(0.1)


async def _all(calls: Iterable[Awaitable[object]]) -> None:
    """All of them, at the same time; the first error once all have ended."""
    for result in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
