"""Batch proposer that shows its batches to a bare majority of the clan only, and then serves them to nobody.

Attacks D2, D8 and D13 of protocol.md 5.6. Smallest breaking count: f_c+1 in the clan. Aimed at I-DA: at f_c one honest
member holds each certified batch, and everybody else must be able to fetch it there. Refuses requests for any batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.sealing import coalition_of_clan
from nodes.messages import BatchHeader, BatchMessage, BatchRequest, BatchResponse, Message, NodeId


class DataWithholding(Behaviour):
    name: ClassVar[str] = "data-withholding"
    attacks: ClassVar[tuple[str, ...]] = ("D2", "D8", "D13")
    breaks_at: ClassVar[str] = "f_c+1 in the clan"
    aims_at: ClassVar[str] = "I-DA: availability"

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        if isinstance(message, BatchRequest) and sender not in node.coalition:
            self.receipt.matched += 1
            self.receipt.dropped += 1
            return None
        return message

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        if isinstance(message, BatchResponse) and to not in node.coalition:
            self.receipt.matched += 1
            self.receipt.dropped += 1
            return
        if isinstance(message, BatchMessage) and message.batch.header.proposer == node.id:
            self.receipt.matched += 1
            if to not in self._chosen(node, message.batch.header):
                self.receipt.dropped += 1
                return
        yield to, message

    def _chosen(self, node: CorruptedNode, header: BatchHeader) -> tuple[NodeId, ...]:
        """The coalition and as many honest members as a certificate needs; the seq decides which, in turn."""
        accomplices = coalition_of_clan(node.committee, node.coalition, header.clan)
        honest = [n for n in node.committee.clans[header.clan] if n not in accomplices]
        wanted = max(0, node.committee.majority(header.clan) - len(accomplices))
        turn = header.seq % len(honest) if honest else 0
        return (*accomplices, *(honest[turn:] + honest[:turn])[:wanted])
