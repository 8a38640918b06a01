"""What a fault may touch, and what it must leave behind (architecture sections 3 and 4).

A backend implements `Cluster`; a fault is written once against it and works wherever its capabilities are met. Every
injection yields a `Receipt`: proof that the fault bit and that its heal was verified. Times are nanoseconds since
the start of the run unless the name ends in another unit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from random import Random
from typing import ClassVar, Protocol, TypeAlias

import msgspec

NodeId: TypeAlias = str
Link: TypeAlias = tuple[str, str]  # directed: (from, to)


class Capability(StrEnum):
    """What a backend can do; a scenario that needs more is refused before anything starts."""

    CUT = "cut"  # stop all traffic on directed links, and heal exactly
    LATENCY = "latency"  # delay and jitter per directed link
    LOSS = "loss"  # random packet loss per directed link
    BANDWIDTH = "bandwidth"  # rate limit per directed link or node
    KILL = "kill"  # kill -9 a node and start it again on the same disk
    WIPE = "wipe"  # lose a node's disk while it is down
    PAUSE = "pause"  # freeze and thaw a node
    STREAM = "stream"  # faults of the TCP stream: reset, slicer, slow close
    BYZANTINE = "byzantine"  # run corrupted replicas
    MESSAGE = "message"  # rules per message kind and view: delay, drop, duplicate (no packet layer sees those)
    POWER = "power"  # lose what a node's disk had not synced; slow syncs
    CLOCK = "clock"  # skew and drift of a running node's clock
    PROGRAM = "program"  # run any program as a node: a target that is not ours
    MEMBERSHIP = "membership"  # remove members of the running system, and let them join again
    PHYSICS = "physics"  # datagram transport, egress limits, sync times: the `[network]` keys of the simulator


class UnsupportedError(RuntimeError):
    """The backend lacks a capability; names it and the backends that have it."""


class Shape(msgspec.Struct, frozen=True):
    """Traffic shaping of one directed link. Zero means "no such limit". One-way delay; jitter is uniform +-."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0  # probability per packet, 0..1
    rate_kbit: float = 0.0


class MessageRule(msgspec.Struct, frozen=True):
    """What happens to some messages on some links. Empty `links`, `kinds`: all; `views` None: whatever their view.

    `kinds` are wire tags ("OPT", "VOTE", "QC", ...: nodes/messages.py). `views` is an inclusive range; a message
    without a view is matched only where it is None. Every matching message is hit with `probability`.
    """

    action: str  # drop | delay | duplicate
    links: tuple[Link, ...] = ()
    kinds: tuple[str, ...] = ()
    views: tuple[int, int] | None = None
    probability: float = 1.0
    low_ms: float = 0.0  # extra delay (of the copy, for duplicates), uniform in [low_ms, high_ms]
    high_ms: float = 0.0
    salt: int = 0  # names the rule's draws, which so stay the same whatever other rules there are; 0: by its number


class RuleCount(msgspec.Struct, frozen=True):
    """What a rule did: messages it looked at and matched, and of these how many it hit."""

    matched: int = 0
    hit: int = 0


class Passage(msgspec.Struct, frozen=True):
    """What a watch on some links saw of the messages that were sent over them while it lasted.

    Held against what the links' shapes alone would do, at the receiving ends: nothing here is a rule's own word. On
    links with no rule, no cut and both ends up, all but the first two are zero.
    """

    sent: int = 0
    arrived: int = 0  # at least once
    copies: int = 0  # arrivals beyond the first
    delayed: int = 0  # arrived later than the link's shape made it
    overtaken: int = 0  # of these, behind a message that was sent later
    missing: int = 0  # overdue
    worst_ms: float = 0.0  # the longest of the delays


class DiskCount(msgspec.Struct, frozen=True):
    """A node's disk: how long a sync is set to take, and what the syncs that ended took, over all incarnations."""

    sync_ms: float = 0.0
    syncs: int = 0
    total_ms: float = 0.0


class LinkCount(msgspec.Struct, frozen=True):
    """Counters of one directed link since the node's process started, plus what the fault layer saw.

    `sent`: messages the sender's node tried to hand to the link (keep-alives included). `received`: messages that
    arrived at the receiver's node. `dropped`: packets or connections the fault layer refused. `sent`/`received`
    restart from zero with the process; a node that is down counts as zeros.
    """

    sent: int = 0
    received: int = 0
    dropped: int = 0


class NodeStatus(msgspec.Struct, frozen=True):
    """What a node's control port reports (`up` is False, and the rest zero, when it does not answer)."""

    node: NodeId
    up: bool
    incarnation: int = 0
    view: int = 0
    height: int = 0  # last finalised
    executed: int = 0  # last executed (clan) height
    certified: int = 0  # last height with a state certificate
    rejected: int = 0  # hostile or invalid inputs refused
    pid: int = 0


class Roster(msgspec.Struct, frozen=True):
    """Who is who in this run."""

    tribe: tuple[NodeId, ...]
    gateways: tuple[NodeId, ...]
    clans: tuple[tuple[NodeId, ...], ...]
    byzantine: tuple[NodeId, ...] = ()
    leaders: tuple[NodeId, ...] = ()  # leader of view v is leaders[v % len(leaders)]

    @property
    def nodes(self) -> tuple[NodeId, ...]:
        """Tribe first, then gateways."""
        return self.tribe + self.gateways

    @property
    def honest(self) -> tuple[NodeId, ...]:
        """Tribe nodes that are not corrupted."""
        return tuple(n for n in self.tribe if n not in self.byzantine)


