"""The `process` backend: nodes are processes on loopback; every directed link runs through its own Toxiproxy proxy.

Needs no Docker and no root. A cut disables proxies: connections are closed and new ones refused, so it is felt as a
reset, not as silence. Loss is not available: a stream proxy loses nothing.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from faults.byzantine.side_channel import LOAD_START, announce
from faults.port import Capability, Link, LinkCount, NodeId, NodeStatus, Shape, UnsupportedError
from harness.backends import leftovers, program_process
from harness.backends.control_client import StatusReport, ask_status, link_counts, node_status, round_trip_ms
from harness.backends.port import ClusterSpec, MachineError, ProgramSpec
from harness.backends.ports import PortTakenError, free_ports
from harness.backends.process_nodes import HOST, NodePorts, NodeProcess
from harness.backends.processes import process_ident
from harness.backends.program_cluster import ProgramCluster
from harness.backends.starting import started
from harness.backends.toxiproxy import ProxySpec, Toxiproxy, add_shapes, proxy_name, start_server, toxics_of
from harness.http import HttpClient
from harness.provision.toxiproxy import ensure_toxiproxy
from harness.targets.packaged import provide

CAPABILITIES = frozenset(
    {
        Capability.CUT,
        Capability.LATENCY,
        Capability.BANDWIDTH,
        Capability.KILL,
        Capability.WIPE,
        Capability.PAUSE,
        Capability.STREAM,
        Capability.BYZANTINE,
        Capability.PROGRAM,
        Capability.MEMBERSHIP,  # of a system that is not ours
    }
)
_KILL_S = 10.0


def _silent(_: str) -> None:
    """Progress that nobody asked for."""


class ProcessBackend:
    """Brings clusters of processes up. `progress` hears what provisioning does."""

    name = "process"
    capabilities = CAPABILITIES
    scheme = "ed25519"
    new_loop = staticmethod(asyncio.new_event_loop)

    def __init__(self, progress: Callable[[str], None] = _silent) -> None:
        self._progress = progress

    def prepare(self, progress: Callable[[str], None]) -> None:
        """Have everything that a run needs. Raises MachineError with the cure."""
        ensure_toxiproxy(progress)

    @asynccontextmanager
    async def up(self, spec: ClusterSpec | ProgramSpec) -> AsyncIterator[ProcessCluster | ProgramCluster]:
        """A running cluster; every node answers. On leaving nothing of it is left but its files."""
        binary = await asyncio.to_thread(ensure_toxiproxy, self._progress)
        if isinstance(spec, ProgramSpec):
            programs = await asyncio.to_thread(provide, spec.target.binaries, self._progress)
            async with program_process.up(spec, programs) as programmed:
                yield programmed
            return
        async with started(lambda: ProcessCluster(spec), lambda made: made.bring_up(binary), spec.directory) as cluster:
            yield cluster


class ProcessCluster:
    """A cluster of processes. See faults.port.Cluster and harness.backends.port.RunningCluster for the contract."""

    backend = "process"
    layer = "toxiproxy"
    capabilities = CAPABILITIES

    def __init__(self, spec: ClusterSpec) -> None:
        self.roster = spec.roster
        self.gateways: dict[NodeId, str] = {}
        self._spec = spec
        self._start_ns = time.monotonic_ns()
        self._names = tuple(node.id for node in spec.nodes)
        self._links: tuple[Link, ...] = tuple((a, b) for a in self._names for b in self._names if a != b)
        self._nodes: dict[NodeId, NodeProcess] = {}
        self._extra: dict[Link, Shape] = {}
        self._cuts: Counter[Link] = Counter()
        self._network = asyncio.Lock()
        self._server: subprocess.Popen[bytes] | None = None
        self._proxies: Toxiproxy | None = None
        self._side_channel: Path | None = None

    # ---------------------------------------------------------------- life
    async def bring_up(self, binary: Path) -> None:
        """Proxies first, then nodes. Raises PortTakenError when somebody was quicker, MachineError otherwise."""
        spec = self._spec
        spec.directory.mkdir(parents=True, exist_ok=True)
        (spec.directory / "genesis.json").write_bytes(msgspec.json.encode(spec.config))
        gateways = set(spec.roster.gateways)
        ports = iter(free_ports(1 + len(self._links) + 2 * len(self._names) + len(gateways)))
        api = next(ports)
        proxied = {link: next(ports) for link in self._links}
        for node in spec.nodes:
            own = NodePorts(next(ports), next(ports), next(ports) if node.id in gateways else None)
            self._nodes[node.id] = NodeProcess(spec, node, own)
        self.gateways = {g: f"http://{HOST}:{self._nodes[g].ports.http}" for g in spec.roster.gateways}
        await self._start_proxies(binary, api, proxied)
        if any(node.byzantine for node in spec.nodes):
            self._side_channel = Path(tempfile.mkdtemp(prefix="moonquake-"))  # Unix sockets need a short path
            leftovers.register(spec.run_id, leftovers.DIRECTORY, str(self._side_channel))
        for node in spec.nodes:
            peers = {b: (HOST, port) for (a, b), port in proxied.items() if a == node.id}
            self._nodes[node.id].write(spec, node, peers, self._start_ns, str(self._side_channel or ""))
        for process in self._nodes.values():
            process.spawn()
        await _all(process.ready() for process in self._nodes.values())

    async def _start_proxies(self, binary: Path, api: int, proxied: Mapping[Link, int]) -> None:
        log = self._spec.directory / "logs" / "toxiproxy.log"
        before = log.stat().st_size if log.exists() else 0

        def taken() -> bool:  # a server that cannot listen says so, and does not end
            return b"address already in use" in log.read_bytes()[before:]

        server = self._server = start_server(binary, HOST, api, log)
        leftovers.register(self._spec.run_id, leftovers.PROCESS, process_ident(server.pid))
        proxies = self._proxies = Toxiproxy(HOST, api)
        foreign = f"port {api}, for the proxies' API, is somebody else's"
        try:
            await proxies.wait(lambda: server.poll() is None and not taken())
        except MachineError as error:
            if taken():
                raise PortTakenError(foreign) from error
            raise
        if taken() or await proxies.proxies():  # another harness's Toxiproxy answers just as well
            raise PortTakenError(foreign)
        try:
            await proxies.populate(
                [
                    ProxySpec(proxy_name(link), f"{HOST}:{port}", f"{HOST}:{self._nodes[link[1]].ports.listen}")
                    for link, port in proxied.items()
                ]
            )
        except MachineError as error:
            if "address already in use" in str(error):
                raise PortTakenError(str(error)) from error
            raise
        await proxies.set_toxics({proxy_name(link): toxics_of(self._shape_of(link)) for link in self._links})

    async def stop(self) -> None:
        """Orderly stop of every node that still runs; their traces are complete afterwards."""
        await _all(process.stop() for process in self._nodes.values())

    async def close(self) -> None:
        """Nothing is left running afterwards, even if this is cancelled half-way."""
        try:
            await self.stop()
            if self._proxies is not None:
                await self._proxies.close()
        finally:
            for process in self._nodes.values():
                process.destroy()
            if self._server is not None:
                self._server.kill()
                self._server.wait(_KILL_S)
            if self._side_channel is not None:
                shutil.rmtree(self._side_channel, ignore_errors=True)
            leftovers.forget(self._spec.run_id)

    # ---------------------------------------------------------------- clock
    def now(self) -> int:
        """Nanoseconds since the start of the run."""
        return time.monotonic_ns() - self._start_ns

    async def sleep(self, seconds: float) -> None:
        """Real time."""
        await asyncio.sleep(seconds)

    # ---------------------------------------------------------------- network
    async def cut(self, links: Iterable[Link]) -> None:
        """Disable the links' proxies; a link that is cut twice needs two heals."""
        wanted = self._known(links)
        async with self._network:
            self._cuts.update(wanted)
            try:
                await self._toxiproxy.disable([proxy_name(link) for link in wanted if self._cuts[link] == 1])
            except BaseException:
                self._cuts.subtract(wanted)
                await self._toxiproxy.enable([proxy_name(link) for link in wanted if self._cuts[link] == 0])
                raise

    async def heal(self, links: Iterable[Link]) -> None:
        """Undo one cut of each link. Healing a link that is not cut is an error of the caller (ValueError)."""
        wanted = self._known(links)
        async with self._network:
            whole = [link for link in wanted if self._cuts[link] < 1]
            if whole:
                raise ValueError(f"cannot heal {proxy_name(whole[0])}: it is not cut")
            await self._toxiproxy.enable([proxy_name(link) for link in wanted if self._cuts[link] == 1])
            self._cuts.subtract(wanted)

    async def shape(self, links: Iterable[Link], shape: Shape) -> None:
        """Delay, jitter and rate on top of the base; loss raises UnsupportedError."""
        if shape.loss > 0:
            raise UnsupportedError("loss: a stream proxy loses no packets; use --backend docker")
        wanted = self._known(links)
        async with self._network:
            self._extra.update(dict.fromkeys(wanted, shape))
            await self._apply(wanted)

    async def unshape(self, links: Iterable[Link]) -> None:
        """Back to the base shape."""
        wanted = self._known(links)
        async with self._network:
            for link in wanted:
                self._extra.pop(link, None)
            await self._apply(wanted)

    async def add_toxic(self, links: Iterable[Link], kind: str, attributes: dict[str, int]) -> None:
        """Stream faults: any other Toxiproxy toxic (reset_peer, slicer, slow_close, limit_data, timeout) by type."""
        await _all(self._toxiproxy.add_toxic(proxy_name(link), kind, attributes) for link in self._known(links))

    async def remove_toxic(self, links: Iterable[Link], kind: str) -> None:
        """Undo `add_toxic`."""
        await _all(self._toxiproxy.remove_toxic(proxy_name(link), kind) for link in self._known(links))

    async def counters(self) -> dict[Link, LinkCount]:
        """As the nodes count; `dropped` is the number of dials that the link refused."""
        reports = await self._reports(self._names)
        refused = {(a, b): r.links[b].refused for a, r in reports.items() if r for b in r.links}
        return link_counts(reports, refused)

    async def rtt_ms(self, link: Link) -> float | None:
        """Round trip of the last keep-alives on the link and back; None before the first."""
        return round_trip_ms(link, await self._reports(link))

    # ---------------------------------------------------------------- processes
    async def kill(self, node: NodeId) -> None:
        """SIGKILL; returns when the process is gone."""
        process = self._node(node)
        process.signal(signal.SIGKILL)
        if not await process.gone(_KILL_S):
            raise MachineError(f"node {node} (pid {process.pid}) does not end after SIGKILL; is its disk hanging?")
        process.paused = False

    async def start(self, node: NodeId) -> None:
        """Start a node that is down again, on its disk and its ports."""
        process = self._node(node)
        process.spawn()
        try:
            await process.ready()
        except PortTakenError as error:
            raise MachineError(f"node {node} cannot have its port back: {error}") from error

    async def wipe(self, node: NodeId) -> None:
        """Lose the disk of a node that is down. The trace and the incarnation counter are the lab's and stay."""
        self._node(node).wipe()

    async def pause(self, node: NodeId) -> None:
        """SIGSTOP."""
        self._node(node).signal(signal.SIGSTOP)
        self._node(node).paused = True

    async def resume(self, node: NodeId) -> None:
        """SIGCONT."""
        self._node(node).signal(signal.SIGCONT)
        self._node(node).paused = False

    async def status(self, node: NodeId) -> NodeStatus:
        """What the control port says; not up when it is silent for some seconds."""
        reports = await self._reports([node])
        return node_status(node, reports[node])

    def http(self) -> HttpClient:
        """Over loopback."""
        return HttpClient()

    def announce_load(self, load_start: int) -> None:
        """Over the coalition's side channel."""
        if self._side_channel is not None:
            announce(self._side_channel, self.roster.byzantine, LOAD_START, load_start)

    def trace_file(self, node: NodeId) -> Path:
        """The node's own trace.jsonl."""
        return self._node(node).data / "trace.jsonl"

    # ---------------------------------------------------------------- helpers
    @property
    def _toxiproxy(self) -> Toxiproxy:
        if self._proxies is None:
            raise RuntimeError("the cluster is not up")
        return self._proxies

    def _node(self, node: NodeId) -> NodeProcess:
        if node not in self._nodes:
            raise KeyError(f"no node named {node!r}; this cluster has {', '.join(self._names)}")
        return self._nodes[node]

    def _known(self, links: Iterable[Link]) -> list[Link]:
        """The links, each once. Raises KeyError on one that does not exist."""
        wanted = list(dict.fromkeys(links))
        unknown = set(wanted) - set(self._links)
        if unknown:
            raise KeyError(f"no link {proxy_name(min(unknown))}; nodes are {', '.join(self._names)}")
        return wanted

    def _shape_of(self, link: Link) -> Shape:
        return add_shapes(self._spec.base.get(link, Shape()), self._extra.get(link, Shape()))

    async def _apply(self, links: Iterable[Link]) -> None:
        await self._toxiproxy.set_toxics({proxy_name(link): toxics_of(self._shape_of(link)) for link in links})

    async def _reports(self, nodes: Iterable[NodeId]) -> dict[NodeId, StatusReport | None]:
        names = list(nodes)

        async def one(node: NodeId) -> StatusReport | None:
            process = self._node(node)
            return await ask_status(process.control) if process.running and not process.paused else None

        return dict(zip(names, await asyncio.gather(*(one(n) for n in names)), strict=True))


async def _all(calls: Iterable[Awaitable[None]]) -> None:
    """Run all; when some fail, raise the first failure after every one has ended."""
    for result in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
