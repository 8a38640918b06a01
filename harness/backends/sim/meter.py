"""A meter of what goes over simulated links, in encoded bytes: who sent how much of which kind, how large blocks are.

Off unless it is given to the backend, like a tape; the run is the same, event for event. A message to many counts once
for each receiver, as a link carries it; keep-alives and framing are not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.backends.sim.rules import kind_of
from nodes.messages import Block, Message, NodeId, encode

if TYPE_CHECKING:
    from harness.backends.sim.cluster import SimCluster

SPREADING = ("B", "AV", "DAQC", "BREQ", "BRSP")  # batches, votes for them, certificates, retrieval


class Meter:
    """`sent[node][kind]`: bytes; `blocks`: (bytes, batches) of each block that was proposed, in order."""

    def __init__(self) -> None:
        self.sent: dict[NodeId, Counter[str]] = {}
        self.blocks: list[tuple[int, int]] = []
        self.empty_block = 0  # bytes of a block without batches, the largest seen

    def attach(self, cluster: SimCluster) -> None:
        """Listen to a cluster that has not started yet."""
        links, committee = cluster.links, cluster.committee
        send, multicast = links.send, links.multicast
        self.sent = {name: Counter() for name in links.names}
        groups: dict[tuple[NodeId, str], int] = {}

        def receivers(me: NodeId, group: str) -> int:
            if (me, group) not in groups:
                groups[me, group] = sum(member != me for member in committee.members(group))
            return groups[me, group]

        def sending(sender: int, to: NodeId, message: Message) -> None:
            self._count(links.names[sender], message, int(links.names[sender] != to))
            send(sender, to, message)

        def multicasting(sender: int, group: str, message: Message) -> None:
            self._count(links.names[sender], message, receivers(links.names[sender], group))
            multicast(sender, group, message)

        replace: Callable[[str, object], None] = links.__setattr__
        replace("send", sending)
        replace("multicast", multicasting)

    def total(self, node: NodeId, kinds: tuple[str, ...] = ()) -> int:
        """Bytes that a node sent, of these kinds or of all."""
        counts = self.sent[node]
        return sum(counts[kind] for kind in kinds) if kinds else counts.total()

    def _count(self, sender: NodeId, message: Message, receivers: int) -> None:
        kind = kind_of(message)
        self.sent[sender][kind] += len(encode(message)) * receivers
        block = getattr(message, "block", None)
        if isinstance(block, Block):
            self.blocks.append((len(encode(block)), len(block.payload)))
            if not block.payload:
                self.empty_block = max(self.empty_block, len(encode(block)))
