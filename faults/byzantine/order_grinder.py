"""Leader that tries many blocks and proposes the one whose hash suits it: the hash decides the order of execution.

Attack E5 of protocol.md 5.8. The randomness cannot be withheld (it is a function of the block, which everybody has),
but its maker may try `tries` times; here the lowest hash wins. No count breaks a property: the order is the same
everywhere (aimed at I-ROOT). What it gains is a known limit of a seed that one node can influence.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from msgspec.structs import replace

from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.sealing import own_proposal, reseal
from nodes.messages import Block, Message, NodeId, block_hash

KEPT = 64


class OrderGrinder(Behaviour):
    name: ClassVar[str] = "order-grinder"
    attacks: ClassVar[tuple[str, ...]] = ("E5",)
    breaks_at: ClassVar[str] = "none"
    aims_at: ClassVar[str] = "I-ROOT: order, state-root"

    def __init__(self, tries: int = 16) -> None:
        super().__init__()
        if not 2 <= tries <= 400:
            raise ValueError(f"tries = {tries}: from 2 to 400, a millisecond of the block's time each")
        self._tries = tries
        self._chosen: dict[bytes, Block] = {}  # hash of the core's block -> the one that goes out

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        proposal = own_proposal(node, message)
        if proposal is not None:
            self.receipt.matched += 1
            block = self._best(proposal.block)
            if block != proposal.block:
                self.receipt.changed += 1
                message = reseal(node, proposal, block)
        yield to, message

    def _best(self, block: Block) -> Block:
        original = block_hash(block)
        if original not in self._chosen:
            others = (replace(block, timestamp_ms=block.timestamp_ms + later) for later in range(self._tries))
            self._chosen[original] = min(others, key=block_hash)
            if len(self._chosen) > KEPT:
                del self._chosen[next(iter(self._chosen))]
        return self._chosen[original]
