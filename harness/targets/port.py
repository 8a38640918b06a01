"""What a system that is not ours must tell the lab: three methods, and a few facts (docs/own-target.md).

    programs(site)               what to start on each node, with which files
    status(node, since)          what the node says of itself: height, leader, and the blocks since then, read back
    perform(operation, node)     one client's operation, with invoke/ok/fail/info as Jepsen means them

How the lab uses a target (entry-point group `moonquake.targets`; a scenario says `[cluster] target = NAME`, its
`[cluster.options]` are the constructor's keywords):

 1. `plan.resolve` makes it (`making.make_target`) and refuses what makes no sense: options, workloads, too few nodes.
 2. The backend finds its binaries, gives every node its ports, asks `programs(site)`, lays the files down and starts
    the programs. Between the peers' ports: on `process` a Toxiproxy proxy for every ordered pair of nodes (so each node
    must be told where *it* reaches each peer: `site.dial`, or `site.shared`), on `docker` the packet layer.
 3. One observer a node (`agent.py`) asks `status` a few times a second, and writes what it hears to the node's trace.
    A node is ready when `status` answers with height >= 1.
 4. Every client process asks the workload for an `Operation` and has it carried out by `perform` (`driver.py`).
 5. Faults kill, pause and cut nodes without the target's help; those that need it are in `Membership`.

A target imports nothing of the nodes, and no checker imports a target: they meet in history and trace.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

import msgspec

from faults.port import Capability, NodeId, Roster
from harness.backends.port import Requests
from harness.targets.packaged import Packaged

Address: TypeAlias = tuple[str, int]  # host, port
OPERATION_S = 5.0  # a client waits for so long for an answer
GO_KEEPS_ITS_CLOCK = (
    "Go programs ask the kernel for the time, not the C library, so libfaketime does not reach them"
    " (tests/live/test_etcd.py shows it); take the fault out"
)


class Program(msgspec.Struct, frozen=True):
    """What one node is. The program is started with its home directory as working directory.

    `files`: path below the home directory -> content. Written before each start where they are missing, so that a
    restart finds what the program made of them, and a node whose disk was lost (`data/` of its home) finds the first
    version again. `arguments[0]` is a path from `Site.binary`. What it prints goes to logs/<node>.log of the run.
    """

    node: NodeId
    arguments: tuple[str, ...]
    files: Mapping[str, bytes] = {}
    environment: Mapping[str, str] = {}


class Site(Protocol):
    """Where the nodes live, as the programs see it: addresses and paths. All is fixed before anything is started."""

    @property
    def nodes(self) -> tuple[NodeId, ...]:
        """All of them, in the order of their numbers."""
        ...

    @property
    def seed(self) -> int:
        """The run's: keys are made of it."""
        ...

    def binary(self, name: str) -> str:
        """The path of a program of `Target.binaries`, as the nodes see it. KeyError if the target declares none."""
        ...

    def home(self, node: NodeId) -> str:
        """The node's home directory (absolute). Its sub-directory `data` is the disk that a fault may lose."""
        ...

    def listen(self, node: NodeId, port: str) -> Address:
        """Where the node has to listen for this one of `Target.ports`."""
        ...

    def dial(self, source: NodeId, node: NodeId) -> Address:
        """Where `source` reaches the peer port of `node`, such that faults can cut and delay this very link. For
        itself: where it listens."""
        ...

    def shared(self, node: NodeId) -> Address:
        """One address of the peer port of `node` that all nodes may be told, for systems that give every node the same
        list (etcd). It may be a name, which each node resolves to its own proxies: start them with `resolver`."""
        ...

    def resolver(self, node: NodeId) -> Mapping[str, str]:
        """Environment in which `shared` names resolve. KeyError unless NSS_WRAPPER (debian.py) is in `binaries`."""
        ...


class Node(Protocol):
    """One running node, as the harness reaches it: straight, never through a proxy."""

    id: NodeId
    http: Requests

    def address(self, port: str) -> Address:
        """Where a port of `Target.ports` is reached from here."""
        ...

    def url(self, port: str) -> str:
        """The same as the base of an HTTP URL: "http://127.0.0.1:2379"."""
        ...

    async def ask(
        self, port: str, path: str, body: Any = None, timeout_s: float = OPERATION_S
    ) -> tuple[int, dict[str, Any]]:
        """(status, decoded JSON object) of a GET of the path, or of a POST of `body` as JSON if there is one.

        Raises NeverSentError (certainly not arrived), UnansweredError (may have arrived, or the answer is no JSON
        object). An operation lets both pass: `driver.py` makes of them what they mean.
        """
        ...


