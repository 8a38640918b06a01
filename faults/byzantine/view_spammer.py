"""Replica that floods everybody with votes and time-outs of far views, and times out of each view before it begins.

Attack L4 of protocol.md 5.4. Every `pace_ms` a time-out and a vote for views up to and beyond the 20-view window, and
the time-out of each view before the others come to it. f time-outs draw nobody's; f+1 do, and no view ends otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from faults.byzantine.port import CorruptedNode
from faults.byzantine.primitives import MS, genesis_certificate, timeout, vote
from faults.byzantine.rushing import Rushing
from nodes.messages import Message, NodeId, sha256

WINDOW = 20  # views ahead that are believed (protocol.md 1.4)
AHEAD = (1, 5, 19, 20, 21, 100, 100_000)


class ViewSpammer(Rushing):
    name: ClassVar[str] = "view-spammer"
    attacks: ClassVar[tuple[str, ...]] = ("L4",)
    breaks_at: ClassVar[str] = "f+1 in the tribe"
    aims_at: ClassVar[str] = "L-COMMIT, L-MEM: liveness"

    def __init__(self, pace_ms: float = 20) -> None:
        super().__init__()
        if isinstance(pace_ms, bool) or not isinstance(pace_ms, int | float) or not 1 <= pace_ms <= 10_000:
            raise ValueError(f"pace_ms = {pace_ms!r}: a number from 1 to 10000")
        self._pace = int(pace_ms * MS)
        self._due = 0
        self._ended = 0  # newest view that it timed out of

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        lock = genesis_certificate(node)
        for view in range(max(self.front, self._ended + 1), self.front + WINDOW + 1):
            self._ended = view
            self.say(node, timeout(node, view, lock))
        if node.now >= self._due:
            self._due = node.now + self._pace
            self.receipt.matched += 1
            far = self.front + node.rng.choice(AHEAD)
            self.say(node, timeout(node, far, lock))
            self.say(node, vote(node, "normal", far, sha256(far.to_bytes(8, "big"))))
        return super().act(node)
