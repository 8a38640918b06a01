"""Leader that dates its blocks as far ahead as is believed, or not at all later than their parents, or further ahead.

Attack C23 of protocol.md 5.3. `ahead_ms`: how far beyond its clock (default: just inside max_clock_skew_ms; more than
that is refused); "frozen": the parent's time. Views may slow down by the skew, never more; expiry is not confused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from faults.byzantine.port import CorruptedNode
from faults.byzantine.primitives import MS, sibling
from faults.byzantine.rushing import Rushing
from faults.byzantine.sealing import own_proposal, reseal
from nodes.messages import Message, NodeId

MARGIN_MS = 20  # inside the skew


class ClockLiar(Rushing):
    name: ClassVar[str] = "clock-liar"
    attacks: ClassVar[tuple[str, ...]] = ("C23",)
    breaks_at: ClassVar[str] = "never: the skew that is believed is bounded"
    aims_at: ClassVar[str] = "L-COMMIT, L-TX: liveness, finality-bounds"

    def __init__(self, ahead_ms: Any = None) -> None:
        super().__init__()
        number = isinstance(ahead_ms, int | float) and not isinstance(ahead_ms, bool) and ahead_ms >= 0
        if ahead_ms is not None and ahead_ms != "frozen" and not number:
            raise ValueError(f'ahead_ms = {ahead_ms!r}: a number of milliseconds, or "frozen"')
        self._ahead = ahead_ms

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        self.heard.learn(message)
        proposal = own_proposal(node, message)
        if proposal is not None:
            self.receipt.matched += 1
            block = proposal.block
            parent = self.heard.blocks.get(block.parent)
            earliest = parent.timestamp_ms if parent else block.timestamp_ms
            skew = node.committee.parameters.max_clock_skew_ms - MARGIN_MS
            ahead = 0 if self._ahead == "frozen" else skew if self._ahead is None else self._ahead
            wanted = earliest if self._ahead == "frozen" else max(earliest, node.now // MS + int(ahead))
            if wanted != block.timestamp_ms:
                self.receipt.changed += 1
                message = reseal(node, proposal, sibling(block, 0, timestamp_ms=wanted, payload=block.payload))
        yield to, message
