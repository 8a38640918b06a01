"""Leader whose headers lie: a wrong height, a time before the parent's or far ahead, another epoch or chain.

Attack C23 of protocol.md 5.3, beyond what is believed: each block has one false field, another one in each view that it
leads. All are refused before anybody votes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from faults.byzantine.port import CorruptedNode
from faults.byzantine.primitives import sibling
from faults.byzantine.rushing import Rushing
from faults.byzantine.sealing import own_proposal, reseal
from nodes.messages import Block, Message, NodeId

AHEAD_MS = 10_000  # beyond the skew that is believed: long enough to stop whoever waits for that time to come


class HeaderLiar(Rushing):
    name: ClassVar[str] = "header-liar"
    attacks: ClassVar[tuple[str, ...]] = ("C23",)
    breaks_at: ClassVar[str] = "never: refused by each replica alone"
    aims_at: ClassVar[str] = "I-PAY, I-PFX: prefix, payload, liveness"

    def __init__(self) -> None:
        super().__init__()
        self._turns: dict[int, int] = {}  # view led -> how many before it

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        self.heard.learn(message)
        proposal = own_proposal(node, message)
        if proposal is not None:
            self.receipt.matched += 1
            lie = self._lie(node, proposal.block)
            if lie:
                self.receipt.changed += 1
                changed = {"payload": proposal.block.payload, **lie}
                message = reseal(node, proposal, sibling(proposal.block, 0, **changed))
        yield to, message

    def _lie(self, node: CorruptedNode, block: Block) -> dict[str, Any]:
        """The false field of a view's blocks; empty where the parent is not known, or is too old to be undercut."""
        parent = self.heard.blocks.get(block.parent)
        skew = node.committee.parameters.max_clock_skew_ms
        lies: tuple[dict[str, Any], ...] = (
            {"height": block.height + 1},
            {"timestamp_ms": parent.timestamp_ms - 1} if parent and parent.timestamp_ms else {},
            {"height": max(0, block.height - 1)},
            {"timestamp_ms": block.timestamp_ms + skew + AHEAD_MS},
            {"epoch": block.epoch + 1},
            {"chain": f"{block.chain}'"},
        )
        return lies[self._turns.setdefault(block.view, len(self._turns)) % len(lies)]
