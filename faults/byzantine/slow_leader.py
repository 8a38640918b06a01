"""Leader that proposes as late as it can without losing its view.

Attack L2 of protocol.md 5.4 (P16): no optimistic proposal, the normal one `deltas` Delta after it was due; 3 Delta is
when the others give up. Its views are slow, and no view ends by a time-out as long as it keeps below that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.primitives import MS, Held
from faults.byzantine.sealing import own_proposal
from nodes.messages import Message, NodeId, OptimisticProposal


class SlowLeader(Behaviour):
    name: ClassVar[str] = "slow-leader"
    attacks: ClassVar[tuple[str, ...]] = ("L2",)
    breaks_at: ClassVar[str] = "never: a view costs 3 Delta at most"
    aims_at: ClassVar[str] = "L-COMMIT, L-VIEW: liveness"

    def __init__(self, deltas: float = 2.0) -> None:
        super().__init__()
        if isinstance(deltas, bool) or not isinstance(deltas, int | float) or not 0 < deltas <= 10:
            raise ValueError(f"deltas = {deltas!r}: a number above 0, at most 10; 3 is the view timer")
        self._deltas = deltas
        self._held = Held()

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        if own_proposal(node, message) is None:
            yield to, message
            return
        self.receipt.matched += 1
        if isinstance(message, OptimisticProposal):
            self.receipt.dropped += 1
        else:
            self.receipt.changed += 1
            self._held.keep(to, message, node.now + int(self._deltas * node.committee.parameters.delta_ms * MS))

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        return self._held.due(node.now)
