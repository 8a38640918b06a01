"""Links by node id on top of a packet layer (by address) or of Toxiproxy, for the docker backend."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from faults.port import Capability, Link, NodeId, Shape, UnsupportedError
from harness.backends import leftovers
from harness.backends.docker_network import Place
from harness.backends.docker_nodes import LINK_PORT
from harness.backends.packet_layer import PacketLayer
from harness.backends.packets import Cuts, Pair
from harness.backends.port import ClusterSpec
from harness.backends.ports import free_ports
from harness.backends.processes import process_ident
from harness.backends.toxiproxy import ProxySpec, Toxiproxy, add_shapes, proxy_name, start_server, toxics_of

PACKET_CAPABILITIES = frozenset({Capability.CUT, Capability.LATENCY, Capability.LOSS, Capability.BANDWIDTH})
STREAM_CAPABILITIES = frozenset({Capability.CUT, Capability.LATENCY, Capability.BANDWIDTH})


class Links(Protocol):
    """What carries the network faults of one run."""

    name: str

    def peers(self, node: NodeId) -> dict[NodeId, tuple[str, int]]:
        """Where the node dials each other node."""
        ...

    async def cut(self, links: Iterable[Link]) -> None: ...

    async def heal(self, links: Iterable[Link]) -> None: ...

    async def shape(self, links: Iterable[Link], extra: Shape | None) -> None:
        """Base plus `extra`; None: the base alone."""
        ...

    async def dropped(self) -> Mapping[Link, int]: ...

    async def refresh(self) -> None:
        """A node was started again."""
        ...

    async def verify(self) -> None:
        """Traffic flows: is it really in this layer's hands? Raises MachineError if not."""
        ...

    async def close(self) -> None: ...


class PacketLinks:
    """Packets, from the host. Calls to the layer block for milliseconds, so they run in a thread."""

    def __init__(self, layer: PacketLayer, addresses: Mapping[NodeId, str], base: Mapping[Link, Shape]) -> None:
        self.name = layer.name
        self.layer = layer
        self._addresses = addresses
        self._ids = {address: node for node, address in addresses.items()}
        self._base = base

    def peers(self, node: NodeId) -> dict[NodeId, tuple[str, int]]:
        """Each other at its own address."""
        return {peer: (address, LINK_PORT) for peer, address in self._addresses.items() if peer != node}

    async def cut(self, links: Iterable[Link]) -> None:
        """Atomic for all links."""
        await asyncio.to_thread(self.layer.cut, self._pairs(links))

    async def heal(self, links: Iterable[Link]) -> None:
        """Atomic for all links."""
        await asyncio.to_thread(self.layer.heal, self._pairs(links))

    async def shape(self, links: Iterable[Link], extra: Shape | None) -> None:
        """See Links."""
        shapes = {}
        for link in links:
            base = self._base.get(link, Shape())
            shapes[self._pair(link)] = base if extra is None else add_shapes(base, extra)
        await asyncio.to_thread(self.layer.shape, shapes)

    async def dropped(self) -> Mapping[Link, int]:
        """Packets dropped so far by cuts and loss."""
        counts = await asyncio.to_thread(self.layer.dropped)
        ids = self._ids
        return {(ids[a], ids[b]): count for (a, b), count in counts.items() if a in ids and b in ids}

    async def refresh(self) -> None:
        """See Links."""
        await asyncio.to_thread(self.layer.refresh)

    async def verify(self) -> None:
        """See Links."""
        await asyncio.to_thread(self.layer.verify)

    async def close(self) -> None:
        """Remove the layer."""
        await asyncio.to_thread(self.layer.close)

    def _pairs(self, links: Iterable[Link]) -> list[Pair]:
        return [self._pair(link) for link in links]

    def _pair(self, link: Link) -> Pair:
        try:
            return self._addresses[link[0]], self._addresses[link[1]]
        except KeyError as error:
            raise KeyError(f"this run has no link {proxy_name(link)}: no node {error.args[0]}") from None


class ProxyLinks:
    """Streams, through a Toxiproxy on this host's end of the bridge: for users who may run containers but are not root.

    A cut closes connections instead of losing packets; packet loss is not to be had.
    """

    name = "toxiproxy"

    def __init__(self, spec: ClusterSpec, place: Place) -> None:
        names = [node.id for node in spec.nodes]
        self._links: list[Link] = [(a, b) for a in names for b in names if a != b]
        self._gateway, self._addresses, self._base = place.gateway, place.addresses, spec.base
        self._log = spec.directory / "logs" / "toxiproxy.log"
        self._run_id = spec.run_id
        self._cuts: Cuts[Link] = Cuts()
        self._lock = asyncio.Lock()
        self._ports: dict[Link, int] = {}
        self._server: subprocess.Popen[bytes] | None = None
        self._proxies: Toxiproxy | None = None

    async def open(self, binary: Path) -> None:
        """Start the server (call it in the event loop's thread) and give every link a proxy."""
        api, *ports = free_ports(1 + len(self._links), self._gateway)
        self._ports = dict(zip(self._links, ports, strict=True))
        server = self._server = start_server(binary, self._gateway, api, self._log)
        leftovers.register(self._run_id, leftovers.PROCESS, process_ident(server.pid))
        proxies = self._proxies = Toxiproxy(self._gateway, api)
        await proxies.wait(lambda: server.poll() is None)
        listening = [(link, f"{self._gateway}:{port}", self._addresses[link[1]]) for link, port in self._ports.items()]
        await proxies.populate([ProxySpec(proxy_name(n), here, f"{there}:{LINK_PORT}") for n, here, there in listening])

    def peers(self, node: NodeId) -> dict[NodeId, tuple[str, int]]:
        """Each other through the link's proxy."""
        return {b: (self._gateway, port) for (a, b), port in self._ports.items() if a == node}

    async def cut(self, links: Iterable[Link]) -> None:
        """Not atomic."""
        async with self._lock:
            await self._client().disable([proxy_name(link) for link in self._cuts.cut(self._known(links))])

    async def heal(self, links: Iterable[Link]) -> None:
        """Not atomic."""
        async with self._lock:
            await self._client().enable([proxy_name(link) for link in self._cuts.heal(self._known(links))])

    async def shape(self, links: Iterable[Link], extra: Shape | None) -> None:
        """See Links. Raises UnsupportedError for loss."""
        if extra is not None and extra.loss > 0:
            raise UnsupportedError("loss: a stream proxy loses no packets; run as root for the packet layer")
        wanted = {}
        for link in self._known(links):
            base = self._base.get(link, Shape())
            wanted[proxy_name(link)] = toxics_of(base if extra is None else add_shapes(base, extra))
        async with self._lock:
            await self._client().set_toxics(wanted)

    async def dropped(self) -> Mapping[Link, int]:
        """Unknown here; the nodes count the dials that were refused."""
        return {}

    async def refresh(self) -> None:
        """Nothing to do: proxies are by address."""

    async def verify(self) -> None:
        """Nothing to do: nodes know no other way than the proxies."""

    async def close(self) -> None:
        """End the server."""
        if self._proxies is not None:
            await self._proxies.close()
        if self._server is not None:
            self._server.kill()
            self._server.wait(10)

    def _known(self, links: Iterable[Link]) -> list[Link]:
        wanted = list(dict.fromkeys(links))
        unknown = [link for link in wanted if link not in self._ports]
        if unknown:
            raise KeyError(f"this run has no link {proxy_name(unknown[0])}")
        return wanted

    def _client(self) -> Toxiproxy:
        if self._proxies is None:
            raise RuntimeError("the proxies are not up")
        return self._proxies
