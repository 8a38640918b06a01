"""Batch proposer whose certificates only a gateway can make: the wallet is promised what the tribe has never seen.

Attack D4 of protocol.md 5.6. It shows its batches to the honest members that a certificate needs, its own and its
accomplices' votes to gateways only. Breaks I-PRE with one node if gateways keep a certificate to themselves; here they
multicast each one they meet, so there is no count within the tribe's bound. Then pre-confirmed means ordered in time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.sealing import bare_majority
from nodes.messages import AvailabilityCertificate, AvailabilityVote, BatchMessage, Message, NodeId


class HiddenCertificate(Behaviour):
    name: ClassVar[str] = "hidden-certificate"
    attacks: ClassVar[tuple[str, ...]] = ("D4",)
    breaks_at: ClassVar[str] = "1, if gateways do not multicast certificates"
    aims_at: ClassVar[str] = "I-PRE: preconfirmation"

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        if self._shown(node, to, message):
            yield to, message
        else:
            self.receipt.matched += 1
            self.receipt.dropped += 1

    def _shown(self, node: CorruptedNode, to: NodeId, message: Message) -> bool:
        if to in node.committee.gateways or to in node.coalition:
            return True
        if isinstance(message, AvailabilityVote | AvailabilityCertificate):
            return message.proposer not in node.coalition
        if isinstance(message, BatchMessage) and message.batch.header.proposer == node.id:
            return to in bare_majority(node, message.batch.header)
        return True
