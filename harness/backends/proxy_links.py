"""Links of a system that is not ours, on loopback: every ordered pair of nodes has a Toxiproxy proxy.

Nodes may send both ways over a connection, whoever dialled it: the link (a, b) is what a sends to b, which goes
"upstream" through the proxy that a dials and "downstream" through the one that b dials. A cut takes in what comes on
the link and passes nothing on (the toxic `timeout`); nobody is told, as if packets were lost. At the heal the
connections that lost something are closed, and the nodes dial again. Each node has a Toxiproxy server of its own, so
that cuts are put on side by side, and the kernel's word for who sent what can be read (sockets.py).

All proxies that a node dials listen on a loopback address of that node's own, each on the port of the node behind it.
So a system whose nodes must all be given one list of addresses can be told a name, which every node resolves to its
own loopback address (`shared`, `resolver`).
"""

from __future__ import annotations

import asyncio
import subprocess
from collections import Counter
from collections.abc import Awaitable, Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

from faults.port import Link, LinkCount, NodeId, Shape, UnsupportedError
from harness.backends import leftovers
from harness.backends.port import MachineError
from harness.backends.ports import PortTakenError, free_ports
from harness.backends.processes import process_ident
from harness.backends.sockets import Meter, Tap
from harness.backends.toxiproxy import ProxySpec, Stream, Toxiproxy, add_shapes, proxy_name, start_server, toxics_of
from harness.provision.toxiproxy import ensure_toxiproxy

Address: TypeAlias = tuple[str, int]
Part: TypeAlias = tuple[Link, Stream]  # one direction of one proxy, which is named by its (dialler, dialled)
HOST = "127.0.0.1"
EVERYBODY = "peers.moonquake"
FIRST_FRONT = 2  # node number i dials 127.0.(2 + i).1
SILENCE = ("timeout", {"timeout": 0})  # take everything in, pass nothing on, until it is taken off
_END_S = 10.0


