"""A cluster on other hosts; see `port.RunningCluster`. Everything on a host is done by its warden (host/warden.py)."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from faults.byzantine.side_channel import LOAD_START, SideChannelError
from faults.port import Capability, DiskSpace, Link, LinkCount, NodeId, NodeStatus, Shape
from harness.backends import leftovers
from harness.backends.control_client import ASK_S, StatusReport, link_counts, node_status, round_trip_ms
from harness.backends.port import ClusterSpec, NodeSpec
from harness.backends.relocation import relocated
from harness.backends.ssh import removal
from harness.backends.ssh.client import WardenClient
from harness.backends.ssh.connection import Connection
from harness.backends.ssh.hosts import Host, Hosts
from harness.backends.ssh.network import HostLinks, Seat, together, until
from harness.backends.ssh.placement import place
from harness.http import HttpClient
from harness.outcome import MachineError
from nodes.runtime.config import NodeConfig

START_S = 90.0
SPAWN_S = FINISH_S = 180.0  # an engine makes and removes containers; a busy one is slow
FIRST_PACKET_S = 20.0
HEALED_S = 30.0
DISK_BYTES = 512 * 2**20
NOT_DELAYED = (
    "the nodes' packets do not reach the delay daemons of their hosts, so no delay would be real; is a firewall in the "
    "way (`nft list ruleset` and `iptables -t mangle -S` there)?"
)
COALITION, GENESIS = "coalition", "genesis.json"


class SshCluster:
    """Nodes as processes on other hosts."""

    backend = "ssh"

    def __init__(
        self, spec: ClusterSpec, hosts: Hosts, paths: Mapping[str, str], capabilities: frozenset[Capability], layer: str
    ) -> None:
        """`paths`: the PYTHONPATH on each host (payload.provide)."""
        self.roster = spec.roster
        self.capabilities = capabilities
        self.layer = layer
        self.gateways: dict[NodeId, str] = {}
        self._spec, self._paths, self._lease_s = spec, paths, hosts.lease_s
        self._start_ns = time.monotonic_ns()
        self._hosts: dict[str, Host] = {host.name: host for host in hosts.hosts}
        self._where: dict[NodeId, str] = place(spec, list(self._hosts))
        self._hosts = {name: host for name, host in self._hosts.items() if name in self._where.values()}
        self._clients: dict[str, WardenClient] = {}
        self._offsets: dict[str, int] = {}
        self._seats: dict[NodeId, Seat] = {}
        self._links: HostLinks | None = None
        self._paused: set[NodeId] = set()
        self._coalition = ""
        self._announcing: set[asyncio.Task[Any]] = set()
        self._collected = False

    # ---------------------------------------------------------------- life
    async def bring_up(self) -> None:
        """Wardens, then files, shapes and nodes; returns when every control port answers."""
        spec = self._spec
        (spec.directory / "logs").mkdir(parents=True, exist_ok=True)
        await together(self._open(host) for host in self._hosts.values())
        await together(self._seat(name) for name in self._hosts)
        links = self._links = HostLinks(self._seats, self._clients, spec.base)
        if spec.base:
            await links.shape(spec.base, None)
        await together(self._equip(name) for name in self._hosts)
        await together(self._ask(node.id, "spawn", timeout_s=SPAWN_S) for node in spec.nodes)
        self.gateways = {g: f"http://{self._seats[g].address}:{self._seats[g].http}" for g in spec.roster.gateways}
        await together(self._answers(node.id) for node in spec.nodes)
        if any(shape != Shape() for shape in spec.base.values()):
            await until(links.delayed, FIRST_PACKET_S, NOT_DELAYED)

    async def stop(self) -> None:
        """See `port.RunningCluster`. Also fetches traces and logs."""
        for node in sorted(self._paused):
            await self._quietly(self.resume(node))
        await asyncio.gather(*(self._quietly(self._ask(node.id, "stop")) for node in self._spec.nodes))
        await self._collect()

    async def remove(self) -> None:
        """Remove everything of the run from every host. Shielded: a second Ctrl-C does not tear it. Raises MachineError
        for a host that could not be cleaned; what is left there goes with `moonquake doctor --clean`."""
        await asyncio.shield(asyncio.ensure_future(self._remove()))

    @property
    def lapsed(self) -> str:
        """Which hosts healed themselves in the middle of the run, and why; empty when none did."""
        said = [f"{name} ({client.lapsed})" for name, client in sorted(self._clients.items()) if client.lapsed]
        return ", ".join(said)

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
        reports, dropped = await together((self._reports(list(self._seats)), self._layer().dropped()))
        return link_counts(reports, dropped)

    async def rtt_ms(self, link: Link) -> float | None:
        """Round trip of the last keep-alives there and back: the hosts' clocks cancel out."""
        return round_trip_ms(link, await self._reports(link))

    # ---------------------------------------------------------------- processes
    async def kill(self, node: NodeId) -> None:
        """See `faults.port.Cluster`."""
        self._paused.discard(node)
        await self._ask(node, "signal", name="KILL")

    async def start(self, node: NodeId) -> None:
        """See `faults.port.Cluster`."""
        await self._ask(node, "spawn", timeout_s=SPAWN_S)
        await self._answers(node)

    async def wipe(self, node: NodeId) -> None:
        """See `faults.port.Cluster`. The trace stays: it is the harness's record of what the node did before."""
        await self._ask(node, "wipe")

    async def pause(self, node: NodeId) -> None:
        """See `faults.port.Cluster`. SIGSTOP."""
        await self._ask(node, "signal", name="STOP")
        self._paused.add(node)

    async def resume(self, node: NodeId) -> None:
        """See `faults.port.Cluster`."""
        await self._ask(node, "signal", name="CONT")
        self._paused.discard(node)

    async def status(self, node: NodeId) -> NodeStatus:
        """See `faults.port.Cluster`."""
        self._seat_of(node)
        if self.lapsed:
            raise MachineError(f"hosts undid every fault by themselves: {self.lapsed}")  # the run is void: end it now
        return node_status(node, (await self._reports([node]))[node])

    # ---------------------------------------------------------------- disks and clocks
    async def fill_disk(self, node: NodeId) -> None:
        """See `faults.port.BoundedDisks`."""
        await self._ask(node, "fill")

    async def free_disk(self, node: NodeId) -> None:
        """See `faults.port.BoundedDisks`."""
        await self._ask(node, "free")

    async def disk_space(self, node: NodeId) -> DiskSpace:
        """See `faults.port.BoundedDisks`."""
        return msgspec.convert(await self._ask(node, "space"), DiskSpace)

    async def set_clock(self, node: NodeId, skew_ms: float, drift_ppm: float) -> None:
        """See `faults.port.Machines`. By the node's control port; whole milliseconds and parts per million."""
        await self._ask(node, "set_clock", skew_ms=round(skew_ms), drift_ppm=round(drift_ppm))

    async def read_clock(self, node: NodeId) -> int:
        """See `faults.port.Machines`. The node says how far it is off; so the way there and back costs no precision."""
        reply = (await self._asked([node], {"op": "clock"}))[node]
        return self.now() + int((reply or {}).get("off_ns", 0))

    # ---------------------------------------------------------------- for the runner
    def http(self) -> HttpClient:
        """To the hosts' own addresses."""
        return HttpClient()

    def announce_load(self, load_start: int) -> None:
        """See `port.RunningCluster`. The corrupted nodes share a host, whose warden speaks into their channel."""
        broken = [task for task in self._announcing if task.done() and task.exception()]
        if broken:
            raise SideChannelError(str(broken[0].exception()))
        if self._coalition:
            client = self._clients[self._where[self.roster.byzantine[0]]]
            members = list(self.roster.byzantine)
            call = client.ask("announce", directory=self._coalition, members=members, key=LOAD_START, value=load_start)
            task = asyncio.ensure_future(call)
            self._announcing = {*(t for t in self._announcing if not t.done()), task}

    def trace_file(self, node: NodeId) -> Path:
        """See `port.RunningCluster`; here it is there once the cluster was stopped."""
        return self._spec.directory / "nodes" / node / "data" / "trace.jsonl"

    # ---------------------------------------------------------------- coming up
    async def _open(self, host: Host) -> None:
        directory = self._directory(host)
        removal.register(self._spec.run_id, host, directory, self._paths[host.name])
        connection = await asyncio.to_thread(Connection.connect, host)
        client = await WardenClient.start(
            connection,
            directory,
            self._paths[host.name],
            self._spec.run_id,
            self._lease_s,
            self._spec.seed,
            *self._warden_words(host),
        )
        self._clients[host.name] = client
        offset, uncertain = await client.clock_offset()
        self._offsets[host.name] = offset
        self._note(f"clock of host {host.name}: {offset / 1e6:+.3f} ms on ours, to {uncertain / 1e6:.3f} ms")

    def _warden_words(self, host: Host) -> tuple[str, ...]:
        """What the host's warden is told beside the run."""
        return ()

    async def _seat(self, name: str) -> None:
        """Users and ports for the host's nodes."""
        client, address = self._clients[name], self._hosts[name].peers
        mine = [node for node in self._spec.nodes if self._where[node.id] == name]
        first = int((await client.ask("hello", nodes=len(mine)))["uid"])
        ports = iter((await client.ask("ports", count=3 * len(mine), address="0.0.0.0"))["ports"])
        for number, node in enumerate(mine):
            listen, control, http = next(ports), next(ports), next(ports)
            uid = first + number if first >= 0 else -1
            self._seats[node.id] = Seat(name, uid, address, listen, control, http if node.role == "gateway" else 0)

    async def _equip(self, name: str) -> None:
        """Files and disks of the host's nodes."""
        client, spec = self._clients[name], self._spec
        mine = [node for node in spec.nodes if self._where[node.id] == name]
        gid = min(self._seats[node.id].uid for node in mine)
        genesis = (await self._send(client, GENESIS, msgspec.json.encode(spec.config)))["path"]
        attacks: dict[Path, str] = {}
        if any(node.byzantine for node in mine):
            self._coalition = (await client.ask("directory", name=COALITION, gid=gid))["path"]
            for number, file in enumerate(spec.attack_files):
                attacks[file] = (await self._send(client, f"attack-{number}-{file.name}", file.read_bytes()))["path"]
        for node in mine:
            await self._equip_node(client, node, genesis, gid, attacks)

    async def _equip_node(
        self, client: WardenClient, node: NodeSpec, genesis: str, gid: int, attacks: Mapping[Path, str]
    ) -> None:
        seat = self._seats[node.id]
        config = NodeConfig(
            id=node.id,
            secret_key=node.secret_key,
            genesis=genesis,
            data="{home}/data",
            listen=(seat.address, seat.listen),
            control=("127.0.0.1", seat.control),
            peers={peer: (other.address, other.listen) for peer, other in self._seats.items() if peer != node.id},
            start_ns=self._start_ns + self._offsets[seat.host],
            http=(seat.address, seat.http) if seat.http else None,
        )
        files = {"node.json": msgspec.json.encode(config).decode()}
        arguments = ["-m", "nodes", "{home}/node.json"]
        if node.byzantine is not None:
            inside = relocated(node.byzantine, self._coalition, attacks)
            files["byzantine.json"] = msgspec.json.encode(inside).decode()
            arguments = ["-m", "faults.byzantine", "{home}/node.json", "{home}/byzantine.json"]
        size = DISK_BYTES if Capability.DISK_FULL in self._spec.needs else 0
        await client.ask("node", node=node.id, uid=seat.uid, gid=gid, control=seat.control, arguments=arguments,
                         files=files, disk=size)  # fmt: skip

    async def _send(self, client: WardenClient, name: str, data: bytes) -> dict[str, Any]:
        return await client.ask("file", name=name, data=base64.b64encode(data).decode())

    async def _answers(self, node: NodeId) -> None:
        deadline = time.monotonic() + START_S
        while (await self._reports([node]))[node] is None:
            look = await self._ask(node, "look")
            if not look["running"]:
                raise MachineError(f"node {node} on host {self._where[node]} ended at once; it said:\n{look['tail']}")
            if time.monotonic() > deadline:
                raise MachineError(
                    f"node {node} on host {self._where[node]} did not answer on its control port in {START_S:.0f} s; "
                    f"it said:\n{look['tail']}"
                )
            await asyncio.sleep(0.1)

    # ---------------------------------------------------------------- asking
    async def _ask(self, node: NodeId, op: str, **words: Any) -> dict[str, Any]:
        return await self._clients[self._seat_of(node).host].ask(op, node=node, **words)

    async def _asked(self, nodes: Sequence[NodeId], request: dict[str, Any]) -> dict[NodeId, dict[str, Any] | None]:
        """What the nodes' control ports reply, one question to each host."""
        hosts: dict[str, list[NodeId]] = {}
        for node in nodes:
            if node not in self._paused:
                hosts.setdefault(self._seat_of(node).host, []).append(node)
        answers = await together(
            self._clients[host].ask("ask", nodes=names, request=request, limit_s=ASK_S) for host, names in hosts.items()
        )
        return {**dict.fromkeys(nodes), **{node: reply for a in answers for node, reply in a["replies"].items()}}

    async def _reports(self, nodes: Sequence[NodeId]) -> dict[NodeId, StatusReport | None]:
        replies = await self._asked(nodes, {"op": "status"})
        return {node: None if r is None else msgspec.convert(r, StatusReport) for node, r in replies.items()}

    def _layer(self) -> HostLinks:
        if self._links is None:
            raise RuntimeError("the cluster is not up")
        return self._links

    def _seat_of(self, node: NodeId) -> Seat:
        try:
            return self._seats[node]
        except KeyError:
            raise KeyError(f"this run has no node {node}; it has {', '.join(sorted(self._seats))}") from None

    def _directory(self, host: Host) -> str:
        return f"{host.directory}/runs/{self._spec.run_id}"

    # ---------------------------------------------------------------- going down
    async def _quietly(self, call: Any) -> None:
        """What may fail because the host is gone already: its warden has seen to it, or will."""
        try:
            await call
        except MachineError as error:
            await asyncio.to_thread(self._note, str(error))

    def _note(self, text: str) -> None:
        with (self._spec.directory / "logs" / "hosts.log").open("a") as log:
            log.write(f"{text}\n")

    async def _collect(self) -> None:
        """Traces and logs of every node, over a new connection where the old one is lost."""
        if self._collected:
            return
        self._collected = True
        await asyncio.gather(*(self._quietly(asyncio.to_thread(self._fetch, host)) for host in self._hosts.values()))

    def _fetch(self, host: Host) -> None:
        there = self._directory(host)
        with removal.fresh(host) as connection:
            for node in self._spec.nodes:
                if self._where[node.id] == host.name:
                    trace = self.trace_file(node.id)
                    trace.parent.mkdir(parents=True, exist_ok=True)
                    connection.get(f"{there}/nodes/{node.id}/data/trace.jsonl", trace)
                    connection.get(f"{there}/logs/{node.id}.log", self._spec.directory / "logs" / f"{node.id}.log")
            client, deadline = self._clients.get(host.name), time.monotonic() + HEALED_S
            while not self._fetch_words(connection, host) and client is not None and client.gone:
                if time.monotonic() > deadline:
                    break  # whoever was left there was killed, too
                time.sleep(0.2)

    def _fetch_words(self, connection: Connection, host: Host) -> bool:
        """What the warden or its guardian wrote about undoing faults by themselves; False if they did not."""
        said = [self._spec.directory / "logs" / f"{host.name}-{name}" for name in ("warden.log", "guardian.log")]
        for path in said:
            connection.get(f"{self._directory(host)}/{path.name.removeprefix(f'{host.name}-')}", path)
        return any(path.exists() and path.stat().st_size for path in said)

    async def _remove(self) -> None:
        for task in self._announcing:
            task.cancel()
        await self._collect()
        for client in self._clients.values():
            await self._quietly(client.ask("finish", timeout_s=FINISH_S))
            client.close()
        failures = await asyncio.gather(
            *(asyncio.to_thread(removal.remove, host, self._directory(host), self._paths[host.name])
              for host in self._hosts.values()),
            return_exceptions=True,
        )  # fmt: skip
        for client in self._clients.values():
            client.connection.close()
        for failure in failures:
            if isinstance(failure, BaseException):
                raise failure
        leftovers.forget(self._spec.run_id)
