"""Replica that writes its signatures in another way for one half: (R, s + L) beside (R, s).

Attack R7 of protocol.md 5.5 (P7). A verifier that takes both gives one statement two encodings, and one certificate two
contents. Identities here leave signatures out, and the second form is refused. Votes, time-outs and certificates.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from msgspec.structs import replace

from faults.byzantine.halves import parse_halves, victims
from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.primitives import malleated
from nodes.messages import BlockCertificate, CommitCertificate, CommitVote, Message, NodeId, Timeout, Vote


class Malleator(Behaviour):
    name: ClassVar[str] = "malleator"
    attacks: ClassVar[tuple[str, ...]] = ("R7",)
    breaks_at: ClassVar[str] = "never, with strict verification"
    aims_at: ClassVar[str] = "I-CERT, I-U: fork, votes"

    def __init__(self, halves: Any = None) -> None:
        super().__init__()
        self._halves = parse_halves(halves)

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        yield to, message
        if to not in victims(node, self._halves)[1]:
            return
        if isinstance(message, Vote | CommitVote | Timeout):
            again: Message = replace(message, signature=malleated(message.signature))
        elif isinstance(message, BlockCertificate | CommitCertificate):
            again = replace(message, signatures=tuple(map(malleated, message.signatures)))
        else:
            return
        self.receipt.matched += 1
        self.receipt.injected += 1
        yield to, again
