"""Batch proposer that shows its batches to a bare majority of the clan only, and then serves them to nobody.

Attacks D8 (in full mode) and D13 of protocol.md 5.6. Smallest breaking count: f_c+1 in the clan. Aimed at I-DA: at f_c
one honest member holds each certified batch, and everybody else must be able to fetch it there. Refuses requests for
any batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.sealing import bare_majority
from nodes.messages import BatchMessage, BatchRequest, BatchResponse, Message, NodeId


class DataWithholding(Behaviour):
    name: ClassVar[str] = "data-withholding"
    attacks: ClassVar[tuple[str, ...]] = ("D8", "D13")
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
            if to not in bare_majority(node, message.batch.header):
                self.receipt.dropped += 1
                return
        yield to, message
