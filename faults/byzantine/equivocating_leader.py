"""Leader that proposes one block to one half of its victims and another, equally valid, to the other half.

Attacks C1, C3 and C4 of protocol.md 5.3, in optimistic, normal and fallback proposals alike. Smallest breaking count:
f+1 (with votes for both: `double-voter`). Aimed at I-U and I-PFX. The variants differ in payload and time, so their
hashes differ; accomplices get both. Give `halves` when a partition divides the victims in a certain way.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from msgspec.structs import replace

from faults.byzantine.halves import parse_halves, victims
from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.sealing import Proposal, own_proposal, reseal
from nodes.messages import Block, BlockRequest, BlockResponse, Message, NodeId, block_hash

KEPT = 64  # variants remembered: enough for re-sent proposals and for victims that ask for the block


class EquivocatingLeader(Behaviour):
    name: ClassVar[str] = "equivocating-leader"
    attacks: ClassVar[tuple[str, ...]] = ("C1", "C3", "C4")
    breaks_at: ClassVar[str] = "f+1 in the tribe, with votes for both"
    aims_at: ClassVar[str] = "I-U, I-PFX: fork, prefix"

    def __init__(self, halves: Any = None) -> None:
        super().__init__()
        self._halves = parse_halves(halves)
        self._variants: dict[bytes, Block] = {}  # hash of the original -> variant
        self._asked: list[tuple[NodeId, Block]] = []

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        proposal = own_proposal(node, message)
        if proposal is None:
            yield to, message
            return
        self.receipt.matched += 1
        _, second = victims(node, self._halves)
        if to not in second:
            yield to, message
        if to in second or to in node.coalition:
            self.receipt.changed += 1
            yield to, self._variant(node, proposal)

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        if isinstance(message, BlockRequest):
            for variant in self._variants.values():
                if block_hash(variant) == message.block:
                    self._asked.append((sender, variant))
                    return None
        return message

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        asked, self._asked = self._asked, []
        self.receipt.injected += len(asked)
        for sender, block in asked:
            yield sender, BlockResponse((block,))

    def _variant(self, node: CorruptedNode, proposal: Proposal) -> Proposal:
        original = block_hash(proposal.block)
        if original not in self._variants:
            block = proposal.block
            self._variants[original] = replace(block, timestamp_ms=block.timestamp_ms + 1, payload=block.payload[1:])
            node.share(f"variant/{original.hex()}", 0)
            node.share(f"variant/{block_hash(self._variants[original]).hex()}", 1)
            if len(self._variants) > KEPT:
                del self._variants[next(iter(self._variants))]
        return reseal(node, proposal, self._variants[original])
