"""The two ends of simulated links: what a node receives through, and what one multicast goes out to."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Protocol, TypeAlias

from faults.port import NodeId
from harness.backends.sim.lanes import LANED
from nodes.messages import Message

Watch: TypeAlias = Callable[[int, int, Message], None]


class Receiver(Protocol):
    """What the network needs of a node."""

    up: bool
    paused: bool

    def receive(self, sender: NodeId, message: Message) -> None: ...


class Network(Protocol):
    """What an inlet needs of the links."""

    names: tuple[NodeId, ...]
    size: int

    def stopped(self, sender: int, to: int, message: Message) -> bool: ...


class Inlet:
    """The receiving ends of one node's links."""

    def __init__(self, index: int, links: Network) -> None:
        self.index = index
        self._links = links
        self.node: Receiver | None = None
        self.blocked = [0] * links.size  # cuts of the link from each sender
        self.closed = False  # whatever arrives must be looked at: a cut, a watch, or the node is down
        self.resuming = 0  # links that flow again soon
        self.received = [0] * links.size
        self.watch: Watch | None = None  # lanes count single votes too

    def arrive(self, sender: int, message: Message) -> None:
        """A message reaches the node, unless the link is cut or nobody is there."""
        if self.closed and self._links.stopped(sender, self.index, message):
            return
        self.received[sender] += 1
        if self.watch is not None and type(message) in LANED:
            self.watch(sender, self.index, message)
        self.node.receive(self._links.names[sender], message)  # type: ignore[union-attr]  # set before any traffic


class LinkFan:
    """kernel.Fan: a sender's links to one group while nothing but constant delays is on them."""

    __slots__ = ("calls", "corrupted", "delays", "honest", "salts", "sender", "targets")

    def __init__(
        self,
        sender: int,
        targets: Sequence[int],
        delays: Sequence[int],
        salts: Sequence[int],
        inlets: Sequence[Inlet],
        suspects: Container[int],
    ) -> None:
        """`delays` and `salts` of the sender's links to everybody."""
        self.sender, self.targets = sender, targets
        self.delays = [delays[target] for target in targets]
        self.salts = [salts[target] for target in targets]
        self.calls = [inlets[target].arrive for target in targets]
        self.honest = [target for target in targets if target not in suspects]
        self.corrupted = [target for target in targets if target in suspects]
