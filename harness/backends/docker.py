"""Backend `docker`: one container per node on an internal network; packet faults from the host.

Containers, networks, nft tables and the delay daemon carry the run id and their harness's identity, so that what a
killed harness leaves behind is found and removed by the next command (`harness/provision/clean.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import docker
import docker.errors
import requests
from docker.models.containers import Container

from faults.byzantine.side_channel import LOAD_START, announce
from faults.port import Capability, Link, LinkCount, NodeId, NodeStatus, Shape
from harness.backends import docker_nodes, leftovers, program_docker
from harness.backends.control_client import StatusReport, ask, ask_status, link_counts, node_status, round_trip_ms
from harness.backends.docker_links import (
    PACKET_CAPABILITIES,
    STREAM_CAPABILITIES,
    Links,
    PacketLinks,
    ProxyLinks,
)
from harness.backends.docker_network import LABEL_RUN, Place, bridge_ports, create_network, remove_network
from harness.backends.features import probe
from harness.backends.packet_layer import PacketLayer
from harness.backends.port import ClusterSpec, MachineError, NodeSpec, ProgramSpec
from harness.backends.program_cluster import ProgramCluster
from harness.http import HttpClient
from harness.provision.clean import sweep
from harness.provision.engine import Engine, Progress, ensure_engine
from harness.provision.image import ensure_image
from harness.provision.toxiproxy import ensure_toxiproxy
from harness.targets.packaged import provide

T = TypeVar("T")

PARALLEL = 4  # more, and the engine leaks network endpoints
START_S = 60.0
STOP_S = 5.0
POLL_S = 0.02
PROCESS_CAPABILITIES = frozenset({Capability.KILL, Capability.WIPE, Capability.PAUSE, Capability.BYZANTINE})


class DockerBackend:
    """Containers. Provides engine and image where it may; says what it does through `progress`."""

    name = "docker"
    scheme = "ed25519"
    new_loop = staticmethod(asyncio.new_event_loop)

    def __init__(self, progress: Progress | None = None, packets: bool = True) -> None:
        """`packets` False: Toxiproxy carries the network faults even where packets can be had."""
        self._progress: Progress = progress or (lambda _: None)
        self._packets = packets
        self._ready: tuple[Engine, str, Path | None] | None = None

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do on this machine."""
        packets = PACKET_CAPABILITIES | program_docker.CAPABILITIES
        return PROCESS_CAPABILITIES | (packets if self._has_packets() else STREAM_CAPABILITIES)

    def prepare(self, progress: Progress | None = None) -> None:
        """Engine, image and packet layer; seconds when all is there. Raises MachineError with the cure."""
        self._progress = progress or self._progress
        engine = ensure_engine(self._progress)
        sweep(self._progress)
        proxy = None
        if not self._has_packets():
            if self._packets:
                self._progress(f"Toxiproxy carries the network faults, for {'; '.join(probe().missing)}")
            proxy = ensure_toxiproxy(self._progress)
        with contextlib.closing(engine.client()) as client:
            try:
                self._ready = engine, ensure_image(client, self._progress), proxy
            except (docker.errors.DockerException, requests.RequestException) as error:
                raise MachineError(f"the engine at {engine.url} failed while we built the image: {error}") from error

    def _has_packets(self) -> bool:
        return self._packets and probe().layer is not None

    @asynccontextmanager
    async def up(self, spec: ClusterSpec | ProgramSpec) -> AsyncIterator[DockerCluster | ProgramCluster]:
        """See `port.Backend`."""
        if self._ready is None:
            await asyncio.to_thread(self.prepare)
        assert self._ready is not None
        engine, image, proxy = self._ready
        async with AsyncExitStack() as stack:
            client = stack.enter_context(contextlib.closing(engine.client()))
            if isinstance(spec, ProgramSpec):
                programs = await asyncio.to_thread(provide, spec.target.binaries, self._progress)
                yield await stack.enter_async_context(program_docker.up(spec, programs, client, image))
                return
            pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="docker")
            cluster = DockerCluster(spec, client, pool, image, proxy)
            stack.push_async_callback(cluster.remove)
            try:
                await cluster.bring_up()
            except (docker.errors.DockerException, requests.RequestException) as error:
                raise MachineError(f"the engine at {engine.url} could not bring the cluster up: {error}") from error
            yield cluster


