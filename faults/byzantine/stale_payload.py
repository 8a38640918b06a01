"""Leader that orders what is ordered already, what has expired, and what stands twice in its own block.

Attack D11 of protocol.md 5.6 (the payload half of C22). No count within the tribe's bound breaks anything: whoever
votes refuses such a block, and the view is lost (aimed at I-PAY and I-ONCE). It remembers the certificates of the
blocks that it saw, `depth` of them, and adds the oldest to each block of its own; with nothing old, a new one twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from msgspec.structs import replace

from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.sealing import own_proposal, reseal
from nodes.messages import (
    AvailabilityCertificate,
    FallbackProposal,
    Message,
    NodeId,
    NormalProposal,
    OptimisticProposal,
)


class StalePayload(Behaviour):
    name: ClassVar[str] = "stale-payload"
    attacks: ClassVar[tuple[str, ...]] = ("D11",)
    breaks_at: ClassVar[str] = "none: refused by itself"
    aims_at: ClassVar[str] = "I-PAY, I-ONCE: dedup, liveness"

    def __init__(self, depth: int = 64) -> None:
        super().__init__()
        if not 1 <= depth <= 10_000:
            raise ValueError(f"depth = {depth}: from 1 to 10000 certificates")
        self._depth = depth
        self._old: dict[bytes, AvailabilityCertificate] = {}

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        if isinstance(message, OptimisticProposal | NormalProposal | FallbackProposal):
            for certificate in message.block.payload:
                self._old.setdefault(certificate.batch, certificate)
            for batch in list(self._old)[: -self._depth]:
                del self._old[batch]
        return message

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        proposal = own_proposal(node, message)
        if proposal is not None:
            payload = proposal.block.payload
            stale = next(iter(self._old.values()), payload[0] if payload else None)
            if stale is not None:
                self.receipt.matched += 1
                self.receipt.changed += 1
                message = reseal(node, proposal, replace(proposal.block, payload=(*payload[:49], stale)))
        yield to, message
