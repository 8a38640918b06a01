"""Replica that passes no certificate on, not even the timeout certificate that its own view would start with.

Attack L10 of protocol.md 5.4: a timeout certificate is sent to the next leader only. If that one is corrupted (with
`silent-leader`), the others must make it themselves of the time-outs, which everybody multicasts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from faults.byzantine.port import Behaviour, CorruptedNode
from nodes.messages import BlockCertificate, CommitCertificate, Message, NodeId, TimeoutCertificate


class CertificateSwallower(Behaviour):
    name: ClassVar[str] = "certificate-swallower"
    attacks: ClassVar[tuple[str, ...]] = ("L10",)
    breaks_at: ClassVar[str] = "never: time-outs and votes are multicast"
    aims_at: ClassVar[str] = "L-VIEW, L-COMMIT: liveness"

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        if isinstance(message, BlockCertificate | CommitCertificate | TimeoutCertificate):
            self.receipt.matched += 1
            self.receipt.dropped += 1
        else:
            yield to, message
