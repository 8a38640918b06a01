"""One node process from its configuration to its exit code.

Order: read the configuration, bind every port, open the data directory, step the node's `Start`, dial, serve.
Exit codes: 0 orderly stop (SIGTERM, SIGINT, control op "stop") - 1 the node's core raised (trace event `halt`, and a
traceback on stderr) - 3 bad configuration - 4 the machine: port in use, disk full or unreadable log.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from nodes.committee import ClusterConfig, Committee, ConfigError
from nodes.crypto import Domain, Ed25519Signer, Ed25519Verifier, Signer, Verifier
from nodes.messages import DecodeError, NodeId
from nodes.port import Node
from nodes.records import Record, decode_record, latest
from nodes.runtime.clock import RunClock
from nodes.runtime.config import Address, NodeConfig, load_config
from nodes.runtime.control import Control
from nodes.runtime.links import Links
from nodes.runtime.shell import Shell
from nodes.runtime.trace import TraceError, TraceWriter
from nodes.runtime.wal import Wal, WalError

Wrap: TypeAlias = Callable[[Node, NodeConfig, ClusterConfig, Committee, Domain], Node]
Build: TypeAlias = Callable[[NodeId, ClusterConfig, Signer, Verifier], Node]

OK, CRASHED, BAD_CONFIG, MACHINE = 0, 1, 3, 4


class _MachineFault(RuntimeError):
    """The machine refuses something; the text is the one line that the user sees."""


def run_node(config_path: Path, wrap: Wrap | None = None, build: Build | None = None) -> int:
    """Run one node until it is stopped; returns the exit code. Never raises; says why in one line on stderr.

    `wrap` puts something round the core (corrupted nodes do); it is called in the running event loop. `build` makes
    the core, by default nodes.supra.SupraNode.
    """
    name = str(config_path)
    try:
        node, cluster = load_config(config_path)
        name = node.id
        committee = Committee(cluster)
        signer = _checked(node, cluster, committee)
        return asyncio.run(_Process(node, cluster, committee, signer).run(wrap, build or _supra))
    except ConfigError as error:
        return _say(name, f"bad configuration: {error}", BAD_CONFIG)
    except (_MachineFault, WalError, TraceError) as error:
        return _say(name, str(error), MACHINE)
    except KeyboardInterrupt:
        return OK


def _supra(me: NodeId, cluster: ClusterConfig, signer: Signer, verifier: Verifier) -> Node:
    from nodes.supra import SupraNode  # the protocol; not needed to judge a configuration

    return SupraNode(me, cluster, signer, verifier)


def _say(name: str, text: str, code: int) -> int:
    sys.stderr.write(f"moonquake node {name}: {text}\n")
    sys.stderr.flush()
    return code


def _checked(node: NodeConfig, cluster: ClusterConfig, committee: Committee) -> Signer:
    """Does node.json fit the genesis? Raises ConfigError naming the field."""
    members = (*committee.tribe, *committee.gateways)
    if node.id not in members:
        raise ConfigError(f"id: {node.id!r} is not in the genesis {node.genesis}")
    try:
        signer = Ed25519Signer(bytes.fromhex(node.secret_key))
    except Exception as error:  # PyNaCl has its own exceptions for bad seeds
        raise ConfigError(f"secret_key: not a hex Ed25519 seed of 32 bytes: {error}") from error
    if signer.public_key != committee.keys[node.id]:
        raise ConfigError(f"secret_key: does not belong to the public key of {node.id} in the genesis {node.genesis}")
    missing = sorted(set(members) - set(node.peers) - {node.id})
    unknown = sorted(set(node.peers) - set(members))
    if missing or unknown or node.id in node.peers:
        raise ConfigError(f"peers: must name every other member once; missing {missing}, unknown {unknown}")
    addresses = {"listen": node.listen, "control": node.control, **{f"peers.{p}": a for p, a in node.peers.items()}}
    if node.http is not None:
        addresses["http"] = node.http
    for field, (_, port) in addresses.items():
        if not 0 <= port <= 65535:
            raise ConfigError(f"{field}: {port} is not a TCP port")
    if node.id in committee.gateways and node.http is None:
        raise ConfigError("http: a gateway needs an address for its HTTP API")
    return signer


def _bind(what: str, address: Address) -> socket.socket:
    try:
        return socket.create_server(tuple(address), backlog=256)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _MachineFault(
            f"cannot listen on {address[0]}:{address[1]} ({what}): {reason}; "
            "choose another port, or end the process that holds this one"
        ) from error


class _Process:
    """The parts of one running node."""

    def __init__(self, node: NodeConfig, cluster: ClusterConfig, committee: Committee, signer: Signer) -> None:
        self.node = node
        self.cluster = cluster
        self.committee = committee
        self.signer = signer
        self.verifier = Ed25519Verifier()
        self.domain = Domain(cluster.chain, cluster.epoch, cluster.cycle)
        self.incarnation = 0
        self.recovered = 0  # records in the log at the start

    async def run(self, wrap: Wrap | None, build: Build) -> int:
        """From the ports to the exit code. Raises _MachineFault, WalError, TraceError, ConfigError before serving."""
        listeners = {"peer links": self.node.listen, "control port": self.node.control}
        if self.node.http is not None:
            listeners["HTTP API"] = self.node.http
        sockets: dict[str, socket.socket] = {}
        try:
            for what, address in listeners.items():
                sockets[what] = _bind(what, address)
            wal, records, trace = self._open_data()
            core = build(self.node.id, self.cluster, self.signer, self.verifier)
            if wrap is not None:
                core = wrap(core, self.node, self.cluster, self.committee, self.domain)
            clock = RunClock(self.node.start_ns, self.node.clock_skew_ms, self.node.clock_drift_ppm)
            shell = Shell(core, clock, wal, trace, self.domain)
            return await self._serve(shell, sockets, records)
        finally:
            for bound in sockets.values():
                bound.close()

    def _open_data(self) -> tuple[Wal, tuple[Record, ...], TraceWriter]:
        data = Path(self.node.data)
        try:
            data.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"data: {data}: {error.strerror}") from error
        wal = Wal(data / "wal.log")  # first: its lock keeps a second process out
        if wal.torn_bytes:
            _say(self.node.id, f"{wal.path}: cut off {wal.torn_bytes} bytes of a record that was never completed", OK)
        self.recovered = len(wal.records)
        records = latest(self._decode(wal, i, body) for i, body in enumerate(wal.records))
        wal.records.clear()
        self.incarnation = _next_incarnation(data / "incarnation")
        return wal, records, TraceWriter(data / "trace.jsonl", self.node.id, self.incarnation)

    def _decode(self, wal: Wal, index: int, body: bytes) -> Record:
        try:
            return decode_record(body)
        except DecodeError as error:
            raise WalError(f"{wal.path}: record {index} is no record of this version: {error}") from error

    async def _serve(self, shell: Shell, sockets: dict[str, socket.socket], records: tuple[Record, ...]) -> int:
        node = self.node
        links = Links(
            node.id,
            self.committee,
            self.domain,
            self.signer,
            self.verifier,
            {peer: (address[0], address[1]) for peer, address in node.peers.items()},
            shell.deliver,
            shell.reject,
        )
        shell.network = links
        if self.incarnation == 1:
            shell.emit("start", {})
        else:
            shell.emit("restart", {"recovered": self.recovered})
        shell.start(records)
        shell.flush()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, shell.stop)

        def clock(skew_ms: int | None, drift_ppm: int) -> dict[str, Any]:
            if skew_ms is not None:
                shell.set_clock(skew_ms, drift_ppm)
            return {"off_ns": shell.clock.off()}

        control = Control(lambda: self._status(shell, links), shell.stop, shell.trace, shell.reject, clock)
        http = self._http(shell, sockets) if node.http is not None else None
        await links.start(sockets["peer links"])
        await control.start(sockets["control port"])
        if http is not None:
            await http.start()
        gc.collect()
        gc.freeze()  # what start-up made stays: no need to look at it again
        code = OK
        try:
            await shell.finished
        except Exception as error:
            code = _report_crash(node.id, shell, error)
        if http is not None:
            await http.close()
        await links.close(deliver_queued=code == OK)
        await control.close()
        shell.trace.close()
        shell.wal.close()
        return code

    def _http(self, shell: Shell, sockets: dict[str, socket.socket]) -> Any:
        from nodes.runtime.http import Api  # starlette and uvicorn: only where they are needed
        from nodes.runtime.httpserver import HttpServer

        api = Api(shell.submit, lambda: int(getattr(shell.node, "height", 0)), shell.reject)
        return HttpServer(api.app(), sockets["HTTP API"], shell.reject)

    def _status(self, shell: Shell, links: Links) -> dict[str, Any]:
        core = shell.node
        figures = {name: int(getattr(core, name, 0)) for name in ("view", "height", "executed", "certified")}
        return {
            "node": self.node.id,
            "incarnation": self.incarnation,
            **figures,
            "rejected": shell.rejects.total,
            "pid": os.getpid(),
            "links": links.counts(),
            "connected": links.connected(),
        }


def _next_incarnation(path: Path) -> int:
    """Count this start of the process. A counter that cannot be read is an error, not a one."""
    try:
        number = int(path.read_text()) + 1 if path.exists() else 1
        fresh = path.with_suffix(".new")
        fresh.write_text(f"{number}\n")
        fresh.replace(path)
    except (OSError, ValueError) as error:
        raise _MachineFault(f"{path}: the incarnation counter cannot be kept: {error}") from error
    return number


def _report_crash(name: str, shell: Shell, error: Exception) -> int:
    """Say what happened, in the log and as the last event of the trace."""
    machine = isinstance(error, WalError | TraceError)
    if machine:
        shell.trace.discard()  # events of steps that were not recorded never happened
        _say(name, str(error), MACHINE)
    else:
        sys.stderr.write("".join(traceback.format_exception(error)))
        _say(
            name,
            f"the core raised {type(error).__name__}: {error}; this is a bug, please report the traceback",
            CRASHED,
        )
    try:
        if not machine:
            shell.wal.sync()
        shell.trace.add(shell.clock.true(), "halt", {"reason": f"{type(error).__name__}: {error}"})
        shell.trace.flush()
    except (WalError, TraceError) as second:
        _say(name, f"and the trace of it could not be written: {second}", MACHINE)
    return MACHINE if machine else CRASHED