class Receipt(msgspec.Struct):
    """What one fault did. Filled in while it is active; final when its context manager has been left.

    `matched` things the fault applied to (links, nodes), `changed` messages or packets delayed or altered, `dropped`
    messages or packets stopped. `bit` is the fault's own judgement that it had an effect, with `evidence` in words.
    `healed` nanoseconds at which it was undone; `heal_verified` says that the undoing was *observed*.
    """

    fault: str
    targets: tuple[str, ...] = ()  # "n1", or "n1>n2" for links
    layer: str = ""
    injected: int = 0
    healed: int = 0
    matched: int = 0
    changed: int = 0
    dropped: int = 0
    bit: bool = False
    heal_verified: bool = False
    evidence: str = ""


class Cluster(Protocol):
    """A running cluster on some backend. All methods are coroutine-safe; links and nodes are named by id."""

    backend: str
    layer: str  # what carries network faults: "nft+netem", "nft+nfqueue", "toxiproxy", "sim"
    capabilities: frozenset[Capability]

    @property
    def roster(self) -> Roster:
        """Who is who."""
        ...

    def now(self) -> int:
        """Nanoseconds since the start of the run, on the clock that stamps traces."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait on the cluster's clock (virtual in `sim`)."""
        ...

    # network
    async def cut(self, links: Iterable[Link]) -> None:
        """Stop all traffic on the directed links; cuts add up and are counted (two cuts of a link need two heals)."""
        ...

    async def heal(self, links: Iterable[Link]) -> None:
        """Undo one `cut` of each link."""
        ...

    async def shape(self, links: Iterable[Link], shape: Shape) -> None:
        """Set the extra shape of the links on top of the scenario's base latency (replaces an earlier extra shape)."""
        ...

    async def unshape(self, links: Iterable[Link]) -> None:
        """Back to the scenario's base latency."""
        ...

    async def counters(self) -> Mapping[Link, LinkCount]:
        """Counters of every directed link between running nodes."""
        ...

    # processes
    async def kill(self, node: NodeId) -> None:
        """kill -9; returns when the process is gone."""
        ...

    async def start(self, node: NodeId) -> None:
        """Start a killed node again on its disk; returns when its control port answers."""
        ...

    async def wipe(self, node: NodeId) -> None:
        """Lose the disk of a node that is down."""
        ...

    async def pause(self, node: NodeId) -> None:
        """Freeze the node's process (SIGSTOP or the freezer)."""
        ...

    async def resume(self, node: NodeId) -> None:
        """Thaw it."""
        ...

    async def status(self, node: NodeId) -> NodeStatus:
        """Ask the control port; a node that does not answer within a few seconds is reported as not up."""
        ...


class MessageRules(Protocol):
    """A cluster with `Capability.MESSAGE`: the network can tell messages apart."""

    async def add_rule(self, rule: MessageRule) -> int:
        """From now on; returns its number. Rules apply in the order in which they were added."""
        ...

    async def remove_rule(self, number: int) -> RuleCount:
        """Take it away and say what it did. Raises KeyError for a number that is not in force."""
        ...

    async def rules(self) -> tuple[int, ...]:
        """Numbers of the rules in force."""
        ...

    async def watch(self, links: Iterable[Link], kinds: Collection[str] = ()) -> int:
        """Begin to watch what becomes of messages (of these kinds) on the links; returns the watch's number."""
        ...

    async def unwatch(self, number: int) -> Passage:
        """End the watch. Raises KeyError for a number that is not in force."""
        ...


class Machines(Protocol):
    """A cluster with `Capability.POWER` and `Capability.CLOCK`: it owns the nodes' disks and clocks."""

    async def power_loss(self, node: NodeId) -> int:
        """Like `kill`, and what was written but not synced is gone; returns the number of records lost."""
        ...

    async def slow_disk(self, node: NodeId, sync_ms: float) -> None:
        """From now on a sync of this node's log takes that long."""
        ...

    async def read_disk(self, node: NodeId) -> DiskCount:
        """What the node's syncs take."""
        ...

    async def set_clock(self, node: NodeId, skew_ms: float, drift_ppm: float) -> None:
        """From now on the node's clock is off by so much and gains so much; zeros make it true again."""
        ...

    async def read_clock(self, node: NodeId) -> int:
        """What the node believes the time to be, ns."""
        ...


class Members(Protocol):
    """A cluster with `Capability.MEMBERSHIP`: who belongs to the running system can be changed."""

    async def members(self) -> tuple[NodeId, ...]:
        """The members, as one of the nodes that are up knows them."""
        ...

    async def remove_member(self, node: NodeId) -> None:
        """Have the others remove it, then end it and lose its disk; returns when all that is done."""
        ...

    async def add_member(self, node: NodeId) -> None:
        """Have it join again, on an empty disk; returns when it has been started."""
        ...


class Fault(Protocol):
    """Harm to the environment. One fault, one file; parameters by keyword in the constructor, validated there."""

    name: ClassVar[str]
    needs: ClassVar[frozenset[Capability]]

    def inject(self, cluster: Cluster, rng: Random) -> AbstractAsyncContextManager[Receipt]:
        """Enter = inject, leave = heal and verify the heal."""
        ...