class ProxyLinks:
    """The links of one run."""

    name = "toxiproxy"
    counted = "bytes"

    def __init__(
        self, addresses: Mapping[NodeId, Address], base: Mapping[Link, Shape], run_id: str, directory: Path
    ) -> None:
        """`addresses`: where each node's peer port really is; `directory`: the run's."""
        self.nodes = tuple(addresses)
        self.links: tuple[Link, ...] = tuple((a, b) for a in self.nodes for b in self.nodes if a != b)
        self._addresses, self._base, self._run_id, self._directory = addresses, base, run_id, directory
        self._api = dict(zip(self.nodes, free_ports(len(self.nodes)), strict=True))
        self._servers: dict[NodeId, subprocess.Popen[bytes]] = {}
        self._proxies: dict[NodeId, Toxiproxy] = {}
        self._extra: dict[Link, Shape] = {}
        self._cuts: Counter[Link] = Counter()
        self._changing = asyncio.Lock()
        self._meter: Meter | None = None
        self._broken = ""  # why nothing is counted any more

    # ---------------------------------------------------------------- life
    async def open(self) -> None:
        """Start the servers. Raises PortTakenError, when somebody was quicker, and MachineError."""
        binary = await asyncio.to_thread(ensure_toxiproxy, _silent)
        for node in self.nodes:
            self._hosts(node).parent.mkdir(parents=True, exist_ok=True)
            self._hosts(node).write_text(f"{self._front(node)} {EVERYBODY}\n")
        await _all(self._serve(binary, node) for node in self.nodes)
        await self._shape_all(self.links)
        taps = [Tap(self.dial(*link), self._addresses[link[1]], self._servers[link[0]].pid) for link in self.links]
        self._meter = Meter(taps)
        self._meter.open(self._break)

    async def _serve(self, binary: Path, node: NodeId) -> None:
        log = self._directory / "logs" / f"toxiproxy-{node}.log"
        log.unlink(missing_ok=True)
        server = self._servers[node] = start_server(binary, HOST, self._api[node], log)
        leftovers.register(self._run_id, leftovers.PROCESS, process_ident(server.pid))
        proxies = self._proxies[node] = Toxiproxy(HOST, self._api[node])
        foreign = f"port {self._api[node]}, for the proxies' API, is somebody else's"

        def taken() -> bool:  # a server that cannot listen says so, and does not end
            return b"address already in use" in log.read_bytes()

        try:
            await proxies.wait(lambda: server.poll() is None and not taken())
            if taken() or await proxies.proxies():  # another harness's Toxiproxy answers just as well
                raise PortTakenError(foreign)
            mine = [link for link in self.links if link[0] == node]
            await proxies.populate([
                ProxySpec(proxy_name(link), _text(self.dial(*link)), _text(self._addresses[link[1]])) for link in mine
            ])  # fmt: skip
        except MachineError as error:
            if taken() or "address already in use" in str(error):
                raise PortTakenError(str(error)) from error
            raise

    async def close(self) -> None:
        """End the servers; nothing is left afterwards."""
        if self._meter is not None:
            await self._meter.close()
        for proxies in self._proxies.values():
            await proxies.close()
        for server in self._servers.values():
            server.kill()
        for server in self._servers.values():
            server.wait(_END_S)

    def _break(self, why: str) -> None:
        self._broken = why

    # ---------------------------------------------------------------- addresses
    def dial(self, source: NodeId, node: NodeId) -> Address:
        """Where `source` reaches the peer port of `node`: its own loopback address, the port of the other."""
        return self._front(source), self._addresses[node][1]

    def shared(self, node: NodeId) -> Address:
        """One address for all: a name that every node resolves to its own loopback address."""
        return EVERYBODY, self._addresses[node][1]

    def resolver(self, node: NodeId, wrapper: str) -> dict[str, str]:
        """Environment in which the name resolves; `wrapper`: the path of libnss_wrapper.so. Go programs are told to
        ask the C library."""
        return {"LD_PRELOAD": wrapper, "NSS_WRAPPER_HOSTS": str(self._hosts(node)), "GODEBUG": "netdns=cgo"}

    def _front(self, source: NodeId) -> str:
        return f"127.0.{FIRST_FRONT + self.nodes.index(source)}.1"

    def _hosts(self, node: NodeId) -> Path:
        return (self._directory / "nodes" / node / "hosts").resolve()

    # ---------------------------------------------------------------- faults
    async def cut(self, links: Iterable[Link]) -> None:
        """Pass nothing on; all links at the same time, though not atomically. Cuts are counted."""
        wanted = self._known(links)
        kind, attributes = SILENCE
        async with self._changing:
            fresh = [link for link in wanted if not self._cuts[link]]
            done: list[Part] = []

            async def one(part: Part) -> None:
                link, stream = part
                await self._proxies[link[0]].add_toxic(proxy_name(link), kind, attributes, stream)
                done.append(part)

            try:
                await _all(one(part) for link in fresh for part in parts(link))
            except BaseException:
                await asyncio.shield(self._uncut(done))
                raise
            self._cuts.update(wanted)

    async def heal(self, links: Iterable[Link]) -> None:
        """Undo one cut of each link. Raises ValueError for a link that is not cut."""
        wanted = self._known(links)
        async with self._changing:
            whole = [link for link in wanted if not self._cuts[link]]
            if whole:
                raise ValueError(f"cannot heal {proxy_name(whole[0])}: it is not cut")
            await self._uncut([part for link in wanted if self._cuts[link] == 1 for part in parts(link)])
            self._cuts.subtract(wanted)

    async def _uncut(self, those: Iterable[Part]) -> None:
        await _all(self._proxies[link[0]].remove_toxic(proxy_name(link), SILENCE[0], stream) for link, stream in those)

    async def shape(self, links: Iterable[Link], extra: Shape | None) -> None:
        """Base plus `extra`; None: the base alone. Raises UnsupportedError for loss."""
        if extra is not None and extra.loss > 0:
            raise UnsupportedError("loss: a stream proxy loses nothing")
        wanted = self._known(links)
        async with self._changing:
            for link in wanted:
                self._extra.pop(link, None)
                if extra is not None:
                    self._extra[link] = extra
            await self._shape_all(wanted)

    async def _shape_all(self, links: Iterable[Link]) -> None:
        calls = []
        for link in links:
            toxics = toxics_of(add_shapes(self._base.get(link, Shape()), self._extra.get(link, Shape())))
            for dialled, stream in parts(link):
                calls.append(self._proxies[dialled[0]].set_toxics({proxy_name(dialled): toxics}, stream))
        await _all(calls)

    # ---------------------------------------------------------------- counting
    async def refresh(self) -> None:
        """A node was started again: nothing to do, proxies are by address."""

    async def counters(self) -> dict[Link, LinkCount]:
        """Bytes, as the kernel counted them: what the sender handed to the link's proxies, and what these handed on to
        the receiver. Raises MachineError when they cannot be counted."""
        if self._broken:
            raise MachineError(self._broken)
        if self._meter is None:
            return {}
        flows = dict(zip(self.links, await self._meter.look(), strict=True))
        counts = {}
        for link in self.links:
            there, back = flows[link], flows[link[1], link[0]]
            counts[link] = LinkCount(there.up_in + back.down_in, there.up_out + back.down_out)
        return counts

    def _known(self, links: Iterable[Link]) -> list[Link]:
        wanted, known = list(dict.fromkeys(links)), set(self.links)
        unknown = [link for link in wanted if link not in known]
        if unknown:
            raise KeyError(f"no link {proxy_name(unknown[0])}; nodes are {', '.join(self.nodes)}")
        return wanted


def parts(link: Link) -> tuple[Part, Part]:
    """Where the bytes of a link pass: through the proxy that its sender dials, and back through its receiver's."""
    return (link, "upstream"), ((link[1], link[0]), "downstream")


def _silent(_: str) -> None:
    """What provisioning does was told when the backend prepared itself."""


def _text(address: Address) -> str:
    return f"{address[0]}:{address[1]}"


async def _all(calls: Iterable[Awaitable[object]]) -> None:
    """All of them, at the same time; the first error once all have ended."""
    for result in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