class DockerCluster:
    """A cluster in containers; see `port.RunningCluster`."""

    backend = "docker"

    def __init__(
        self, spec: ClusterSpec, client: docker.DockerClient, pool: ThreadPoolExecutor, image: str, proxy: Path | None
    ) -> None:
        self.roster = spec.roster
        self.capabilities = PROCESS_CAPABILITIES | (STREAM_CAPABILITIES if proxy else PACKET_CAPABILITIES)
        self.gateways: Mapping[NodeId, str] = {}
        self.layer = ""
        self._spec, self._client, self._pool, self._image, self._proxy = spec, client, pool, image, proxy
        self._start_ns = time.monotonic_ns()
        self._containers: dict[NodeId, Container] = {}
        self._addresses: Mapping[NodeId, str] = {}
        self._paused: set[NodeId] = set()
        self._links: Links | None = None
        self._coalition: Path | None = None

    # ---------------------------------------------------------------- life
    async def bring_up(self) -> None:
        """Network, packet layer with the base shapes, containers; returns when every control port answers."""
        spec = self._spec
        place = await self._call(lambda: create_network(self._client, spec.run_id, [n.id for n in spec.nodes]))
        if not place.local:
            raise MachineError(
                "the engine does not run on this host (a virtual machine or a remote DOCKER_HOST), so its packets are "
                "out of reach; use --backend process"
            )
        self._addresses = place.addresses
        links = self._links = await self._open_links(place)
        self.layer = links.name
        await links.shape(spec.base, None)
        docker_nodes.write_files(spec, place, self._start_ns, links.peers)
        making = await self._call(self._making)
        await asyncio.gather(*(self._call(partial(self._create, node, place, making)) for node in spec.nodes))
        await links.refresh()
        self.gateways = {g: f"http://{place.addresses[g]}:{docker_nodes.HTTP_PORT}" for g in spec.roster.gateways}
        await asyncio.gather(*(self._answers(n.id) for n in spec.nodes))
        await links.verify()

    async def stop(self) -> None:
        """See `port.RunningCluster`."""
        for node in sorted(self._paused):
            await self.resume(node)
        await asyncio.gather(*(self._stop(node) for node in self._containers))

    async def remove(self) -> None:
        """Remove everything of the run, whatever state it is in. Shielded: a second Ctrl-C does not tear it."""
        await asyncio.shield(asyncio.ensure_future(self._remove()))

    # ---------------------------------------------------------------- clock
    def now(self) -> int:
        """See `faults.port.Cluster`."""
        return time.monotonic_ns() - self._start_ns

    async def sleep(self, seconds: float) -> None:
        """See `faults.port.Cluster`."""
        await asyncio.sleep(seconds)

    # ---------------------------------------------------------------- network
    async def cut(self, links: Iterable[Link]) -> None:
        """See `faults.port.Cluster`."""
        await self._layer().cut(links)

    async def heal(self, links: Iterable[Link]) -> None:
        """See `faults.port.Cluster`. Raises ValueError for a link that is not cut."""
        await self._layer().heal(links)

    async def shape(self, links: Iterable[Link], shape: Shape) -> None:
        """See `faults.port.Cluster`."""
        await self._layer().shape(links, shape)

    async def unshape(self, links: Iterable[Link]) -> None:
        """See `faults.port.Cluster`."""
        await self._layer().shape(links, None)

    async def counters(self) -> Mapping[Link, LinkCount]:
        """See `faults.port.Cluster`."""
        dropped = await self._layer().dropped()
        return link_counts(await self._reports(list(self._containers)), dropped)

    async def rtt_ms(self, link: Link) -> float | None:
        """Round trip of the last keep-alives on the link and back; None before the first."""
        return round_trip_ms(link, await self._reports(link))

    # ---------------------------------------------------------------- processes
    async def kill(self, node: NodeId) -> None:
        """See `faults.port.Cluster`."""
        container = self._container(node)
        self._paused.discard(node)
        await self._call(lambda: _kill(container))

    async def start(self, node: NodeId) -> None:
        """See `faults.port.Cluster`."""
        container = self._container(node)
        await self._call(container.start)
        await self._layer().refresh()
        await self._answers(node)

    async def wipe(self, node: NodeId) -> None:
        """See `faults.port.Cluster`. The trace stays: it is the harness's record of what the node did before."""
        container = self._container(node)
        if await self._call(lambda: _running(container)):
            raise ValueError(f"wipe of {node}, which is running; kill it first")
        docker_nodes.wipe(self._spec, node)

    async def pause(self, node: NodeId) -> None:
        """See `faults.port.Cluster`. By the freezer; the kernel goes on acknowledging TCP for it."""
        await self._call(self._container(node).pause)
        self._paused.add(node)

    async def resume(self, node: NodeId) -> None:
        """See `faults.port.Cluster`."""
        await self._call(self._container(node).unpause)
        self._paused.discard(node)

    async def status(self, node: NodeId) -> NodeStatus:
        """See `faults.port.Cluster`."""
        self._container(node)
        return node_status(node, (await self._reports([node]))[node])

    def http(self) -> HttpClient:
        """To the containers' addresses."""
        return HttpClient()

    def announce_load(self, load_start: int) -> None:
        """See `port.RunningCluster`. The coalition's directory is mounted into its containers."""
        if self._coalition is not None:
            announce(self._coalition, self.roster.byzantine, LOAD_START, load_start)

    def trace_file(self, node: NodeId) -> Path:
        """See `port.RunningCluster`."""
        return docker_nodes.data_directory(self._spec, node) / "trace.jsonl"

    # ---------------------------------------------------------------- inside
    async def _call(self, function: Callable[[], T]) -> T:
        """Run a blocking call of the engine in one of the few threads that it stands."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)

    async def _reports(self, nodes: Sequence[NodeId]) -> dict[NodeId, StatusReport | None]:
        async def one(node: NodeId) -> StatusReport | None:
            return None if node in self._paused else await ask_status(self._control(node))

        return dict(zip(nodes, await asyncio.gather(*(one(n) for n in nodes)), strict=True))

    async def _open_links(self, place: Place) -> Links:
        if self._proxy is not None:
            proxies = self._links = ProxyLinks(self._spec, place)
            await proxies.open(self._proxy)
            return proxies

        def build() -> Links:  # kept by the thread that makes it: an interruption does not wait, but `remove` does
            layer = PacketLayer(self._spec.run_id, place.bridge, self._ports)
            self._links = PacketLinks(layer, place.addresses, self._spec.base)
            return self._links

        return await self._call(build)

    def _making(self) -> docker_nodes.Making:
        if any(node.byzantine for node in self._spec.nodes):
            self._coalition = Path(tempfile.mkdtemp(prefix="moonquake-"))
            leftovers.register(self._spec.run_id, leftovers.DIRECTORY, str(self._coalition))
        user = docker_nodes.container_user(self._client)
        return docker_nodes.Making(image=self._image, user=user, coalition=self._coalition)

    def _create(self, node: NodeSpec, place: Place, making: docker_nodes.Making) -> None:
        container = docker_nodes.create_container(self._client, self._spec, node, place, making)
        self._containers[node.id] = container
        container.start()

    def _layer(self) -> Links:
        if self._links is None:
            raise RuntimeError("the cluster is not up")
        return self._links

    def _container(self, node: NodeId) -> Container:
        try:
            return self._containers[node]
        except KeyError:
            raise KeyError(f"this run has no node {node}; it has {', '.join(sorted(self._containers))}") from None

    def _control(self, node: NodeId) -> tuple[str, int]:
        return self._addresses[node], docker_nodes.CONTROL_PORT

    def _ports(self) -> dict[str, str]:
        return bridge_ports({self._addresses[n]: c for n, c in dict(self._containers).items()})

    async def _answers(self, node: NodeId) -> None:
        deadline = time.monotonic() + START_S
        container = self._containers[node]
        while await ask_status(self._control(node), timeout_s=1.0) is None:
            if not await self._call(lambda: _running(container)):
                raise MachineError(f"node {node} ended at once; it said:\n{await self._call(lambda: _tail(container))}")
            if time.monotonic() > deadline:
                said = await self._call(lambda: _tail(container))
                raise MachineError(
                    f"node {node} did not answer on its control port in {START_S:.0f} s; it said:\n{said}"
                )
            await asyncio.sleep(POLL_S)

    async def _stop(self, node: NodeId) -> None:
        container = self._containers[node]
        if await self._call(lambda: _running(container)):
            await ask(self._control(node), "stop")
            deadline = time.monotonic() + STOP_S
            while await self._call(lambda: _running(container)):
                if time.monotonic() > deadline:
                    await self._call(lambda: _kill(container))
                await asyncio.sleep(POLL_S)
        await self._call(lambda: self._save_log(node))

    def _save_log(self, node: NodeId) -> None:
        docker_nodes.log_file(self._spec, node).write_bytes(self._containers[node].logs())

    async def _remove(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._pool.shutdown)  # a container being created now must exist before we list them
        await asyncio.to_thread(self._remove_containers)
        if self._links is not None:
            await self._links.close()
        await asyncio.to_thread(remove_network, self._client, f"moonquake-{self._spec.run_id}")
        if self._coalition is not None:
            shutil.rmtree(self._coalition, ignore_errors=True)
        leftovers.forget(self._spec.run_id)

    def _remove_containers(self) -> None:
        for node in self._containers:
            with contextlib.suppress(docker.errors.APIError):
                if not docker_nodes.log_file(self._spec, node).exists():
                    self._save_log(node)
        found = self._client.containers.list(all=True, filters={"label": f"{LABEL_RUN}={self._spec.run_id}"})
        with ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(_discard, found))


def _kill(container: Container) -> None:
    with contextlib.suppress(docker.errors.APIError):  # 409: not running, which is what we want
        container.kill("SIGKILL")
    container.wait(timeout=30)


def _running(container: Container) -> bool:
    container.reload()
    return bool(container.attrs["State"]["Running"])


def _tail(container: Container) -> str:
    return bytes(container.logs(tail=15)).decode(errors="replace").strip() or "(nothing)"


def _discard(container: Container) -> None:
    with contextlib.suppress(docker.errors.NotFound):
        container.remove(force=True, v=True)
