"""Leader whose blocks carry what may not be ordered: an uncertified batch, one twice, or one that was ordered before.

Attack C22 of protocol.md 5.3. "Before" is in the parent, which may not be final yet, or further back. Which one changes
from one view that it leads to the next, as far as it has certificates to abuse. All are refused before anybody votes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import ClassVar

from msgspec.structs import replace

from faults.byzantine.port import CorruptedNode
from faults.byzantine.primitives import sibling, spoiled
from faults.byzantine.rushing import Rushing
from faults.byzantine.sealing import own_proposal, reseal
from nodes.messages import AvailabilityCertificate, Block, Message, NodeId

KEPT = 64  # certificates


class PayloadForger(Rushing):
    name: ClassVar[str] = "payload-forger"
    attacks: ClassVar[tuple[str, ...]] = ("C22",)
    breaks_at: ClassVar[str] = "never: refused by each replica alone"
    aims_at: ClassVar[str] = "I-PAY: fork, dedup"

    def __init__(self) -> None:
        super().__init__()
        self._certified: deque[AvailabilityCertificate] = deque(maxlen=KEPT)
        self._chosen: dict[int, int] = {}  # view led -> which fault, of those that were possible the rarest so far

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        if isinstance(message, AvailabilityCertificate):
            self._certified.append(message)
        return super().receive(node, sender, message)

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
        """Another fault in each view, of those that can be committed; empty while there is nothing to abuse."""
        ordered = [c for b in self.heard.blocks.values() if b.view < block.view for c in b.payload]
        parent = self.heard.blocks.get(block.parent)
        used = {c.batch for c in ordered}
        fresh = block.payload[:1] or tuple(c for c in self._certified if c.batch not in used)[-1:]
        some = fresh or tuple(ordered[-1:])
        uncertified = [replace(c, batch=bytes(32), signatures=tuple(map(spoiled, c.signatures))) for c in some]
        faults = (fresh * 2, tuple(uncertified), parent.payload[-1:] if parent else (), tuple(ordered[:1]))
        possible = [number for number, payload in enumerate(faults) if payload]
        if block.view not in self._chosen and possible:
            rarest = min(possible, key=lambda number: [*self._chosen.values()].count(number))
            self._chosen[block.view] = rarest
        return faults[self._chosen[block.view]] if self._chosen.get(block.view) in possible else ()
