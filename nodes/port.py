"""The shape of every protocol core: events in, effects out, no clock, no randomness, no I/O (architecture section 2).

`Node.step(now, event)` is the whole contract. `now` is integer nanoseconds since the start of the run. Effects are
carried out in order by the caller (real runtime or simulator); a `Persist` is durable before any later effect of the
same step leaves the node. Messages are immutable and shared between recipients, never copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from nodes.messages import (
    AvailabilityCertificate,
    Batch,
    Block,
    Message,
    NodeId,
    StateCertificate,
    Transaction,
)
from nodes.records import Record

TRIBE = "tribe"  # every voting replica
GATEWAYS = "gateways"  # every wallet-facing gateway (observes, never votes)
EVERYONE = "everyone"  # tribe + gateways


def clan_group(clan: int) -> str:
    """Name of the multicast group that holds the members of one clan."""
    return f"clan:{clan}"


# ---------------------------------------------------------------- events
class Start(msgspec.Struct, frozen=True):
    """First event of an incarnation; `records` is what the write-ahead log still holds, oldest first."""

    records: tuple[Record, ...] = ()


class Receive(msgspec.Struct, frozen=True):
    """`message` arrived over the authenticated link from `sender` (the link's peer, not necessarily the author)."""

    sender: NodeId
    message: Message


class Expire(msgspec.Struct, frozen=True):
    """A timer set with `SetTimer` is due. A timer that was re-set or cancelled never expires."""

    timer: str


class Submit(msgspec.Struct, frozen=True):
    """A local client's request; answered, now or later, by exactly one `Reply` with the same number."""

    request: int
    body: Any


Event: TypeAlias = Start | Receive | Expire | Submit


# ---------------------------------------------------------------- effects
class Send(msgspec.Struct, frozen=True):
    to: NodeId
    message: Message


class Multicast(msgspec.Struct, frozen=True):
    """Send to every member of `group` except the sender; a core handles its own copy itself."""

    group: str
    message: Message


class SetTimer(msgspec.Struct, frozen=True):
    """Arm (or re-arm) the timer named `timer` to expire at `at`, nanoseconds since the start of the run."""

    timer: str
    at: int


class CancelTimer(msgspec.Struct, frozen=True):
    timer: str


class Persist(msgspec.Struct, frozen=True):
    """Append `record` to the write-ahead log; durable before any later effect of this step leaves the node."""

    record: Record


class Emit(msgspec.Struct, frozen=True):
    """A trace event. `fields` is JSON-able: hashes as lower-case hex, node names as strings (see results/trace.py)."""

    event: str
    fields: dict[str, Any]


class Reply(msgspec.Struct, frozen=True):
    request: int
    value: Any


# Notices are how sibling cores of one node hear of each other: `nodes/supra.py` routes them, they never leave the node.
class Finalised(msgspec.Struct, frozen=True):
    """Consensus -> everyone: `block` is final at `block.height`. Emitted once a height, in order, without gaps."""

    block: Block


class Available(msgspec.Struct, frozen=True):
    """xRBC -> everyone: a verified availability certificate, first time seen here."""

    certificate: AvailabilityCertificate


class Stored(msgspec.Struct, frozen=True):
    """xRBC -> execution, gateway: the whole checked body of a batch is now held here."""

    batch: Batch


class Need(msgspec.Struct, frozen=True):
    """Execution or gateway -> xRBC: fetch the body of this certified batch (answered by `Stored`, maybe never)."""

    certificate: AvailabilityCertificate


class Ordered(msgspec.Struct, frozen=True):
    """Execution -> buckets, gateway: outcome of one block for one clan, in height order without gaps.

    `reads` maps the id of an applied transaction to the lists its Read operations saw, in operation order.
    A transaction aborted as "too-new" is a request to the buckets to include it again (2.5 c).
    """

    clan: int
    height: int
    block: bytes
    root: bytes
    applied: tuple[bytes, ...]
    aborted: tuple[tuple[bytes, str], ...]
    reads: dict[bytes, tuple[tuple[int, ...], ...]]
    transactions: tuple[Transaction, ...]


class StateCertified(msgspec.Struct, frozen=True):
    """Execution -> gateway: a verified state certificate, first time seen here."""

    certificate: StateCertificate


class Propose(msgspec.Struct, frozen=True):
    """Buckets -> xRBC of the same node: make a batch of these transactions and spread it."""

    transactions: tuple[Transaction, ...]


class Contradiction(msgspec.Struct, frozen=True):
    """Execution -> everyone: a state certificate names another root than the one computed here."""

    certificate: StateCertificate
    root: bytes


Notice: TypeAlias = Finalised | Available | Stored | Need | Ordered | StateCertified | Propose | Contradiction
Effect: TypeAlias = Send | Multicast | SetTimer | CancelTimer | Persist | Emit | Reply | Notice


class Node(Protocol):
    """A protocol core, or a whole node: deterministic, and fed one event at a time."""

    def step(self, now: int, event: Event) -> Sequence[Effect]:
        """Digest one event; returns the effects in the order in which they must be carried out."""
        ...


class Core(Node, Protocol):
    """One of the cores inside a node. Its timers are named `<core>:<anything>`; it ignores messages not its own."""

    def receive(self, now: int, sender: NodeId, message: Message) -> Sequence[Effect]:
        """step(now, Receive(sender, message)), without the event."""
        ...

    def notify(self, now: int, notice: Notice) -> Sequence[Effect]:
        """Hear a sibling core's notice; notices that do not concern this core are ignored."""
        ...


class PayloadSource(Protocol):
    """Where consensus gets block payloads from and has them checked (implemented by the xRBC core)."""

    def collect(self, now: int, taken: frozenset[bytes]) -> tuple[AvailabilityCertificate, ...]:
        """Certificates to propose: not finalised, batch id not in `taken` (uncommitted ancestors), oldest first.

        A block that consensus finalises in the running step still belongs in `taken`: its `Finalised` notice reaches
        the source only after the step.
        """
        ...

    def fault(self, block: Block, taken: frozenset[bytes]) -> str | None:
        """Why the block's payload is invalid (2.6), or None. `taken` as in collect; ids in it are duplicates."""
        ...


# ---------------------------------------------------------------- bodies of Submit (gateway API)
class SubmitTransaction(msgspec.Struct, frozen=True):
    """Reply: {"tx": hex, "accepted": bool, "error": str}."""

    transaction: Transaction


class AwaitStatus(msgspec.Struct, frozen=True):
    """Reply, once the transaction has reached `phase` ("" = now; aborts and refusals end the wait too): its status.

    {"tx": hex, "phase": str, "phases": {phase: ns}, "outcome": "applied" | "aborted" | "refused" | "",
     "reason": str, "height": int, "reads": [[int, ...], ...]}; {"tx", "phase": "unknown"} for one never submitted here.
    """

    tx: bytes
    phase: str = ""


class QueryBalance(msgspec.Struct, frozen=True):
    """Reply: {"address": hex, "balance": int, "seq": int, "height": int}, from state whose root was certified."""

    address: bytes


class QueryBlock(msgspec.Struct, frozen=True):
    """Reply: {"height", "block", "view", "parent", "batches"} or {"error": ...}."""

    height: int
