"""Replica that joins every time-out with a lock that is lower than its own: genesis, or another one for each half.

Attacks C15 (`half` = false: the genesis certificate for everybody) and C14 (`half` = true: the second half is told
genesis, the first the true lock) of protocol.md 5.3. Every quorum of time-outs holds an honest node that knows what may
have been committed, unless f+1 lie.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from faults.byzantine.halves import parse_halves, victims
from faults.byzantine.port import CorruptedNode
from faults.byzantine.primitives import genesis_certificate, timeout
from faults.byzantine.rushing import Rushing
from nodes.messages import Message, NodeId, Timeout


class LockLiar(Rushing):
    name: ClassVar[str] = "lock-liar"
    attacks: ClassVar[tuple[str, ...]] = ("C14", "C15")
    breaks_at: ClassVar[str] = "f+1 in the tribe, or 1 with mutant A11"
    aims_at: ClassVar[str] = "I-D, I-PFX: ancestry, fork, prefix"

    def __init__(self, half: bool = False, halves: Any = None) -> None:
        super().__init__()
        if not isinstance(half, bool):
            raise ValueError(f"half = {half!r}: true or false")
        self._half = half
        self._halves = parse_halves(halves)

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        if isinstance(message, Timeout) and message.voter not in node.coalition and message.voter == sender:
            self.receipt.matched += 1
            self.say(node, self._lie(node, message, sender), (sender,))
        return super().receive(node, sender, message)

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        if isinstance(message, Timeout) and message.voter == node.id:
            self.receipt.changed += 1
            message = self._lie(node, message, to)
        yield to, message

    def _lie(self, node: CorruptedNode, said: Timeout, to: NodeId) -> Timeout:
        lock = genesis_certificate(node)
        if self._half and to in victims(node, self._halves)[0]:
            known = [qc for qc in self.heard.certificates.values() if qc.view < said.view]
            lock = max(known, key=lambda qc: qc.view, default=lock)
        return timeout(node, said.view, lock)
