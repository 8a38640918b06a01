"""Programs in containers, one a node, on an internal network whose packets this host cuts, delays and counts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any, TypeVar

import docker
import docker.errors
from docker.models.containers import Container

from faults.port import Capability, Link, LinkCount, NodeId, Shape
from harness.backends import docker_nodes, leftovers
from harness.backends.docker_links import PACKET_CAPABILITIES, PacketLinks
from harness.backends.docker_network import LABEL_RUN, Place, bridge_ports, create_network, labels, remove_network
from harness.backends.packet_layer import PacketLayer
from harness.backends.packet_meter import PacketMeter
from harness.backends.port import MachineError, ProgramSpec
from harness.backends.program_cluster import ProgramCluster
from harness.targets.port import Address, Program

T = TypeVar("T")
CAPABILITIES = PACKET_CAPABILITIES | {
    Capability.PROGRAM, Capability.KILL, Capability.WIPE, Capability.PAUSE, Capability.MEMBERSHIP,
}  # fmt: skip
PARALLEL = 4  # more, and the engine leaks network endpoints
FIRST_PORT = 7000  # every node has an address of its own
HOME, PROGRAMS = "/node", "/opt/programs"


@asynccontextmanager
async def up(
    spec: ProgramSpec, binaries: Mapping[str, Path], client: docker.DockerClient, image: str
) -> AsyncIterator[ProgramCluster]:
    """A running cluster; every node answers. On leaving nothing of it is left but files. Raises MachineError."""
    async with AsyncExitStack() as stack:
        pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="docker")
        names = spec.roster.nodes
        place = await asyncio.to_thread(create_network, client, spec.run_id, names)
        ground = DockerGround(spec, binaries, client, pool, image, place)
        stack.push_async_callback(ground.close)  # whatever happens before the cluster does it
        if not place.local:
            raise MachineError(
                "the engine does not run on this host (a virtual machine or a remote DOCKER_HOST), so its packets are "
                "out of reach; use --backend process"
            )
        links = await asyncio.to_thread(ContainerLinks, spec, place, ground.ports)
        stack.push_async_callback(links.close)
        cluster = ProgramCluster(spec, ground, links, CAPABILITIES)
        stack.push_async_callback(cluster.close)
        await cluster.bring_up()
        yield cluster


class ContainerLinks:
    """Packets: cuts and shapes by the packet layer, counts by a table round it (program_cluster.ProgramLinks)."""

    counted = "packets"

    def __init__(self, spec: ProgramSpec, place: Place, ports: Callable[[], dict[str, str]]) -> None:
        layer = PacketLayer(spec.run_id, place.bridge, ports)
        self.name = layer.name
        self._links = PacketLinks(layer, place.addresses, spec.base)
        self._addresses, self._base = place.addresses, spec.base
        self._pairs = {link: (place.addresses[link[0]], place.addresses[link[1]]) for link in _all(spec)}
        self._meter = PacketMeter(spec.run_id, self._pairs.values()) if self._pairs else None

    def dial(self, source: NodeId, node: NodeId) -> Address:
        """Where everybody reaches it."""
        return self._addresses[node], FIRST_PORT

    def shared(self, node: NodeId) -> Address:
        """The same."""
        return self._addresses[node], FIRST_PORT

    def resolver(self, node: NodeId, wrapper: str) -> dict[str, str]:
        """No names are needed."""
        return {}

    async def open(self) -> None:
        """The base shapes."""
        await self._links.shape(self._base, None)

    async def cut(self, links: Iterable[Link]) -> None:
        """Atomic."""
        await self._links.cut(links)

    async def heal(self, links: Iterable[Link]) -> None:
        """Atomic."""
        await self._links.heal(links)

    async def shape(self, links: Iterable[Link], extra: Shape | None) -> None:
        """Base plus `extra`."""
        await self._links.shape(links, extra)

    async def counters(self) -> dict[Link, LinkCount]:
        """Packets that a node sent towards another, that reached it, and that the packet layer dropped."""
        if self._meter is None:
            return {}
        dropped = await self._links.dropped()
        tried, passed = await asyncio.to_thread(lambda m: (m.tried(), m.passed()), self._meter)
        return {
            link: LinkCount(tried.get(pair, 0), passed.get(pair, 0), dropped.get(link, 0))
            for link, pair in self._pairs.items()
        }

    async def refresh(self) -> None:
        """A container has a new port on the bridge."""
        await self._links.refresh()

    async def close(self) -> None:
        """Remove layer and meter."""
        if self._meter is not None:
            await asyncio.to_thread(self._meter.close)
        await self._links.close()


class DockerGround:
    """See `program_cluster.Ground`."""

    backend = "docker"

    def __init__(
        self,
        spec: ProgramSpec,
        binaries: Mapping[str, Path],
        client: docker.DockerClient,
        pool: ThreadPoolExecutor,
        image: str,
        place: Place,
    ) -> None:
        self.binaries: Mapping[str, str] = {name: f"{PROGRAMS}/{name}" for name in binaries}
        self.homes: Mapping[NodeId, str] = dict.fromkeys(spec.roster.nodes, HOME)
        self.addresses: Mapping[tuple[NodeId, str], Address] = {
            (node, port): (place.addresses[node], FIRST_PORT + number)
            for node in spec.roster.nodes
            for number, port in enumerate(spec.target.ports)
        }
        self._spec, self._files, self._client, self._pool = spec, binaries, client, pool
        self._image, self._place = image, place
        self._user = docker_nodes.container_user(client)
        self._containers: dict[NodeId, Container] = {}
        self._programs: dict[NodeId, Program] = {}
        self._pids: dict[NodeId, int] = {}
        self._closed = False

    def ports(self) -> dict[str, str]:
        """This host's end of each container's cable, by the container's address."""
        return bridge_ports({self._place.addresses[n]: c for n, c in dict(self._containers).items()})

    async def spawn(self, program: Program) -> None:
        """See `Ground`. A node that is to be another program than before gets another container."""
        node = program.node
        if node in self._containers and self._programs[node] != program:
            await self._call(partial(self._discard, node))
        if node not in self._containers:
            self._containers[node] = await self._call(partial(self._create, program))
            self._programs[node] = program
        await self._call(self._containers[node].start)
        await self.running(node)

    async def running(self, node: NodeId) -> bool:
        """See `Ground`."""
        if node not in self._containers:
            return False
        state: dict[str, Any] = await self._call(partial(_state, self._containers[node]))
        self._pids[node] = int(state["Pid"]) if state["Running"] else 0
        return bool(state["Running"])

    def pid(self, node: NodeId) -> int:
        """See `Ground`."""
        return self._pids.get(node, 0)

    async def kill(self, node: NodeId) -> None:
        """See `Ground`."""
        self._pids[node] = 0
        if node in self._containers:
            await self._call(partial(_kill, self._containers[node]))

    async def terminate(self, node: NodeId, patience_s: float) -> None:
        """See `Ground`."""
        if await self.running(node):
            await self._call(partial(self._containers[node].stop, timeout=round(patience_s)))
        self._pids[node] = 0

    async def pause(self, node: NodeId) -> None:
        """By the freezer; the kernel goes on acknowledging TCP for it."""
        await self._call(self._containers[node].pause)

    async def resume(self, node: NodeId) -> None:
        """See `Ground`."""
        await self._call(self._containers[node].unpause)

    async def tail(self, node: NodeId) -> str:
        """See `Ground`."""
        said: bytes = await self._call(partial(self._containers[node].logs, tail=12))
        return said.decode(errors="replace").strip() or "(nothing)"

    async def close(self) -> None:
        """See `Ground`. Shielded: a second Ctrl-C does not tear it. Safe to call twice."""
        if not self._closed:
            self._closed = True
            await asyncio.shield(asyncio.ensure_future(asyncio.to_thread(self._remove)))

    async def _call(self, function: Callable[[], T]) -> T:
        """Run a blocking call of the engine in one of the few threads that it stands. Raises MachineError."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, function)
        except docker.errors.DockerException as error:
            raise MachineError(f"the engine failed: {error}; `moonquake doctor` examines it") from error

    def _create(self, program: Program) -> Container:
        node = program.node
        home = docker_nodes.home(self._spec, node) / "home"
        mounts = {str(home.resolve()): {"bind": HOME, "mode": "rw"}}
        mounts |= {str(file): {"bind": self.binaries[name], "mode": "ro"} for name, file in self._files.items()}
        network = self._place.network.name
        endpoint = self._client.api.create_endpoint_config(ipv4_address=self._place.addresses[node])
        return self._client.containers.create(
            self._image,
            list(program.arguments),
            entrypoint=[],
            environment={"HOME": HOME, **program.environment},
            working_dir=HOME,
            name=f"moonquake-{self._spec.run_id}-{node}",
            hostname=node,
            labels={**labels(self._spec.run_id), "moonquake.node": node},
            network=network,
            networking_config={network: endpoint},
            volumes=mounts,
            user=self._user,
            mem_limit=docker_nodes.MEMORY,
            memswap_limit=docker_nodes.MEMORY,
            nano_cpus=int(docker_nodes.CPUS * 1e9),
            pids_limit=docker_nodes.PIDS,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            log_config={"type": "json-file", "config": {"max-size": "20m"}},
        )

    def _discard(self, node: NodeId) -> None:
        self._save_log(node)
        self._containers.pop(node).remove(force=True, v=True)

    def _save_log(self, node: NodeId) -> None:
        with contextlib.suppress(docker.errors.APIError), docker_nodes.log_file(self._spec, node).open("ab") as log:
            log.write(self._containers[node].logs())

    def _remove(self) -> None:
        self._pool.shutdown(cancel_futures=True)  # a container being created now must exist before we list them
        for node in self._containers:
            self._save_log(node)
        found = self._client.containers.list(all=True, filters={"label": f"{LABEL_RUN}={self._spec.run_id}"})
        with ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(_remove_container, found))
        remove_network(self._client, f"moonquake-{self._spec.run_id}")
        leftovers.forget(self._spec.run_id)


def _all(spec: ProgramSpec) -> list[Link]:
    return list(permutations(spec.roster.nodes, 2))


def _state(container: Container) -> dict[str, Any]:
    container.reload()
    return dict(container.attrs["State"])


def _kill(container: Container) -> None:
    with contextlib.suppress(docker.errors.APIError):  # 409: not running, which is what we want
        container.kill("SIGKILL")
    container.wait(timeout=30)


def _remove_container(container: Container) -> None:
    with contextlib.suppress(docker.errors.NotFound):
        container.remove(force=True, v=True)
