"""Replica that keeps its votes to itself: block votes, commit votes, or what `kinds` names.

Attacks C8 and E2 of protocol.md 5.3 and 5.8. Smallest breaking count: f+1 in the tribe (no quorum certificate),
n_c-M+1 in a clan (no availability or state certificate). Aimed at L-COMMIT. `kinds` is a list of vote, commit, timeout,
availability, state. Certificates that its own core completed with a withheld vote, and what carries them, stay in too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from faults.byzantine.port import Behaviour, CorruptedNode
from nodes.crypto import signers_of
from nodes.messages import (
    AvailabilityCertificate,
    AvailabilityVote,
    BlockCertificate,
    CommitCertificate,
    CommitVote,
    FallbackProposal,
    Message,
    NodeId,
    NormalProposal,
    OptimisticProposal,
    StateCertificate,
    StateVote,
    Timeout,
    TimeoutCertificate,
    Vote,
)

VOTES: dict[str, type[Message]] = {
    "vote": Vote,
    "commit": CommitVote,
    "timeout": Timeout,
    "availability": AvailabilityVote,
    "state": StateVote,
}
CERTIFICATES: dict[str, type[Message]] = {
    "vote": BlockCertificate,
    "commit": CommitCertificate,
    "timeout": TimeoutCertificate,
    "availability": AvailabilityCertificate,
    "state": StateCertificate,
}
Certificate = BlockCertificate | CommitCertificate | TimeoutCertificate | AvailabilityCertificate | StateCertificate


class VoteWithholder(Behaviour):
    name: ClassVar[str] = "vote-withholder"
    attacks: ClassVar[tuple[str, ...]] = ("C8", "E2")
    breaks_at: ClassVar[str] = "f+1 in the tribe, n_c-M+1 in a clan"
    aims_at: ClassVar[str] = "L-COMMIT: liveness"

    def __init__(self, kinds: Any = ("vote", "commit")) -> None:
        super().__init__()
        if not isinstance(kinds, Sequence) or isinstance(kinds, str) or not kinds or set(kinds) - set(VOTES):
            raise ValueError(f"kinds = {kinds!r}: a list of {', '.join(VOTES)}")
        self._votes = tuple(VOTES[kind] for kind in kinds)
        self._certificates = tuple(CERTIFICATES[kind] for kind in kinds)

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        shown = any(isinstance(c, self._certificates) and _signed(node, c) for c in _carried(message))
        if shown or isinstance(message, self._votes):
            self.receipt.matched += 1
            self.receipt.dropped += 1
        else:
            yield to, message


def _carried(message: Message) -> Iterable[Certificate]:
    """Every certificate inside a message."""
    if isinstance(message, Certificate):
        yield message
    if isinstance(message, OptimisticProposal | NormalProposal | FallbackProposal):
        yield from message.block.payload
    if isinstance(message, NormalProposal | FallbackProposal):
        yield message.certificate
    if isinstance(message, Timeout):
        yield message.lock
    if isinstance(message, TimeoutCertificate):
        yield message.high
    if isinstance(message, FallbackProposal):
        yield message.certificate.high


def _signed(node: CorruptedNode, certificate: Certificate) -> bool:
    """Is this node's own vote in it?"""
    members = node.committee.tribe
    if isinstance(certificate, AvailabilityCertificate | StateCertificate):
        members = node.committee.clans[certificate.clan]
    return node.id in (signers_of(members, certificate.signers) or ())
