"""Replica that abuses block sync: floods of requests, answers that nobody asked for, and invented ancestry.

Attack L6 of protocol.md 5.4. Every `pace_ms` it asks each node `burst` times for the newest block with 64 ancestors,
and pushes a chain of blocks that it made up; whoever asks it for a block gets such a chain. Only blocks that were asked
for are taken, and nobody is served without end.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from faults.byzantine.port import CorruptedNode
from faults.byzantine.primitives import MS
from faults.byzantine.rushing import Rushing
from nodes.messages import Block, BlockRequest, BlockResponse, Message, NodeId, block_hash

DEPTH = 32


class SyncFlooder(Rushing):
    name: ClassVar[str] = "sync-flooder"
    attacks: ClassVar[tuple[str, ...]] = ("L6",)
    breaks_at: ClassVar[str] = "never: answers are checked, and requests rationed"
    aims_at: ClassVar[str] = "L-SYNC, L-MEM: liveness, fork"

    def __init__(self, pace_ms: float = 50, burst: int = 10) -> None:
        super().__init__()
        for key, value, most in (("pace_ms", pace_ms, 10_000), ("burst", burst, 1000)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= most:
                raise ValueError(f"{key} = {value!r}: a number from 1 to {most}")
        self._pace, self._burst = int(pace_ms * MS), int(burst)
        self._due = 0

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        super().receive(node, sender, message)
        if isinstance(message, BlockRequest) and message.block in self.heard.blocks:
            self.receipt.dropped += 1
            self.say(node, _invented(self.heard.blocks[message.block]), (sender,))
            return None
        return message

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        if node.now >= self._due and self.heard.blocks:
            self._due = node.now + self._pace
            self.receipt.matched += 1
            newest, block = max(self.heard.blocks.items(), key=lambda entry: entry[1].view)
            for _ in range(self._burst):
                self.say(node, BlockRequest(newest, 64))
            self.say(node, _invented(block))
        return super().act(node)


def _invented(block: Block) -> BlockResponse:
    """A chain that ends in a false double of the block: other times, so that no hash fits anything that is known."""
    chain: list[Block] = []
    parent = bytes(32)
    for depth in reversed(range(DEPTH)):
        view, height = max(1, block.view - depth), max(1, block.height - depth)
        made = Block(block.chain, block.epoch, view, height, parent, block.proposer, block.timestamp_ms + 1, ())
        chain.append(made)
        parent = block_hash(made)
    return BlockResponse(tuple(reversed(chain)))