class Report(msgspec.Struct, frozen=True):
    """What a node says of itself. `height` counts what it has decided for good (blocks, log entries), from 1 on.

    `events`: trace events without time, node and incarnation, which the observer adds. Blocks are `finalise` events, in
    the order of their height, each once for each life of the node (`finalised` makes them); they begin at `since` + 1.
    """

    height: int
    view: int = 0  # round, term
    leader: str = ""  # by its node id where it is known
    events: Sequence[Mapping[str, Any]] = ()


class Operation(msgspec.Struct, frozen=True):
    """What one client asks for. `f` and `value` are written to the history when it is invoked.

    f          value on invoke                          value of an ok outcome
    read       [key, null]                              [key, what was read, null for nothing]
    write      [key, value]                             the same
    cas        [key, [old, new]]                        the same; fail where the register does not hold `old`
    txn        [["append", key, v], ["r", key, null]]   reads filled in (for registers: "w" in place of "append")
    """

    f: str
    value: Any
    observes: bool = False  # it changes nothing: without an answer it is a fail, since it can have had no effect
    nodes: tuple[NodeId, ...] = ()  # empty: the process's own node; several: sent to each of them
    tx: str = ""  # identity of a transaction, for checkers that look for it in the blocks
    options: Mapping[str, Any] = {}  # for the target: how it is to be carried out


class Outcome(msgspec.Struct, frozen=True):
    """How an operation ended: ok = it took effect, fail = it did not and never will, info = nobody knows."""

    kind: Literal["ok", "fail", "info"]
    value: Any = None  # of an ok: as the history holds it; None: as it was invoked
    error: str = ""
    tx: str = ""


class Target(ABC):
    """A system under test. Subclasses take their options by keyword and refuse bad ones with ValueError."""

    name: ClassVar[str]
    binaries: ClassVar[tuple[Packaged, ...]]  # the programs, and how they are had
    ports: ClassVar[tuple[str, ...]]  # names of the ports of each node; the first is the one that peers dial
    workloads: ClassVar[tuple[str, ...]]  # names of registered workloads that `perform` knows
    checkers: ClassVar[tuple[str, ...]]  # what judges a run whose scenario names none; receipts always do
    least: ClassVar[int] = 1  # nodes
    patience_s: ClassVar[float] = OPERATION_S  # an operation is given up after twice that
    makes_blocks: ClassVar[bool] = False  # also without load: then the quiet phase waits for some
    refuses: ClassVar[Mapping[Capability, str]] = {}  # faults that cannot work here, and why

    def __init__(self, roster: Roster, seed: int) -> None:
        self.roster = roster
        self.seed = seed

    @abstractmethod
    def programs(self, site: Site) -> Sequence[Program]:
        """One program for each node of `site.nodes`."""

    @abstractmethod
    async def status(self, node: Node, since: int) -> Report | None:
        """What the node says, with the blocks above height `since` (as many as one call should read). None, or
        NeverSentError or UnansweredError: it does not answer."""

    @abstractmethod
    async def perform(self, operation: Operation, node: Node) -> Outcome:
        """Carry it out once. NeverSentError and ConnectionRefusedError become fail; UnansweredError, TimeoutError and
        whatever else is raised become info (fail for one that only observes)."""

    def beyond(self, crashes: int) -> Sequence[str]:
        """What of its own promises the scenario exceeds, in words; empty: none. `crashes`: nodes that may be down at
        one time, as [adversary] says. Options that weaken the system belong here too ("serializable reads are not
        linearizable"), and so do twins beyond the bound: `self.roster.byzantine` are the corrupted nodes."""
        return ()

    def describe(self) -> dict[str, Any]:
        """`parameters` of run.json: facts that checkers need (public keys, the genesis, versions); JSON values."""
        return {}


@runtime_checkable
class Membership(Protocol):
    """Optional: a target whose members change while it runs (Capability.MEMBERSHIP)."""

    async def members(self, via: Node) -> Sequence[NodeId]:
        """The members, as the node knows them. Raises ConnectionError."""
        ...

    async def remove(self, member: NodeId, via: Node) -> None:
        """Ask `via` to remove a member; returns when that is decided. Raises ConnectionError."""
        ...

    async def admit(self, newcomer: NodeId, via: Node, site: Site) -> Program:
        """Ask `via` to add a member, on an empty disk and its old addresses; returns what to start it with."""
        ...


def finalised(
    height: int, block: str, parent: str, *, view: int = 0, proposer: str = "", transactions: Sequence[str] = (),
    timestamp_ms: int | None = None, **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """The trace event of a block that a node has decided for good; `block` and `parent` are hashes in hex.

    `transactions`: their identities, as `Operation.tx` or `Outcome.tx` name them. `more`: what else its checkers need.
    """
    return {
        "event": "finalise", "height": height, "view": view, "block": block, "parent": parent, "proposer": proposer,
        "batches": [], "rule": "decided", "timestamp_ms": timestamp_ms, "transactions": list(transactions), **more,
    }  # fmt: skip
