"""A tape of what travelled in a simulated run: who sent what to whom, when it left and when it arrived.

Off unless a `Tape` is given to the backend; then it is put between the cluster's nodes and its links, and nothing else
changes: the run is the same, event for event. Used to draw message-sequence charts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import msgspec

from harness.backends.sim.rules import kind_of, view_of
from nodes.messages import Message, NodeId, batch_id, block_hash

if TYPE_CHECKING:
    from harness.backends.sim.cluster import SimCluster

CONSENSUS = ("OPT", "NRM", "FBK", "VOTE", "CMT", "TMO", "QC", "CQC", "TC")
DATA = ("B", "AV", "DAQC", "BREQ", "BRSP")
EXECUTION = ("SV", "SC")
MAX_ENTRIES = 200_000  # a tape is for a moment, not for a night
NEVER = -1


class Delivery(msgspec.Struct, frozen=True):
    """One message on one link. `arrived` is NEVER for one that was stopped (a cut, nobody there) and may come later
    as another delivery. `subject`: hash of the block, batch or state root that it speaks of, hex; empty if none."""

    sent: int  # ns
    arrived: int  # ns
    sender: NodeId
    receiver: NodeId
    kind: str  # wire tag
    view: int | None
    subject: str


class Tape:
    """Records deliveries of the given kinds that are sent in [since, until] (ns on the run's clock)."""

    def __init__(self, kinds: Collection[str] = CONSENSUS, since: int = 0, until: int = 2**62) -> None:
        self.deliveries: list[Delivery] = []
        self._kinds = frozenset(kinds)
        self._since, self._until = since, until
        self._sends: dict[tuple[int, int], tuple[Message, list[int]]] = {}  # (sender, id) -> the object and its times
        self._taken: dict[tuple[int, int, int], int] = {}  # (sender, receiver, id) -> sends that have arrived

    def attach(self, cluster: SimCluster) -> None:
        """Listen to a cluster that has not started yet."""
        links, kernel = cluster.links, cluster.kernel
        send, multicast = links.send, links.multicast

        def sending(sender: int, to: NodeId, message: Message) -> None:
            self._sent(sender, message, kernel.now)
            send(sender, to, message)

        def multicasting(sender: int, group: str, message: Message) -> None:
            self._sent(sender, message, kernel.now)
            multicast(sender, group, message)

        links.send = sending  # type: ignore[method-assign]
        links.multicast = multicasting  # type: ignore[method-assign]
        for inlet in links.inlets:
            inlet.arrive = self._listening(cluster, inlet.index, inlet.arrive)  # type: ignore[assignment, method-assign]

    def _listening(
        self, cluster: SimCluster, receiver: int, arrive: Callable[[int, Message], None]
    ) -> Callable[[int, Message], None]:
        links, kernel = cluster.links, cluster.kernel

        def arriving(sender: int, message: Message) -> None:
            if kind_of(message) not in self._kinds:
                arrive(sender, message)
                return
            received, now = links.inlets[receiver].received, kernel.now
            before = received[sender]
            arrive(sender, message)
            names = (links.names[sender], links.names[receiver])
            self._arrived(sender, receiver, names, message, now if received[sender] > before else NEVER)

        return arriving

    def _sent(self, sender: int, message: Message, now: int) -> None:
        if kind_of(message) not in self._kinds or not self._since <= now <= self._until:
            return
        _, times = self._sends.setdefault((sender, id(message)), (message, []))  # kept, so that its id stays its own
        if not times or times[-1] != now:
            times.append(now)

    def _arrived(self, sender: int, receiver: int, names: tuple[NodeId, NodeId], message: Message, at: int) -> None:
        known = self._sends.get((sender, id(message)))
        if known is None or len(self.deliveries) >= MAX_ENTRIES:
            return
        number = self._taken.get((sender, receiver, id(message)), 0)
        times = known[1]
        if at != NEVER:  # one that was stopped comes again
            self._taken[sender, receiver, id(message)] = number + 1
        sent = times[min(number, len(times) - 1)]
        self.deliveries.append(Delivery(sent, at, *names, kind_of(message), view_of(message), subject_of(message)))


def subject_of(message: Any) -> str:
    """Hex hash of the block, batch or state root that a message speaks of; "" if it speaks of none."""
    root = getattr(message, "root", None)
    batch = getattr(message, "batch", None)
    block = getattr(message, "block", None)
    for thing in (root, batch, block):
        if isinstance(thing, bytes):
            return thing.hex()
    if batch is not None:
        return batch_id(batch.header).hex()
    return "" if block is None else block_hash(block).hex()
