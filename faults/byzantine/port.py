"""How a reviewer scripts a Byzantine replica: subclass `Behaviour` and override what differs (architecture section 4).

A behaviour sits between an honest core and the network. The default methods do exactly what an honest node does.
The same class works on every backend. Behaviours stack: the first declared is nearest to the core.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import Any, ClassVar, Protocol

import msgspec

from nodes.committee import Committee
from nodes.crypto import Domain
from nodes.messages import Message, NodeId


class BehaviourReceipt(msgspec.Struct):
    """What a behaviour did so far: messages it matched, changed, dropped, and sent of its own accord."""

    matched: int = 0
    changed: int = 0
    dropped: int = 0
    injected: int = 0

    @property
    def bit(self) -> bool:
        """Did it differ from an honest node at all?"""
        return self.changed + self.dropped + self.injected > 0


class CorruptedNode(Protocol):
    """What a behaviour may use. Everything else of the node is out of reach on purpose."""

    id: NodeId
    now: int  # ns since the start of the run
    committee: Committee
    domain: Domain
    coalition: Sequence[NodeId]  # all corrupted replicas, this one included, in a fixed order
    rng: Random  # seeded per node
    blackboard: dict[str, Any]  # the coalition's shared notes, as last heard
    view: int  # the core's current view

    @property
    def load_start(self) -> int | None:
        """When the load began (ns, as `now`), which windows count from; None until the lab has said so."""
        ...

    def sign(self, statement: bytes, replica: NodeId | None = None) -> bytes:
        """Sign with this node's key, or another coalition member's. Raises KeyError for anybody else's."""
        ...

    def share(self, key: str, value: Any) -> None:
        """Write to the blackboard of every coalition member (msgpack-able values; eventually delivered)."""
        ...


class Behaviour:
    """Default: exactly what an honest node does. Count what you do in `self.receipt`; a run whose behaviours did not
    bite is UNKNOWN, never PASS. Parameters are keyword arguments of the constructor; raise ValueError on bad ones.

    Methods are called only while the behaviour's window is open: `from`, `until`, `views` and `when` of the scenario
    (triggers.py). Times count from the load start; a window without a beginning is open as soon as the node runs.
    Whatever a method raises ends the node, and makes the run UNKNOWN with the traceback in its receipt; so does one
    that does not return (watchdog.py).
    """

    name: ClassVar[str] = ""
    attacks: ClassVar[tuple[str, ...]] = ()  # what it carries out, by the ids of protocol.md 5.3 to 5.8
    breaks_at: ClassVar[str] = ""  # smallest breaking count: how many corrupted replicas, in words or as a formula
    aims_at: ClassVar[str] = ""  # the invariant of protocol.md 6, and after a colon the checkers that judge it

    def __init__(self) -> None:
        self.receipt = BehaviourReceipt()

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        """What the core sees of an arriving message; None drops it."""
        return message

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        """What leaves instead of (to, message): nothing, the same, something else, several. Multicasts come here
        once per recipient."""
        yield to, message

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        """Spontaneous messages; called on a tick (every 50 ms) and after every event while the window is open."""
        return ()

    def emit(self, node: CorruptedNode, event: str, fields: dict[str, Any]) -> None:
        """See the core's own trace events (enter, certify, ...): a trigger for `act`. Called inside the declared window
        whatever `when` says, so that events may decide what it says."""

    def when(self, node: CorruptedNode) -> bool:
        """A trigger of the behaviour's own: while it is False, `receive`, `send` and `act` are not called."""
        return True
