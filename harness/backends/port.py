"""What a backend is to the runner: it brings a cluster up, hands out a `Cluster`, takes it down without a trace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from faults.byzantine.config import ByzantineConfig
from faults.port import Capability, Cluster, Link, NodeId, Roster, Shape
from harness.outcome import MachineError as MachineError
from nodes.committee import ClusterConfig

if TYPE_CHECKING:
    from harness.targets.port import Target


class NodeSpec(msgspec.Struct, frozen=True):
    """One node process."""

    id: NodeId
    role: str  # tribe | gateway
    secret_key: str
    byzantine: ByzantineConfig | None = None  # side_channel is filled in by the backend


class Physics(msgspec.Struct, frozen=True):
    """What only a simulated network and machine can be told ([network] of a scenario)."""

    transport: str = "stream"  # stream: TCP-like, nothing is lost for good; datagram: what is lost is lost
    egress_mbit: float = 0.0  # uplink of each node; 0: unlimited
    sync_ms: float = 0.0  # how long a sync of a node's log takes
    votes: str = "each"  # lanes: votes as arrival times (sim/lanes.py), for scale runs only
    trace: str = "full"  # lean: without votes, certificates and execution, for scale runs only


class ClusterSpec(msgspec.Struct, frozen=True):
    """Everything a backend needs. `base` holds the shape of every directed link (an absent link has no delay)."""

    name: str  # scenario name
    run_id: str  # unique, short, [a-z0-9-]; every process, container and network carries it
    directory: Path  # the run directory; node data and logs go to directory/"nodes"/<id>, directory/"logs"/<id>.log
    config: ClusterConfig
    roster: Roster
    nodes: tuple[NodeSpec, ...]
    base: Mapping[Link, Shape]
    needs: frozenset[Capability]
    attack_files: tuple[Path, ...] = ()
    seed: int = 0
    physics: Physics = Physics()
    wallets: tuple[bytes, ...] = ()  # seeds of the wallets' keys, for a referee of ideal signatures


class ProgramSpec(msgspec.Struct, frozen=True):
    """A system that is not ours, for a backend with `Capability.PROGRAM`. Fields as those of ClusterSpec."""

    name: str
    run_id: str
    directory: Path
    roster: Roster
    base: Mapping[Link, Shape]
    target: Target
    seed: int = 0


class Requests(Protocol):
    """What wallets need of HTTP (harness.http.HttpClient, or a door into a simulated gateway)."""

    async def request(
        self, method: str, base: str, path: str, body: bytes = b"", timeout_s: float = 20.0
    ) -> tuple[int, bytes]:
        """(status, body) of `method base+path`. Raises harness.http.NeverSentError or UnansweredError."""
        ...


class RunningCluster(Cluster, Protocol):
    """A cluster that is up."""

    gateways: Mapping[NodeId, str]  # gateway id -> base URL of its HTTP API, reachable from here

    def http(self) -> AbstractAsyncContextManager[Requests]:
        """The wallets' way to the gateways."""
        ...

    def trace_file(self, node: NodeId) -> Path:
        """Where the node's own trace.jsonl lies (readable while the node runs, and after)."""
        ...

    def announce_load(self, load_start: int) -> None:
        """Tell the corrupted nodes that are up when the load started (run clock), for their behaviours' windows count
        from there. Never waits; the runner says it again and again, for those that were down or busy. Raises
        SideChannelError when they cannot be told."""
        ...

    async def stop(self) -> None:
        """Orderly stop of every node that still runs (control port, then kill); traces are complete afterwards."""
        ...


class Backend(Protocol):
    """A place where clusters can run."""

    name: str
    capabilities: frozenset[Capability]
    scheme: str  # signature scheme of its clusters: "ed25519" | "ideal"

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """The event loop on which a run on this backend lives."""
        ...

    def prepare(self, progress: Callable[[str], None]) -> None:
        """Have everything that a run needs; `progress` hears what takes long. Raises MachineError with the cure."""
        ...

    def up(self, spec: ClusterSpec | ProgramSpec) -> AbstractAsyncContextManager[RunningCluster]:
        """Bring the cluster up (every control port answers); on leaving remove every process, container, network and
        proxy, whatever happened. Raises MachineError when the machine cannot, UnsupportedError for a spec that is not
        for this backend."""
        ...
