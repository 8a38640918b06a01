"""Leader whose blocks carry what may not be ordered: an uncertified batch, one twice, or one that was ordered before.

Attack C22 of protocol.md 5.3. "Before" is in the parent, which may not be final yet, or further back. Which one changes
from one view that it leads to the next, as far as it has certificates to abuse. All are refused before anybody votes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from msgspec.structs import replace

from faults.byzantine.port import CorruptedNode
from faults.byzantine.primitives import sibling, spoiled
from faults.byzantine.rushing import Rushing
from faults.byzantine.sealing import own_proposal, reseal
from nodes.messages import AvailabilityCertificate, Block, Message, NodeId


class PayloadForger(Rushing):
    name: ClassVar[str] = "payload-forger"
    attacks: ClassVar[tuple[str, ...]] = ("C22",)
    breaks_at: ClassVar[str] = "never: refused by each replica alone"
    aims_at: ClassVar[str] = "I-PAY: fork, dedup"

    def __init__(self) -> None:
        super().__init__()
        self._turns: dict[int, int] = {}  # view led -> how many before it

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        self.heard.learn(message)
        proposal = own_proposal(node, message)
        if proposal is not None:
            self.receipt.matched += 1
            payload = self._payload(proposal.block)
            if payload:
                self.receipt.changed += 1
                message = reseal(node, proposal, sibling(proposal.block, 0, payload=payload))
        yield to, message

    def _payload(self, block: Block) -> tuple[AvailabilityCertificate, ...]:
        """Another fault in each view; empty while there is nothing to abuse."""
        ordered = [c for b in self.heard.blocks.values() if b.view < block.view for c in b.payload]
        mine = block.payload[:1] or tuple(ordered[-1:])
        if not mine:
            return ()
        parent = self.heard.blocks.get(block.parent)
        match self._turns.setdefault(block.view, len(self._turns)) % 4:
            case 0:
                signatures = tuple(map(spoiled, mine[0].signatures))
                return (replace(mine[0], batch=bytes(32), signatures=signatures),)
            case 1:
                return mine * 2
            case 2 if parent is not None and parent.payload:
                return parent.payload[-1:]
        return tuple(ordered[-1:])
